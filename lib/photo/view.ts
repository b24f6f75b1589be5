/**
 * What a detector looks at of a photograph: a part of it, at some size, as 8-bit RGB.
 */

import type { RgbImage } from '../image'
import { sharp } from '../picture/sharp'
import { isUint8Array } from '../util/realm'
import { cannot } from '../util/shortage'
import type { PhotoPixels } from './pixels'

/** A part of a picture, in its pixels. */
export interface Part {
  readonly left: number
  readonly top: number
  readonly width: number
  readonly height: number
}

/**
 * A part of a picture at `width` x `height` pixels. Numbers are taken for sRGB whatever their profile says: where a face is
 * does not depend on it.
 */
export async function viewOf(picture: PhotoPixels, part: Part, width: number, height: number): Promise<RgbImage> {
  const { data, channels } = picture
  const whole = part.width === picture.width && part.height === picture.height
  const same = part.width === width && part.height === height
  if (whole && same && channels === 3 && isUint8Array(data)) return { data, width, height }
  const raw = { width: picture.width, height: picture.height, channels }
  const { data: rgb } = await sharp(data, { raw, limitInputPixels: false })
    .extract({ left: part.left, top: part.top, width: part.width, height: part.height })
    .resize(width, height, { fit: 'fill', kernel: 'linear' })
    .toColourspace('srgb')
    .removeAlpha()
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
    .catch(cannot('reduce a photograph'))
  return { data: rgb, width, height }
}
