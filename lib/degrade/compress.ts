/**
 * Lossy compression: a picture encoded and decoded again.
 */

import { IConFaceError, isIConFaceError } from '../errors'
import { type RgbImage, toSharp } from '../image'
import { messageOf } from '../util/realm'
import { sharp } from '../picture/sharp'
import { shortage } from '../util/shortage'

export type Codec = 'jpeg' | 'webp'

/** The longest side of a WebP, in pixels; JPEG's is four times that. */
export const MAX_SIDE = 16383

/**
 * @param quality The encoder's, a whole number from 1 to 100. Colours are halved in size, as cameras and sites do.
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_IMAGE` for what the encoder refuses.
 */
export async function compress(image: RgbImage, codec: Codec, quality: number): Promise<RgbImage> {
  const { width, height } = image
  try {
    const data = await sharp(await encode(image, codec, quality))
      .raw()
      .toBuffer()
    return { data, width, height }
  } catch (cause) {
    if (isIConFaceError(cause)) throw cause
    const lacking = shortage(cause)
    if (lacking) throw lacking
    const message = `cannot compress ${width} x ${height} pixels as ${codec}: ${messageOf(cause)}`
    throw new IConFaceError('ERR_ICONFACE_INVALID_IMAGE', message, { cause })
  }
}

function encode(image: RgbImage, codec: Codec, quality: number): Promise<Buffer> {
  const encoder = toSharp(image)
  if (codec === 'jpeg') return encoder.jpeg({ quality, chromaSubsampling: '4:2:0' }).toBuffer()
  return encoder.webp({ quality, effort: 0 }).toBuffer() // the least effort: the same kind of artefacts, in a fifth of the time
}
