/**
 * Pictures as the metrics take them: 8-bit RGB, and their luma.
 */

import { expectation, IConFaceError, invalid } from '../errors'
import { checkWithin, LIMITS } from '../limits'
import { capturePictures, type ImageInput } from '../image'
import { OpContext, type Tensor } from '../ops'
import { DEFAULT_MAX_PIXELS } from '../options'
import { shapeWarnings } from '../picture/shape'
import { isBytes } from '../util/realm'
import type { IConFaceWarning } from '../warning'

/** 8-bit sRGB pixels, row by row: `height * width * 3` bytes. A `Restoration` is one. */
export interface RgbImage {
  data: Uint8Array | Uint8ClampedArray
  width: number
  height: number
}

/** One channel of floats, row by row: `height * width` values. */
export interface Plane {
  data: Float64Array
  width: number
  height: number
}

/** A picture as the model sees it, and what to know about it. */
export interface FittedImage extends RgbImage {
  channels: 3
  warnings: readonly IConFaceWarning[]
}

/**
 * Reads any picture the way the model sees it, by the model's own operation: short side fitted to `size` by antialiased
 * bicubic, centre cropped.
 *
 * @param name What errors call the picture: `truth`, `input of anna`.
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_IMAGE`, `ERR_ICONFACE_FILE_NOT_FOUND`.
 */
export async function readRgb(
  image: ImageInput,
  name: string,
  size: number,
  { maxPixels = DEFAULT_MAX_PIXELS, strict }: { maxPixels?: number; strict?: boolean | undefined } = {},
): Promise<FittedImage> {
  const [picture] = capturePictures([{ name, image }], maxPixels, strict)
  const decoded = await picture!.read()
  const { data, width, height, channels } = decoded
  const warnings = [...decoded.warnings, ...shapeWarnings(name, decoded, size)]
  if (width === size && height === size && channels === 3) return { data, width, height, channels, warnings }
  const pixels: Tensor = { dtype: 'u8', shape: [height, width, channels], data }
  const ops = new OpContext({ threads: 1 })
  try {
    const { out } = await ops.run('image_to_tensor', { pixels }, { size, outDtype: 'u8' })
    return { data: out.data as Uint8Array, width: size, height: size, channels: 3, warnings }
  } finally {
    await ops.dispose() // not `await using`: Node 20 has Symbol.asyncDispose in its main realm only
  }
}

/** Refuses what is not {@link RgbImage}. */
function checkRgb(name: string, image: RgbImage): void {
  const { data, width, height } = (image ?? {}) as Partial<RgbImage>
  if (!isBytes(data)) throw invalid(name, 'RGB pixels { data, width, height }', image)
  checkWithin(`${name}.width`, width, LIMITS.side)
  checkWithin(`${name}.height`, height, LIMITS.side)
  const bytes = width * height * 3
  if (data.length !== bytes) throw invalid(`${name}.data`, `${bytes} bytes (${width} x ${height} x 3)`, data)
}

/** Refuses two pictures that cannot be compared pixel by pixel. */
export function checkSameSize(image: RgbImage, truth: RgbImage): void {
  checkRgb('image', image)
  checkRgb('truth', truth)
  if (image.width === truth.width && image.height === truth.height) return
  const expected = `the truth's size, ${truth.width} x ${truth.height},`
  throw new IConFaceError(
    'ERR_ICONFACE_INVALID_ARGUMENT',
    expectation('the size of image', expected, `${image.width} x ${image.height}`),
  )
}

/** Luma of ITU-R BT.601, full range: 0.299 R + 0.587 G + 0.114 B, 0 to 255. */
export function luma({ data, width, height }: RgbImage): Plane {
  const out = new Float64Array(width * height)
  for (let i = 0; i < out.length; i++) {
    out[i] = 0.299 * data[3 * i]! + 0.587 * data[3 * i + 1]! + 0.114 * data[3 * i + 2]!
  }
  return { data: out, width, height }
}
