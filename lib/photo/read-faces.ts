/**
 * Reads a restore's pictures, and brings their faces to where the model expects them.
 */

import type { Picture } from '../image'
import type { Decoded } from '../picture/decode'
import { alignPicture, type AlignedPicture, type AlignOptions, needsLook } from './align-picture'

/** Called after each picture that was read, and after each that faces were looked for in. */
type Report = (stage: 'read' | 'detect', step: number, steps: number) => void

/**
 * The faces of pictures, one each, in their order.
 *
 * @throws {IConFaceError} what reading a picture and `alignPicture` throw; the signal's reason when it fires.
 */
export async function readFaces(
  pictures: readonly Picture[],
  options: AlignOptions,
  report: Report = () => {},
): Promise<AlignedPicture[]> {
  const decoded: Decoded[] = []
  for (const [i, picture] of pictures.entries()) {
    decoded.push(await picture.read())
    options.signal.throwIfAborted()
    report('read', i + 1, pictures.length)
  }
  const looks = decoded.filter((picture) => needsLook(picture, options.align)).length
  const faces: AlignedPicture[] = []
  let looked = 0
  for (const [i, picture] of decoded.entries()) {
    const face = await alignPicture(pictures[i]!.name, picture, options)
    options.signal.throwIfAborted()
    faces.push({ ...face, warnings: [...picture.warnings, ...face.warnings] })
    if (needsLook(picture, options.align)) report('detect', ++looked, looks)
  }
  return faces
}
