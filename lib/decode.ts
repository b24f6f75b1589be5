/**
 * Encoded pictures to 8-bit sRGB pixels.
 */

import sharp from 'sharp'
import { IConFaceError, isIConFaceError } from './errors'
import type { Pixels } from './native'
import { messageOf } from './realm'
import type { IConFaceWarning } from './warning'

/** Pixels, and what a caller should know about them. */
export interface Decoded extends Pixels {
  warnings: readonly IConFaceWarning[]
}

const FORMATS = ['jpeg', 'png', 'webp', 'tiff', 'gif', 'heif', 'jp2', 'jxl']
const KINDS = 'JPEG, PNG, WebP, AVIF, TIFF or GIF'

/**
 * Decodes on the thread pool of libuv, as every use of sharp does.
 *
 * @param name   What errors call the picture: `input`, `reference 2`.
 * @param source A path, or encoded bytes, which must not change meanwhile.
 */
export async function decode(name: string, source: string | Buffer, maxPixels: number): Promise<Decoded> {
  const from = typeof source === 'string' ? `${source}: ` : ''
  try {
    const { format, width, height } = await sharp(source, { limitInputPixels: false }).metadata() // headers only
    if (!FORMATS.includes(format)) throw new Error(`pictures of type ${format} are not accepted; it has to be ${KINDS}`)
    if (width * height > maxPixels) throw tooLarge(name, width, height, maxPixels)
    return await toRgb(sharp(source, { failOn: 'warning', autoOrient: true, limitInputPixels: maxPixels }))
  } catch (cause) {
    if (isIConFaceError(cause)) throw cause
    const hint = /unsupported image format/.test(messageOf(cause)) ? `; it has to be ${KINDS}` : ''
    throw imageError(name, from + messageOf(cause) + hint, cause)
  }
}

/** Grey pixels, with or without alpha, as RGB. */
export function greyToRgb(data: Uint8Array | Uint8ClampedArray, width: number, height: number, channels: 1 | 2) {
  return toRgb(sharp(data, { raw: { width, height, channels } }))
}

async function toRgb(image: sharp.Sharp): Promise<Decoded> {
  const { data, info } = await image.toColourspace('srgb').removeAlpha().raw().toBuffer({ resolveWithObject: true })
  return { data, width: info.width, height: info.height, channels: 3, warnings: [] }
}

export function tooLarge(name: string, width: number, height: number, maxPixels: number): IConFaceError {
  return imageError(name, `${width} x ${height} pixels are more than maxPixels (${maxPixels}); scale it down`)
}

export function imageError(name: string, reason: string, cause?: unknown): IConFaceError {
  return new IConFaceError('ERR_ICONFACE_INVALID_IMAGE', `cannot use ${name}: ${reason}`, { cause })
}
