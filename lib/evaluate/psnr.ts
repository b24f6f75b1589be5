/**
 * Peak signal-to-noise ratio.
 */

import { checkSameSize, type RgbImage } from './pixels'

/**
 * PSNR in dB over all pixels and the three channels: `10 log10(255^2 / MSE)`.
 *
 * Computes on the calling thread: a few milliseconds at 512 pixels.
 *
 * @param image The picture to judge; as large as `truth`.
 * @returns     `Infinity` for equal pictures.
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT` when the sizes differ.
 */
export function psnr(image: RgbImage, truth: RgbImage): number {
  checkSameSize(image, truth)
  let squares = 0
  for (let i = 0; i < truth.data.length; i++) squares += (image.data[i]! - truth.data[i]!) ** 2
  return 10 * Math.log10(255 ** 2 / (squares / truth.data.length))
}
