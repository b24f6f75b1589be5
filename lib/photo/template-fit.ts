/**
 * Whether a picture is an aligned crop of a face already.
 */

import { type Alignment, alignFace } from './alignment'
import type { DetectedFace } from './anchors'

/** Crops of other tools differ from ours by so much: their landmarks come from other detectors, or from people. */
const MOST = {
  /** Of the face's size, either way. */
  scale: 1.25,
  /** Degrees. */
  tilt: 12,
  /** Of the face's place, as a share of the picture's side. */
  shift: 0.1,
}

/** Whether the face of a square picture of `side` pixels lies where the template has it, nearly. */
export function fitsTemplate(landmarks: DetectedFace['landmarks'], side: number): boolean {
  const { scale, tilt, shift } = placeOf(alignFace(landmarks), side)
  return Math.max(scale, 1 / scale) <= MOST.scale && Math.abs(tilt) <= MOST.tilt && shift <= MOST.shift
}

/** How a square picture of `side` pixels lies in the crop that would be cut from it; 1, 0 and 0 where they are the same. */
function placeOf({ size, matrix: [a, b, c, d, e, f] }: Alignment, side: number) {
  const middle = (side - 1) / 2
  const [x, y] = [a * middle + b * middle + c, d * middle + e * middle + f]
  return {
    scale: (Math.hypot(a, d) * side) / size,
    tilt: (Math.atan2(d, a) * 180) / Math.PI,
    shift: Math.hypot(x - (size - 1) / 2, y - (size - 1) / 2) / size,
  }
}
