/**
 * A whole photograph in its own numbers: depth, colour space and alpha as the file has them. Faces are cut out of it,
 * converted for the model and back, and pasted into it, so that all other bytes stay what they are.
 */

import type { SharpOptions } from 'sharp'
import type { OwnPixels, Picture, RgbImage } from '../image'
import { colourWarnings, decodeRgb, decodeWith, type EncodedPicture } from '../picture/decode'
import { tidyExif } from '../picture/exif'
import { fromSrgb } from '../picture/from-srgb'
import type { OwnSamples, PictureMetadata } from '../picture/metadata-carrier'
import type { Shaper } from '../picture/profile'
import { sharp } from '../picture/sharp'
import { toSrgb } from '../picture/srgb'
import { IConFaceWarning } from '../warning'
import { allocatePixels, type PhotoPixels, sharedPixels } from './pixels'

/** An upright photograph. `data` is written into; nobody else holds it. */
export interface Photograph extends OwnSamples {
  /** The number that means full light. */
  readonly full: number
  /** What its numbers mean; `null`: they are sRGB's. */
  readonly shaper: Shaper | null
  readonly metadata: PictureMetadata
  readonly warnings: readonly IConFaceWarning[]
}

/** Spaces whose numbers are kept, with those of the raw pixels that sharp gives of them. */
const KEPT = { srgb: 'uchar', 'b-w': 'uchar', rgb16: 'ushort', grey16: 'ushort' } as const

/**
 * Decodes a photograph.
 *
 * Numbers of other kinds than those of 8 or 16 bits (floats, Lab), CMYK, and colours that a table of a profile describes
 * become 8-bit sRGB without alpha, with a warning: they could not be written back, or not into every format.
 *
 * @param keepLocation Whether its EXIF goes on saying where it was taken.
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_IMAGE`, `ERR_ICONFACE_FILE_NOT_FOUND`, `ERR_ICONFACE_IO`; shortages.
 */
export async function readPhotograph(picture: Picture, keepLocation: boolean): Promise<Photograph> {
  const opened = await picture.open()
  if (!('header' in opened)) return rawPhotograph(opened)
  const { header } = opened
  const exif = header.exif ? (tidyExif(header.exif, { keepLocation }) ?? undefined) : undefined
  const metadata = { exif, density: header.density }
  const reason = notKept(opened)
  if (reason === null) return ownPhotograph(opened, metadata)
  const { data, width, height, warnings } = await decodeRgb(opened)
  const message =
    `${opened.name}: ${opened.from}${reason}: the result is in 8-bit sRGB; ` +
    'convert it to RGB of 8 or 16 bits with a common profile to keep its colours'
  return {
    ...{ ...sharedPixels({ data, width, height, channels: 3 }), full: 255, shaper: null },
    metadata: { ...metadata, icc: undefined },
    warnings: [...warnings, new IConFaceWarning('WARN_ICONFACE_CONVERTED', message)],
  }
}

/** A crop in sRGB, as the model reads it. */
export async function cropToRgb({ full, shaper }: Photograph, crop: PhotoPixels): Promise<RgbImage> {
  const { data, width, height, channels } = crop
  return { data: await toSrgb({ data, channels: channels as 1 | 3, full }, shaper), width, height }
}

/** A restored crop in the photograph's own numbers. */
export async function cropFromRgb(photo: Photograph, { data, width, height }: RgbImage): Promise<PhotoPixels> {
  const channels = photo.channels < 3 ? 1 : 3
  return { data: await fromSrgb(data, { channels, full: photo.full }, photo.shaper), width, height, channels }
}

/** Raw pixels are sRGB; they are copied, since the caller may hold them. */
function rawPhotograph({ data, width, height, channels }: OwnPixels): Photograph {
  const metadata = { icc: undefined, exif: undefined, density: undefined }
  const own = allocatePixels(width, height, channels)
  own.data.set(data)
  return { ...own, full: 255, shaper: null, metadata, warnings: [] }
}

/** Why the numbers of a photograph cannot be kept, in words; `null` where they can. */
function notKept({ header, profile }: EncodedPicture): string | null {
  const { space, depth, icc } = header
  if (space === 'cmyk') return 'it is in CMYK'
  if (!(space in KEPT)) return `its colour space is ${space}`
  if (depth !== 'uchar' && depth !== 'ushort') return `its samples are of type ${depth}`
  if (!icc || !profile) return null // sRGB, or a damaged profile, which the warnings name
  const kind = space === 'srgb' || space === 'rgb16' ? 'rgb' : 'grey'
  if (profile.space !== kind) return `its colour profile is one for ${profile.space} pictures`
  return profile.shaper ? null : 'its colour profile is a table'
}

async function ownPhotograph(picture: EncodedPicture, metadata: Omit<PictureMetadata, 'icc'>): Promise<Photograph> {
  const { header, profile, name, from, head } = picture
  const { space, depth, bitsPerSample, icc } = header
  const wide = depth === 'ushort'
  const read = (source: Buffer, options: SharpOptions) =>
    sharp(source, { ...options, ignoreIcc: true })
      .toColourspace(space)
      .raw({ depth: wide ? 'ushort' : 'uchar' })
      .toBuffer({ resolveWithObject: true })
  const { decoded, warnings } = await decodeWith(picture, read)
  const { data: bytes, info } = decoded
  const bits = Math.min(16, bitsPerSample ?? 16) // 10 and 12 bits are the upper ones of 16
  const data = wide ? new Uint16Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length / 2) : bytes
  const channels = info.channels as OwnSamples['channels']
  return {
    ...sharedPixels({ data, width: info.width, height: info.height, channels }),
    full: wide ? (2 ** bits - 1) * 2 ** (16 - bits) : 255,
    shaper: profile?.shaper ?? null,
    metadata: { ...metadata, icc },
    warnings: [...warnings, ...colourWarnings(name, from, { header, profile }, head)],
  }
}
