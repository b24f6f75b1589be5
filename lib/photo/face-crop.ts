/** Cuts an aligned face out of a photograph. */
import { checkCompute, checkKnown, checkSignal, namesOf } from '../options'
import { showsCaller } from '../util/caller'
import { type Alignment, checkAlignment } from './alignment'
import { allocatePixels, checkPixels, coloursOf, type PhotoPixels } from './pixels'
import { inverseOf } from './similarity'
import { onWarpThreads, type WarpOptions } from './warp-session'

const OPTIONS = namesOf<WarpOptions>({ threads: true, signal: true })

/**
 * Cuts the face out of a photograph, `alignment.size` pixels square, with the photograph's depth and colours and without its
 * alpha. Native threads read the photograph where it lies: change nothing in it meanwhile.
 *
 * Bilinear. Where a pixel of the crop covers more than 2 x 2 of the photograph, it is the mean of several values within it,
 * so that no detail folds over.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT`, `ERR_ICONFACE_ABORTED`, `ERR_ICONFACE_OUT_OF_MEMORY`,
 *         `ERR_ICONFACE_THREADS`.
 * @example
 * const crop = await faceCrop(photo, alignFace(face.landmarks))
 */
export const faceCrop = showsCaller(async function faceCrop(
  photo: PhotoPixels,
  alignment: Alignment,
  options: WarpOptions = {},
): Promise<PhotoPixels> {
  checkPixels('photo', photo)
  const { size, matrix, border } = checkAlignment(alignment)
  checkKnown('options', options, OPTIONS)
  checkCompute(options)
  checkSignal(options.signal)
  const { data, width, height, channels } = photo
  const bits = data.BYTES_PER_ELEMENT === 1 ? 8 : 16
  const out = allocatePixels(size, size, coloursOf(channels), bits)
  const job = { photo: { data, width, height, channels }, matrix: [...inverseOf(matrix)], border, out }
  await onWarpThreads(options, (session) => session.cropFace(job))
  return out
})
