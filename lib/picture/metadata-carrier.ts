/**
 * A picture of one pixel that carries what a photograph says about itself into a file of another format.
 *
 * sharp writes the metadata of its input, and raw pixels have none. So the input is this picture, black, stretched to the
 * photograph's size, and the pixels are joined to it bit by bit: 0 or x is x. libvips computes that in strips while it
 * encodes, so no copy of the photograph is made.
 */

import { deflateSync } from 'node:zlib'
import type { Sharp } from 'sharp'
import { isUint16Array } from '../util/realm'
import { sharp } from './sharp'

/** What a file says about its pixels. */
export interface PictureMetadata {
  icc: Buffer | undefined
  /** A TIFF structure, without the six bytes that go before it in JPEG. */
  exif: Buffer | undefined
  /** Pixels per inch. */
  density: number | undefined
}

/** Raw pixels of 8 or 16 bits. */
export interface OwnSamples {
  data: Uint8Array | Uint16Array
  width: number
  height: number
  channels: 1 | 2 | 3 | 4
}

/** A pipeline over `pixels`, read in place, whose output has `metadata`; in 8 bits unless `deep`. */
export function withPictureMetadata(pixels: OwnSamples, metadata: PictureMetadata, deep: boolean): Sharp {
  const { data, width, height, channels } = pixels
  const wide = isUint16Array(data)
  const input = sharp(carrier(channels, wide ? 16 : 8, metadata), { ignoreIcc: true, limitInputPixels: false })
  const space = (bits: boolean) => (channels < 3 ? (bits ? 'grey16' : 'b-w') : bits ? 'rgb16' : 'srgb')
  const base = wide ? input.pipelineColourspace(space(true)) : input
  return base
    .resize(width, height, { fit: 'fill', kernel: 'nearest' })
    .boolean(data as Buffer, 'or', { raw: { width, height, channels } })
    .toColourspace(space(wide && deep))
    .keepExif()
    .keepIccProfile()
}

/** PNG's colour types, by the number of channels. */
const COLOUR_TYPE = { 1: 0, 2: 4, 3: 2, 4: 6 }
const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])

/** A PNG of one black pixel. Source: PNG, third edition, 5 and 11. */
function carrier(channels: 1 | 2 | 3 | 4, bits: 8 | 16, { icc, exif, density }: PictureMetadata): Buffer {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(1, 0)
  header.writeUInt32BE(1, 4)
  header.set([bits, COLOUR_TYPE[channels]], 8)
  const parts = [SIGNATURE, chunk('IHDR', header)]
  if (icc) parts.push(chunk('iCCP', Buffer.concat([Buffer.from('profile\0\0', 'latin1'), deflateSync(icc)])))
  if (density !== undefined) parts.push(chunk('pHYs', physical(density)))
  if (exif) parts.push(chunk('eXIf', exif))
  parts.push(chunk('IDAT', deflateSync(Buffer.alloc(1 + (channels * bits) / 8))), chunk('IEND', Buffer.alloc(0)))
  return Buffer.concat(parts)
}

function physical(density: number): Buffer {
  const perMetre = Math.round(density / 0.0254)
  const data = Buffer.alloc(9)
  data.writeUInt32BE(perMetre, 0)
  data.writeUInt32BE(perMetre, 4)
  data[8] = 1 // the unit is the metre
  return data
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  check.writeUInt32BE(crc(body))
  return Buffer.concat([length, body, check])
}

/** Source: PNG, annex D. `zlib.crc32` is not in the oldest Node that this package takes. */
function crc(bytes: Buffer): number {
  let c = ~0
  for (const byte of bytes) {
    c ^= byte
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1
  }
  return ~c >>> 0
}
