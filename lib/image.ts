/**
 * Pictures in: files, encoded bytes and raw pixels, all to 8-bit sRGB pixels that nobody changes while a job reads
 * them.
 *
 * A job reads its pixels on another thread while the caller's code goes on. The caller could detach, shrink or
 * overwrite an ordinary buffer meanwhile, so its bytes are copied once, at the call. Memory that can neither move nor
 * shrink (`SharedArrayBuffer`, hence {@link allocateImage}) is read in place, and `transfer: true` takes an ordinary
 * buffer over by detaching it.
 */

import { stat } from 'node:fs/promises'
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads'
import type { Sharp } from 'sharp'
import { expectation, IConFaceError, invalid, shortened } from './errors'
import { checkWithin, LIMITS } from './limits'
import { checkInteger } from './options'
import type { Pixels } from './native'
import {
  type Decoded,
  type DecodeOptions,
  decodeRgb,
  type EncodedPicture,
  greyToRgb,
  imageError,
  openPicture,
  tooLarge,
  unreadable,
} from './picture/decode'
import { dataUrlBytes, isBareBase64, isDataUrl } from './picture/data-url'
import { type Bytes, isArrayBuffer, isBytes, isSharedArrayBuffer, isUint8Array, isUrl, pathOfUrl } from './util/realm'
import { sharp } from './picture/sharp'
import { allocated } from './util/shortage'

/**
 * A picture: a path, a `file:` URL, a `data:` URL of at most 128 MiB, encoded bytes (JPEG, PNG, WebP, TIFF, GIF, AVIF),
 * or raw pixels.
 *
 * Decoding honours EXIF orientation, converts colours to sRGB (ICC profiles, CMYK, 16 bits, grey), drops alpha and
 * takes the first frame of an animation.
 */
export type ImageInput = string | URL | Uint8Array | ArrayBuffer | RawImage

/** Raw 8-bit sRGB pixels, row by row without padding: `height * width * channels` bytes. */
export interface RawImage {
  data: Uint8Array | Uint8ClampedArray
  width: number
  height: number
  /** 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. Alpha is dropped. */
  channels: 1 | 2 | 3 | 4
  /** Takes the whole buffer behind `data` over instead of copying it; `data` is empty afterwards. */
  transfer?: boolean | undefined
}

/** RGB alone: 8-bit sRGB pixels, row by row without padding: `height * width * 3` bytes, red, green, blue. */
export interface RgbImage {
  data: Uint8Array
  width: number
  height: number
}

/** A sharp pipeline that reads `image` in place. */
export function toSharp({ data, width, height }: RgbImage): Sharp {
  return sharp(data, { raw: { width, height, channels: 3 } })
}

/** A copy of the pixels without alpha, which the caller cannot change. */
export function ownRgb({ data, width, height, channels }: Pixels): RgbImage {
  const own = new Uint8Array(width * height * 3)
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let c = 0; c < 3; c++) own[3 * pixel + c] = data[channels * pixel + c]!
  }
  return { data: own, width, height }
}

/** A picture as it was at the time of the call; `read` decodes it when its job's turn comes. */
export interface Picture {
  /** What messages call it: `input`, `reference 2`. */
  name: string
  /** Decodes to 8-bit sRGB. */
  read(): Promise<Decoded>
  /** Reads without decoding, for who wants other pixels than those; raw pixels are what they are. */
  open(): Promise<EncodedPicture | OwnPixels>
}

/** Raw pixels that nobody changes, with the channels that they came with. */
export interface OwnPixels {
  data: Uint8Array
  width: number
  height: number
  channels: 1 | 2 | 3 | 4
}

/**
 * Room for raw pixels that a restore reads in place, without any copy. Fill it again only when the restore has ended.
 *
 * @returns An image of zeros, over shared memory.
 * @example
 * const frame = allocateImage(512, 512)
 * camera.readInto(frame.data)
 * const face = await model.restore(frame)
 */
export function allocateImage(width: number, height: number, channels: 3 | 4 = 3): RawImage & { data: Uint8Array } {
  checkWithin('width', width, LIMITS.side)
  checkWithin('height', height, LIMITS.side)
  checkInteger('channels', channels, 3, 4)
  const bytes = width * height * channels
  const data = allocated(bytes, () => new Uint8Array(new SharedArrayBuffer(bytes)))
  return { data, width, height, channels }
}

/**
 * Holds on to pictures at the moment of the call: checks all of them first, then copies or takes over their bytes.
 *
 * @param pictures  Each with the name that errors call it by: `input`, `reference 2`.
 * @param maxPixels Largest `width * height` accepted.
 * @param strict    Refuses what the decoder only warns of.
 */
export function capturePictures(
  pictures: { name: string; image: ImageInput }[],
  maxPixels: number,
  strict = false,
): Picture[] {
  const captures = pictures.map(({ name, image }) => prepare(name, image, { maxPixels, strict }))
  checkTakenOnce(captures)
  // Copies come first: several pictures may lie in a buffer that one of them takes over.
  const copies = captures.map(({ takes, capture }) => (takes ? null : capture()))
  return captures.map(({ capture }, i) => copies[i] ?? capture())
}

/** A picture whose arguments are checked and whose bytes are not captured yet. */
interface Capture {
  name: string
  /** The buffer that `capture` takes over. */
  takes?: ArrayBuffer | undefined
  capture(): Picture
}

function checkTakenOnce(captures: readonly Capture[]): void {
  const taken = new Map<ArrayBuffer, string>()
  for (const { name, takes } of captures) {
    if (!takes) continue
    const other = taken.get(takes)
    if (other) throw invalid(`${name}.transfer`, `false, as ${other} takes the same buffer over,`, true)
    taken.set(takes, name)
  }
}

/** Checks one picture now and returns what captures it. */
function prepare(name: string, image: ImageInput, options: DecodeOptions): Capture {
  if (typeof image === 'string' && image !== '') {
    return { name, capture: () => (isDataUrl(image) ? dataUrlIn : fileIn)(name, image, options) }
  }
  if (isUrl(image)) {
    if (isDataUrl(image.href)) return { name, capture: () => dataUrlIn(name, image.href, options) }
    const path = pathOfUrl(image)
    if (path === undefined) throw invalid(name, 'a file: URL or a data: URL', image.href)
    return { name, capture: () => fileIn(name, path, options) }
  }
  if (isUint8Array(image) || isArrayBuffer(image)) {
    const bytes = isUint8Array(image) ? image : new Uint8Array(detachable(name, image))
    if (bytes.byteLength === 0) throw imageError(name, 'it holds no bytes (an empty or detached buffer)')
    const capture = () => {
      const copy = allocated(bytes.byteLength, () => Buffer.from(bytes))
      return encodedPicture(name, async () => copy, options)
    }
    return { name, capture }
  }
  if (isRaw(image)) return rawIn(name, image, options.maxPixels)
  throw invalid(name, 'a path, a file: or data: URL, encoded bytes or { data, width, height, channels }', image)
}

function detachable(name: string, buffer: ArrayBuffer): ArrayBuffer {
  try {
    new Uint8Array(buffer)
    return buffer
  } catch {
    throw imageError(name, 'its buffer is detached')
  }
}

function isRaw(image: unknown): image is RawImage {
  return typeof image === 'object' && image !== null && 'data' in image
}

function fileIn(name: string, path: string, options: DecodeOptions): Picture {
  const source = async () => {
    await checkPictureFile(name, path)
    return path
  }
  return encodedPicture(name, source, options)
}

function dataUrlIn(name: string, url: string, options: DecodeOptions): Picture {
  const source = async () => {
    const bytes = dataUrlBytes(url)
    if (typeof bytes === 'string') throw imageError(name, `of the data: URL ${shortened(url)}: ${bytes}`)
    return bytes
  }
  return encodedPicture(name, source, options)
}

function encodedPicture(name: string, source: () => Promise<string | Buffer>, options: DecodeOptions): Picture {
  const open = async () => openPicture(name, await source(), options)
  return { name, read: async () => decodeRgb(await open()), open }
}

/** Refuses a path that does not exist or is no file. A `data:` URL passes: it names no file. */
export async function checkPictureFile(name: string, path: string): Promise<void> {
  if (isDataUrl(path)) return
  const found = await stat(path).catch((cause: unknown) => {
    if (isBareBase64(path)) {
      const expected =
        "a path or a data: URL (for base64: Buffer.from(text, 'base64'), or 'data:image/jpeg;base64,' + text)"
      throw invalid(name, expected, path)
    }
    throw unreadable(name, path, cause)
  })
  if (!found.isFile()) throw imageError(name, `${shortened(path)} is not a file`)
}

function rawIn(name: string, image: RawImage, maxPixels: number): Capture {
  const { data, width, height, channels, transfer = false } = image
  if (!isBytes(data)) throw invalid(`${name}.data`, 'a Uint8Array', data)
  checkWithin(`${name}.width`, width, LIMITS.side)
  checkWithin(`${name}.height`, height, LIMITS.side)
  checkInteger(`${name}.channels`, channels, 1, 4)
  if (typeof transfer !== 'boolean') throw invalid(`${name}.transfer`, 'true or false', transfer)
  if (width * height > maxPixels) throw tooLarge(name, width, height, maxPixels)
  checkLength(name, { data, width, height, channels })
  const { buffer } = data
  const takes = transfer && isArrayBuffer(buffer) ? buffer : undefined
  if (takes && data.byteLength !== takes.byteLength) {
    throw invalid(`${name}.data`, `a view of its whole buffer (${takes.byteLength} bytes) where transfer is true`, data)
  }
  const capture = () => {
    // Only shared memory is sure to stay where it is: whoever holds any other buffer may detach or shrink it.
    const own = takes ? takeOver(name, data, takes) : isSharedArrayBuffer(buffer) ? inPlace(data) : copied(data)
    const open = async () => ({ data: own, width, height, channels })
    return { name, read: () => rawPixels(own, width, height, channels), open }
  }
  return { name, takes, capture }
}

function checkLength(name: string, { data, width, height, channels }: RawImage): void {
  const bytes = width * height * channels
  if (data.byteLength === bytes) return
  const detached = data.byteLength === 0 ? '; its buffer is detached or empty' : ''
  const expected = `${bytes} bytes (${width} x ${height} x ${channels})`
  throw new IConFaceError('ERR_ICONFACE_INVALID_ARGUMENT', expectation(`${name}.data`, expected, data) + detached)
}

function copied(data: Bytes): Uint8Array {
  return allocated(data.byteLength, () => new Uint8Array(data))
}

function inPlace(data: Bytes): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}

/** Detaches `buffer` by sending it through a message channel: jsdom has no `structuredClone`. */
function takeOver(name: string, data: Bytes, buffer: ArrayBuffer): Uint8Array {
  const { port1, port2 } = new MessageChannel()
  try {
    port1.postMessage(buffer, [buffer])
    if (data.byteLength === 0) return new Uint8Array(receiveMessageOnPort(port2)!.message as ArrayBuffer)
    throw new TypeError('it was copied, not moved')
  } catch (cause) {
    const expected = 'a buffer that can be detached where transfer is true'
    throw new IConFaceError('ERR_ICONFACE_INVALID_ARGUMENT', expectation(`${name}.data`, expected, data), { cause })
  } finally {
    port1.close()
  }
}

/** RGB and RGBA go to the model as they are; grey is expanded, off the JavaScript thread. */
async function rawPixels(data: Uint8Array, width: number, height: number, channels: 1 | 2 | 3 | 4): Promise<Decoded> {
  if (channels === 1 || channels === 2) return greyToRgb(data, width, height, channels)
  return { data, width, height, channels, warnings: [] }
}
