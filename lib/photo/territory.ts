/**
 * Whose a pixel is, where the crops of neighbours overlap. A crop shows more than a face, and what a model makes of a
 * neighbour's face at its edge is not what it makes of that face itself.
 */

import { setImmediate } from 'node:timers/promises'
import type { Alignment } from './alignment'
import type { Point } from './anchors'
import type { PasteMask } from './paste-back'
import type { PhotoPixels } from './pixels'
import { mapped } from './similarity'
import { isUint16Array, isUint8Array } from '../util/realm'

/** Where a face lies: its middle, and its size. */
export interface Place {
  readonly x: number
  readonly y: number
  readonly size: number
}

/** Width of the transition from one face's pixels to its neighbour's, by the size of a face. */
const TRANSITION = 0.2
/** Pixels between two turns of the event loop. */
const PIECE = 1 << 15

/** A face's place: the middle of its landmarks, and the mean distance from there. */
export function placeOf(landmarks: readonly Point[]): Place {
  const mean = (axis: 0 | 1) => landmarks.reduce((sum, point) => sum + point[axis], 0) / landmarks.length
  const [x, y] = [mean(0), mean(1)]
  const size = landmarks.reduce((sum, point) => sum + Math.hypot(point[0] - x, point[1] - y), 0) / landmarks.length
  return { x, y, size: Math.max(size, 1e-6) * 2 }
}

/** A rectangle of a photograph, as it was. */
export interface Saved {
  left: number
  top: number
  width: number
  height: number
  data: Uint8Array | Uint16Array
}

/** The part of a photograph that a crop may touch. */
export function partOf({ width, height }: PhotoPixels, { inverse, size }: Alignment): Omit<Saved, 'data'> {
  const corners = [-1, size].flatMap((x) => [-1, size].map((y) => mapped(inverse, [x, y])))
  const range = (axis: 0 | 1, most: number) => {
    const places = corners.map((corner) => corner[axis])
    const within = (value: number) => Math.min(most, Math.max(0, value))
    return [within(Math.floor(Math.min(...places)) - 4), within(Math.ceil(Math.max(...places)) + 5)] as const
  }
  const [[left, right], [top, bottom]] = [range(0, width), range(1, height)]
  return { left, top, width: right - left, height: bottom - top }
}

/** Whether a neighbour is so near that some pixel of a crop may be nearer to it than to the crop's own face. */
export function cropsTouch({ inverse, size }: Alignment, neighbour: Place): boolean {
  const [x, y] = mapped(inverse, [size / 2, size / 2])
  const side = Math.hypot(inverse[0], inverse[3]) * size
  return Math.hypot(x - neighbour.x, y - neighbour.y) < 2 * side + neighbour.size
}

/** Copies the part of a photograph that a crop with these corners may touch. */
export function savePart(photo: PhotoPixels, { left, top, width, height }: Omit<Saved, 'data'>): Saved {
  const { channels, data } = photo
  const own = isUint16Array(data)
    ? new Uint16Array(width * height * channels)
    : new Uint8Array(width * height * channels)
  for (let row = 0; row < height; row++) {
    const at = ((top + row) * photo.width + left) * channels
    own.set(data.subarray(at, at + width * channels), row * width * channels)
  }
  return { left, top, width, height, data: own }
}

/** A neighbour, and whether it keeps every pixel that is nearer to it. */
export interface Neighbour extends Place {
  readonly untouched: boolean
}

/**
 * Gives back, after a face was pasted, what is nearer to one of its neighbours than to it, and takes that out of the mask.
 *
 * @param saved The photograph before, at least where the mask is.
 */
export async function giveBack(
  photo: PhotoPixels,
  saved: Saved,
  mask: PasteMask,
  own: Place,
  neighbours: readonly Neighbour[],
): Promise<void> {
  if (neighbours.length === 0) return
  const { channels, width: across, data } = photo
  const rows = Math.max(1, Math.floor(PIECE / mask.width))
  for (let row = 0; row < mask.height; row++) {
    if (row > 0 && row % rows === 0) await setImmediate()
    for (let column = 0; column < mask.width; column++) {
      const i = row * mask.width + column
      if (mask.data[i] === 0) continue
      const [x, y] = [mask.left + column, mask.top + row]
      const share = shareOf(x, y, own, neighbours)
      if (share === 1) continue
      mask.data[i] = isUint8Array(mask.data) ? Math.round(mask.data[i]! * share) : mask.data[i]! * share
      const to = (y * across + x) * channels
      const from = ((y - saved.top) * saved.width + (x - saved.left)) * channels
      for (let c = 0; c < channels; c++) {
        const before = saved.data[from + c]!
        data[to + c] = share === 0 ? before : Math.round(before + (data[to + c]! - before) * share)
      }
    }
  }
}

/** How much of a pixel is a face's own, 0 to 1. */
function shareOf(x: number, y: number, own: Place, neighbours: readonly Neighbour[]): number {
  const distance = ({ x: px, y: py, size }: Place) => Math.hypot(x - px, y - py) / size
  const mine = distance(own)
  let share = 1
  for (const neighbour of neighbours) {
    const ahead = (distance(neighbour) - mine) / TRANSITION
    share = Math.min(share, neighbour.untouched ? ahead : ahead + 0.5)
  }
  return Math.max(0, share)
}
