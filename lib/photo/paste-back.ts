/** Pastes a restored face back into its photograph. */
import { invalid } from '../errors'
import { checkWithin, LIMITS } from '../limits'
import { checkCompute, checkKnown, checkNumber, checkOneOf, checkSignal, namesOf } from '../options'
import { showsCaller } from '../util/caller'
import { isRecord } from '../util/realm'
import { allocated } from '../util/shortage'
import { type Alignment, checkAlignment } from './alignment'
import { checkPixels, coloursOf, isPixelData, type PhotoPixels } from './pixels'
import { type AffineMatrix, inverseOf, mapped } from './similarity'
import { onWarpThreads, type WarpOptions } from './warp-session'

/** How a face is pasted back. */
export interface PasteOptions extends WarpOptions {
  /** How wide the transition between face and photograph is, 0.25 to 4; below 0.5 it is 0.5. Default 1. */
  softness?: number | undefined
  /**
   * What is mixed in where the mask reaches beyond the crop: the photograph itself, or black, as the published workflow does
   * it, which darkens a frame around the face. Default `photograph`.
   */
  beyond?: 'photograph' | 'black' | undefined
  /** Values of the mask: 8 bits, or float32. Default `u8`. */
  maskType?: 'u8' | 'f32' | undefined
}

/** How much of the restored face each pixel of a part of the photograph got; elsewhere the photograph is untouched. */
export interface PasteMask<Data extends Uint8Array | Float32Array = Uint8Array | Float32Array> {
  left: number
  top: number
  width: number
  height: number
  /** Row by row: 0 to 255, or 0 to 1 where it is a `Float32Array`. */
  data: Data
}

/** A restored face: a square without alpha. Its data is copied at the call, over whatever memory it lies. */
export type RestoredFace = Pick<PhotoPixels, 'data' | 'width' | 'height'> & { channels: 1 | 3 }

const OPTIONS = namesOf<PasteOptions>({
  threads: true,
  signal: true,
  softness: true,
  beyond: true,
  maskType: true,
})

/**
 * Pastes a restored face back: warped to its place in the photograph, and mixed in by a soft mask. Writes into `photo.data`,
 * colours only; bytes outside the mask stay as they are.
 *
 * @param restored  As many colours and bits as the photograph; any square size, which is first resized to the crop's.
 * @returns The mask, for the part of the photograph that the crop covers. It is empty where that is nothing.
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT`, `ERR_ICONFACE_ABORTED`, `ERR_ICONFACE_OUT_OF_MEMORY`,
 *         `ERR_ICONFACE_THREADS`; the photograph is then as it was.
 * @example
 * const mask = await pasteBack(photo, restored, alignment, { softness: 0.5 })
 */
export const pasteBack = showsCaller(async function pasteBack(
  photo: PhotoPixels,
  restored: RestoredFace,
  alignment: Alignment,
  options: PasteOptions = {},
): Promise<PasteMask> {
  checkPixels('photo', photo)
  const { size, inverse } = checkAlignment(alignment)
  checkKnown('options', options, OPTIONS)
  const { softness = 1, beyond = 'photograph', maskType = 'u8' } = options
  checkNumber('softness', softness, 0.25, 4)
  checkOneOf('beyond', beyond, ['photograph', 'black'])
  checkOneOf('maskType', maskType, ['u8', 'f32'])
  checkCompute(options)
  checkSignal(options.signal)
  const { data, width, height, channels } = photo
  // The published workflow keeps the inverse in float32.
  const placed = inverse.map(Math.fround) as unknown as AffineMatrix
  const part = touchedPart(photo, placed, size, beyond === 'black' ? softness : undefined)
  const mask: PasteMask = { ...part, data: maskData(part.width * part.height, maskType) }
  const job = {
    photo: { data, width, height, channels },
    restored: ownFace(restored, photo),
    matrix: [...inverseOf(placed)],
    size,
    softness,
    beyond,
    mask,
  }
  await onWarpThreads(options, (session) => session.pasteFace(job))
  return mask
})

/**
 * The part of the photograph that a crop can touch.
 *
 * @param softness  Of a mask that reaches beyond the crop; without it none does.
 */
function touchedPart(
  { width, height }: PhotoPixels,
  placed: AffineMatrix,
  size: number,
  softness: number | undefined,
): Omit<PasteMask, 'data'> {
  const corners = [-1, size].flatMap((x) => [-1, size].map((y) => mapped(placed, [x, y])))
  const side = Math.hypot(placed[0], placed[1]) * (size + 1)
  const room = softness === undefined ? 0 : largestRadius(Math.min(side ** 2, width * height), softness)
  // Positions are rounded, so one pixel more may be touched, or two.
  const range = (axis: 0 | 1, most: number) => {
    const places = corners.map((corner) => corner[axis])
    const within = (value: number) => Math.min(most, Math.max(0, value))
    return [
      within(Math.floor(Math.min(...places)) - 2 - room),
      within(Math.ceil(Math.max(...places)) + 3 + room),
    ] as const
  }
  const [[left, right], [top, bottom]] = [range(0, width), range(1, height)]
  if (left >= right || top >= bottom) return { left: 0, top: 0, width: 0, height: 0 }
  return { left, top, width: right - left, height: bottom - top }
}

/** The blur's radius for a face of so many pixels, rounded up. */
function largestRadius(area: number, softness: number): number {
  return Math.ceil(2 * Math.max(1, Math.sqrt(area) / 20) * Math.max(softness, 0.5))
}

function maskData(values: number, type: 'u8' | 'f32'): Uint8Array | Float32Array {
  const bytes = values * (type === 'u8' ? 1 : 4)
  const buffer = allocated(bytes, () => new SharedArrayBuffer(bytes))
  return type === 'u8' ? new Uint8Array(buffer) : new Float32Array(buffer)
}

/** The restored face in memory of its own: its buffer may be detached while native threads read it. */
function ownFace(restored: unknown, photo: PhotoPixels): RestoredFace {
  if (!isRecord(restored)) throw invalid('restored', 'pixels { data, width, height, channels }', restored)
  const { data, width, height, channels } = restored as Partial<PhotoPixels>
  const colours = coloursOf(photo.channels)
  checkWithin('restored.width', width, { ...LIMITS.size, min: 1, step: 1 })
  if (height !== width) throw invalid('restored.height', `${width}, as a face is square,`, height)
  if (channels !== colours) throw invalid('restored.channels', `${colours}, as the photograph has,`, channels)
  const type = photo.data.BYTES_PER_ELEMENT === 1 ? 'Uint8Array' : 'Uint16Array'
  const values = width * width * colours
  const fits = isPixelData(data) && data.BYTES_PER_ELEMENT === photo.data.BYTES_PER_ELEMENT && data.length === values
  if (!fits) throw invalid('restored.data', `a ${type} of ${values} values`, data)
  const copy = allocated(data.byteLength, () => new SharedArrayBuffer(data.byteLength))
  const own = data.BYTES_PER_ELEMENT === 1 ? new Uint8Array(copy) : new Uint16Array(copy)
  own.set(data)
  return { data: own, width, height: width, channels: colours }
}
