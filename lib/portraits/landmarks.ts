/** Where the parts of a face are in the picture. */

import { fivePoints } from './camera'
import { browLine, eyeShape } from './eyes'
import type { PortraitIdentity } from './identity'
import type { Point2 } from './maths'
import { mouthShape } from './mouth'
import type { Sketch } from './sketch'
import type { PortraitState } from './state'

/** Names of a portrait's landmarks, in order; left and right are the image's. The first five are FFHQ's template. */
export const PORTRAIT_LANDMARKS: readonly string[] = [
  'leftEye',
  'rightEye',
  'nose',
  'leftMouth',
  'rightMouth',
  'leftEyeOuter',
  'leftEyeInner',
  'leftEyeTop',
  'leftEyeBottom',
  'rightEyeInner',
  'rightEyeOuter',
  'rightEyeTop',
  'rightEyeBottom',
  'leftBrowOuter',
  'leftBrowMiddle',
  'leftBrowInner',
  'rightBrowInner',
  'rightBrowMiddle',
  'rightBrowOuter',
  'noseBridge',
  'noseLeft',
  'noseRight',
  'lipTop',
  'lipBottom',
  'chin',
  'leftJaw',
  'rightJaw',
  'leftCheek',
  'rightCheek',
]

/** In pixels of the 512 px template. */
export function landmarks(sketch: Sketch, identity: PortraitIdentity, state: PortraitState): Point2[] {
  const { head } = sketch
  const { noseTipY, noseHalfWidth, chinY, mouthY, eyeY } = head.features
  const left = eyeShape(sketch, identity, state, -1)
  const right = eyeShape(sketch, identity, state, 1)
  const brow = browLine(sketch, identity, state)
  const mouth = mouthShape(sketch, identity, state)
  const at = ([x, y]: Point2) => sketch.at(x, y)
  const mirrored = ([x, y]: Point2): Point2 => sketch.at(-x, y)
  return [
    ...fivePoints(head).map((point) => sketch.point(point)),
    ...[left.upper[6]!, left.upper[0]!, left.upper[3]!, left.lower[3]!].map(at),
    ...[right.upper[0]!, right.upper[6]!, right.upper[3]!, right.lower[3]!].map(at),
    ...[brow(1), brow(0.5), brow(0)].map(mirrored),
    ...[brow(0), brow(0.5), brow(1)].map(at),
    sketch.at(0, eyeY),
    sketch.at(-noseHalfWidth, noseTipY + 4),
    sketch.at(noseHalfWidth, noseTipY + 4),
    at(mouth.top[4]!),
    at(mouth.bottom[4]!),
    sketch.at(0, chinY - 8),
    ...[-0.9, 0.9].map((side) => sketch.at(side * head.width(mouthY), mouthY)),
    ...[-0.9, 0.9].map((side) => sketch.at(side * head.width(50), 50)),
  ]
}
