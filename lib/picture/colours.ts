/**
 * Conversion of a picture's colours to 8-bit sRGB: who does it for which profile and bit depth.
 */

import type { Metadata, Sharp, SharpOptions } from 'sharp'
import type { Pixels } from '../native'
import { sharp } from './sharp'
import type { ColourProfile, Shaper } from './profile'
import { convert, narrow, type Samples } from './srgb'

/** A picture that is about to be decoded. */
export interface Encoded {
  source: Buffer
  header: Metadata
  /** The profile in it, if it has one that can be read. */
  profile: ColourProfile | null
}

/** Spaces whose numbers mean colours by themselves. */
const ABSOLUTE = ['lab', 'labs']
/** The kind of picture that profiles call grey or RGB, by sharp's names. */
const KIND: Record<string, ColourProfile['space']> = {
  'b-w': 'grey',
  grey16: 'grey',
  srgb: 'rgb',
  rgb16: 'rgb',
  scrgb: 'rgb',
  cmyk: 'cmyk',
}

/**
 * Decodes to 8-bit sRGB without alpha.
 *
 * sharp does it for 8 bits and for CMYK. For more bits it takes the numbers as they are, or as Display P3's, so they are
 * read without their profile, which is applied here where it is made of curves, and else by lcms as sharp's output
 * profile. sharp also ignores an RGB profile of a grey picture.
 */
export async function decodeColours({ source, header, profile }: Encoded, options: SharpOptions): Promise<Pixels> {
  const { space, depth } = header
  const shaper = profile?.shaper
  const greyInRgb = space === 'b-w' && profile?.space === 'rgb'
  const own = (depth !== 'uchar' && KIND[space] !== 'cmyk' && !ABSOLUTE.includes(space)) || greyInRgb
  if (!own || !profile || !fits(space, profile)) {
    return plain(sharp(source, { ...options, ignoreIcc: depth === 'float' || depth === 'double' }))
  }
  const image = sharp(source, { ...options, ignoreIcc: true })
    .toColourspace(space)
    .removeAlpha()
  if (shaper) return shaped(image, header, shaper)
  if (profile.table && space === 'rgb16') return byLcms(image)
  return plain(sharp(source, { ...options, ignoreIcc: true }))
}

/** What the profile of a picture that cannot be applied is, in words; `null` where it is applied, or where there is none. */
export function unusedProfile({ header, profile }: Omit<Encoded, 'source'>): string | null {
  const { space, depth, icc } = header
  if (!icc || ABSOLUTE.includes(space)) return null
  if (!profile) return 'its colour profile is damaged'
  if (!fits(space, profile)) return `its colour profile is one for ${profile.space} pictures`
  const usable =
    profile.shaper !== null || (profile.table && (depth === 'uchar' || space === 'rgb16' || space === 'cmyk'))
  return usable ? null : 'its colour profile is of a kind that is not read'
}

function fits(space: string, profile: ColourProfile): boolean {
  return profile.space === KIND[space] || (KIND[space] === 'grey' && profile.space === 'rgb')
}

async function plain(image: Sharp): Promise<Pixels> {
  const { data, info } = await image.toColourspace('srgb').removeAlpha().raw().toBuffer({ resolveWithObject: true })
  if (info.channels !== 3) throw new Error(`it has ${info.channels} channels, which are no colours`)
  return { data, width: info.width, height: info.height, channels: 3 }
}

async function shaped(image: Sharp, { depth, bitsPerSample }: Metadata, shaper: Shaper): Promise<Pixels> {
  const kind = depth === 'uchar' || depth === 'ushort' ? depth : 'float'
  const { data, info } = await image.raw({ depth: kind }).toBuffer({ resolveWithObject: true })
  const { width, height, channels } = info
  if (channels !== 1 && channels !== 3) throw new Error(`it has ${channels} channels, which are no colours`)
  const bits = Math.min(16, bitsPerSample ?? 16)
  const deep = (2 ** bits - 1) * 2 ** (16 - bits) // 10 and 12 bits are the upper ones of 16
  const full = { uchar: 255, ushort: deep, float: 1 }[kind]
  const samples: Samples = { data: samplesOf(data, kind), channels, full }
  return { data: await convert(samples, shaper), width, height, channels: 3 }
}

async function byLcms(image: Sharp): Promise<Pixels> {
  const converted = image.withIccProfile('srgb').raw({ depth: 'ushort' })
  const { data, info } = await converted.toBuffer({ resolveWithObject: true })
  return {
    data: await narrow(samplesOf(data, 'ushort') as Uint16Array),
    width: info.width,
    height: info.height,
    channels: 3,
  }
}

function samplesOf({ buffer, byteOffset, byteLength }: Buffer, kind: 'uchar' | 'ushort' | 'float'): Samples['data'] {
  const bytes = { uchar: 1, ushort: 2, float: 4 }[kind]
  const aligned = byteOffset % bytes === 0 ? buffer : buffer.slice(byteOffset, byteOffset + byteLength)
  const at = aligned === buffer ? byteOffset : 0
  const List = { uchar: Uint8Array, ushort: Uint16Array, float: Float32Array }[kind]
  return new List(aligned as ArrayBuffer, at, byteLength / bytes)
}
