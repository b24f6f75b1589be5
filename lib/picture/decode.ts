/**
 * Encoded pictures to 8-bit sRGB pixels.
 */

import { readFile } from 'node:fs/promises'
import type { SharpOptions } from 'sharp'
import { fileError, IConFaceError, isIConFaceError, shortened } from '../errors'
import type { Pixels } from '../native'
import { messageOf } from '../util/realm'
import { sharp } from './sharp'
import { cannot, shortage } from '../util/shortage'
import { IConFaceWarning } from '../warning'
import { decodeColours, type Encoded, unusedProfile } from './colours'
import { headOf, ignoredColours, isHeic } from './head'
import { mendJpeg } from './jpeg'
import { readProfile } from './profile'

/** Pixels, and what a caller should know about them. */
export interface Decoded extends Pixels {
  warnings: readonly IConFaceWarning[]
}

export interface DecodeOptions {
  /** Largest `width * height` accepted. */
  maxPixels: number
  /** Refuses what the decoder only warns of. */
  strict: boolean
}

const FORMATS = ['jpeg', 'png', 'webp', 'tiff', 'gif', 'heif', 'jp2', 'jxl']
const KINDS = 'JPEG, PNG, WebP, AVIF, TIFF or GIF'
/** Samples that mean the same everywhere; integers of 32 bits, for one, overflow in sharp. */
const DEPTHS = ['uchar', 'ushort', 'float', 'double']
const HEIC =
  'it is HEIC, which the sharp that comes from npm does not read; convert it to JPEG or PNG, ' +
  'or use a sharp built with a libheif that reads HEVC'

/** A picture's bytes, and what its header says; nothing is decoded yet. */
export interface EncodedPicture extends Encoded {
  /** What errors call the picture: `input`, `reference 2`. */
  name: string
  /** Where it lies, for messages: `photo.jpg: `; empty for bytes. */
  from: string
  /** Its first bytes. */
  head: Buffer
  options: DecodeOptions
}

/** How a picture is decoded: from `source`, its bytes or what was mended of them, as strictly as `options` say. */
export type Decoder<T> = (source: Buffer, options: SharpOptions) => Promise<T>

/**
 * Decodes to 8-bit sRGB, on the thread pool of libuv, as every use of sharp does.
 *
 * A file that the decoder complains about is decoded all the same, with its words as a warning, as long as all of the
 * picture is there.
 */
export async function decodeRgb(picture: EncodedPicture): Promise<Decoded> {
  const { header, profile, name, from, head } = picture
  const decoder: Decoder<Pixels> = (source, options) => decodeColours({ source, header, profile }, options)
  const { decoded, warnings } = await decodeWith(picture, decoder)
  return { ...decoded, warnings: [...warnings, ...colourWarnings(name, from, { header, profile }, head)] }
}

/**
 * Reads a picture and its header.
 *
 * @param name   What errors call the picture: `input`, `reference 2`.
 * @param source A path, or encoded bytes, which must not change meanwhile.
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_IMAGE` for what is none, or of a kind or size that is not accepted.
 */
export async function openPicture(
  name: string,
  source: string | Buffer,
  options: DecodeOptions,
): Promise<EncodedPicture> {
  const from = typeof source === 'string' ? `${shortened(source)}: ` : ''
  const bytes = typeof source === 'string' ? await readPicture(source, name) : source
  const head = headOf(bytes)
  return attempt({ name, from, head }, async () => {
    const header = await sharp(bytes, { limitInputPixels: false, failOn: 'none' }).metadata() // headers only
    const { format, width, height, depth, space } = header
    if (!FORMATS.includes(format)) throw new Error(`pictures of type ${format} are not accepted; it has to be ${KINDS}`)
    if (width * height > options.maxPixels) throw tooLarge(name, width, height, options.maxPixels)
    if (!DEPTHS.includes(depth) && !space.startsWith('lab')) {
      throw new Error(`pictures with samples of type ${depth} are not accepted; convert it to 8 or 16 bits`)
    }
    const profile = header.icc ? readProfile(header.icc) : null
    return { name, from, head, source: bytes, header, profile, options }
  })
}

/** What `decoder` makes of a picture, upright, and a warning where the file has a fault. */
export async function decodeWith<T>(
  picture: EncodedPicture,
  decoder: Decoder<T>,
): Promise<{ decoded: T; warnings: IConFaceWarning[] }> {
  const { name, from, source, header, options } = picture
  const limits = { autoOrient: true, limitInputPixels: options.maxPixels }
  return attempt(picture, async () => {
    const { decoded, complaint } = await tolerantly(source, header.format, options.strict, (bytes, failOn) =>
      decoder(bytes, { failOn, ...limits }),
    )
    return { decoded, warnings: damage(name, from, complaint) }
  })
}

/** What `work` gives; its failures as errors about the picture. */
async function attempt<T>(
  { name, from, head }: Pick<EncodedPicture, 'name' | 'from' | 'head'>,
  work: () => Promise<T>,
) {
  try {
    return await work()
  } catch (cause) {
    if (isIConFaceError(cause)) throw cause
    throw shortage(cause) ?? imageError(name, from + reasonOf(cause, head), cause)
  }
}

/**
 * The bytes of a picture's file. sharp is given bytes and never a path, of which it takes a bracketed end for options:
 * `face.png[2]` would not be found.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_FILE_NOT_FOUND`, `ERR_ICONFACE_IO`
 */
export function readPicture(path: string, name?: string): Promise<Buffer> {
  return readFile(path).catch((cause: unknown) => {
    throw name === undefined ? fileError('read', path, cause) : unreadable(name, path, cause)
  })
}

/** Grey pixels, with or without alpha, as RGB. */
export async function greyToRgb(
  data: Uint8Array | Uint8ClampedArray,
  width: number,
  height: number,
  channels: 1 | 2,
): Promise<Decoded> {
  const image = sharp(data, { raw: { width, height, channels } })
  const rgb = await image.toColourspace('srgb').removeAlpha().raw().toBuffer().catch(cannot('convert a grey picture'))
  return { data: rgb, width, height, channels: 3, warnings: [] }
}

/** Pixels, and what the decoder complained about when it was asked to be strict. */
async function tolerantly<T>(
  source: Buffer,
  format: string,
  strict: boolean,
  decodeFrom: (source: Buffer, failOn: 'warning' | 'error') => Promise<T>,
): Promise<{ decoded: T; complaint: string | null }> {
  try {
    return { decoded: await decodeFrom(source, 'warning'), complaint: null }
  } catch (first) {
    if (strict) throw first
    const fail = () => {
      throw first
    }
    const complaint = wordsOf(first)
    if (format !== 'jpeg') return { decoded: await decodeFrom(source, 'error').catch(fail), complaint }
    // libjpeg fills missing rows with grey and says so only in a warning, as it does for lesser faults.
    const mended = mendJpeg(source)
    const decoded = await decodeFrom(mended, 'warning').catch((second: unknown) => {
      if (/premature end/i.test(wordsOf(second)))
        throw new Error(`${wordsOf(second)}; rows are missing`, { cause: first })
      return decodeFrom(mended, 'error').catch(fail)
    })
    return { decoded, complaint }
  }
}

/** What sharp says, each of its lines once and without the names of its parts. */
function wordsOf(error: unknown): string {
  const lines = messageOf(error).split('\n')
  const words = lines.map((line) => line.replace(/^(Vips\w+|\w+2vips|vips\w+): /, '').trim())
  return [...new Set(words)].filter((line) => line !== '' && !line.startsWith('Warning treated as error')).join('; ')
}

/** Why sharp gave no picture, in words. */
function reasonOf(error: unknown, head: Buffer): string {
  if (isHeic(head)) return HEIC
  const words = wordsOf(error)
  return /unsupported image format/.test(words) ? `${words}; it has to be ${KINDS}` : words
}

function damage(name: string, from: string, complaint: string | null): IConFaceWarning[] {
  if (complaint === null) return []
  const message = `${name}: ${from}the decoder complains (${complaint}), and the picture was decoded all the same`
  return [new IConFaceWarning('WARN_ICONFACE_DAMAGED', message)]
}

/** Warnings where the colours of a picture are not what it says. */
export function colourWarnings(
  name: string,
  from: string,
  encoded: Omit<Encoded, 'source'>,
  head: Buffer,
): IConFaceWarning[] {
  const unused = unusedProfile(encoded) ?? (encoded.header.icc ? null : ignoredColours(head))
  if (unused === null) return []
  const said = unused.startsWith('its colour profile') ? unused : `${unused} is not followed`
  const message = `${name}: ${from}${said}: its colours are taken for sRGB; embed an ICC profile, or convert it to sRGB`
  return [new IConFaceWarning('WARN_ICONFACE_COLOURS', message)]
}

/** The error for a file that is not there, or that the system does not let this process read. */
export function unreadable(name: string, path: string, cause: unknown): IConFaceError {
  const error = fileError('read', path, cause)
  return new IConFaceError(error.code, `${name}: ${error.message}`, { cause })
}

export function tooLarge(name: string, width: number, height: number, maxPixels: number): IConFaceError {
  const message = `${width} x ${height} pixels are more than maxPixels (${maxPixels}); scale it down, or raise maxPixels`
  return imageError(name, `${message} (--max-pixels)`)
}

export function imageError(name: string, reason: string, cause?: unknown): IConFaceError {
  return new IConFaceError('ERR_ICONFACE_INVALID_IMAGE', `cannot use ${name}: ${reason}`, { cause })
}
