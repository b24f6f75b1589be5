/**
 * Pictures in: files, encoded bytes and raw pixels, all to 8-bit sRGB pixels that a job can read in peace.
 *
 * A job reads its pixels on another thread, while the caller's code goes on. A caller could detach, shrink or
 * overwrite an ordinary buffer meanwhile, so such bytes are copied once, at the call. Memory that can neither move nor
 * shrink (`SharedArrayBuffer`, hence {@link allocateImage}) is read in place, and `transfer: true` takes an ordinary
 * buffer over by detaching it.
 */

import { stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { type Decoded, decode, greyToRgb, imageError, tooLarge } from './decode'
import { expectation, fileError, IConFaceError, invalid } from './errors'
import { integer } from './options'

/**
 * A picture: a path, a `file:` URL, encoded bytes (JPEG, PNG, WebP, TIFF, GIF, AVIF), or raw pixels.
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
  transfer?: boolean
}

/** Plain 8-bit sRGB pixels, row by row without padding: `height * width * 3` bytes, red, green, blue. */
export interface RgbImage {
  data: Uint8Array
  width: number
  height: number
}

/** A sharp pipeline that reads `image` in place. */
export function toSharp({ data, width, height }: RgbImage): sharp.Sharp {
  return sharp(data, { raw: { width, height, channels: 3 } })
}

/** A picture as it was at the time of the call; `read` decodes it when its job's turn comes. */
export interface Picture {
  /** What messages call it: `input`, `reference 2`. */
  name: string
  read(): Promise<Decoded>
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
  integer('width', width, 1, 65535)
  integer('height', height, 1, 65535)
  integer('channels', channels, 3, 4)
  return { data: new Uint8Array(new SharedArrayBuffer(width * height * channels)), width, height, channels }
}

/**
 * Holds on to pictures at the moment of the call: checks all of them first, then copies or takes over their bytes.
 *
 * @param pictures  Each with the name that errors call it by: `input`, `reference 2`.
 * @param maxPixels Largest `width * height` accepted.
 */
export function capturePictures(pictures: { name: string; image: ImageInput }[], maxPixels: number): Picture[] {
  const captures = pictures.map(({ name, image }) => prepare(name, image, maxPixels))
  return captures.map((capture) => capture())
}

/** Checks one picture now and returns what captures it. */
function prepare(name: string, image: ImageInput, maxPixels: number): () => Picture {
  if (typeof image === 'string' && image !== '') return () => fileIn(name, image, maxPixels)
  if (image instanceof URL) {
    if (image.protocol !== 'file:') throw invalid(name, 'a file: URL', image.href)
    const path = fileURLToPath(image)
    return () => fileIn(name, path, maxPixels)
  }
  if (image instanceof Uint8Array || image instanceof ArrayBuffer) {
    const bytes = image instanceof Uint8Array ? image : new Uint8Array(detachable(name, image))
    if (bytes.byteLength === 0) throw imageError(name, 'it holds no bytes (an empty or detached buffer)')
    return () => {
      const copy = Buffer.from(bytes)
      return { name, read: () => decode(name, copy, maxPixels) }
    }
  }
  if (isRaw(image)) return rawIn(name, image, maxPixels)
  throw invalid(name, 'a path, a file: URL, encoded bytes or { data, width, height, channels }', image)
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

function fileIn(name: string, path: string, maxPixels: number): Picture {
  const read = async () => {
    await checkPictureFile(name, path)
    return decode(name, path, maxPixels)
  }
  return { name, read }
}

/** Refuses what is not there or no file. */
export async function checkPictureFile(name: string, path: string): Promise<void> {
  const found = await stat(path).catch((cause: unknown) => {
    const error = fileError('read', path, cause)
    throw new IConFaceError(error.code, `${name}: ${error.message}`, { cause })
  })
  if (!found.isFile()) throw imageError(name, `${path} is not a file`)
}

function rawIn(name: string, image: RawImage, maxPixels: number): () => Picture {
  const { data, width, height, channels, transfer = false } = image
  if (!(data instanceof Uint8Array || data instanceof Uint8ClampedArray)) {
    throw invalid(`${name}.data`, 'a Uint8Array', data)
  }
  integer(`${name}.width`, width, 1, 65535)
  integer(`${name}.height`, height, 1, 65535)
  integer(`${name}.channels`, channels, 1, 4)
  if (typeof transfer !== 'boolean') throw invalid(`${name}.transfer`, 'true or false', transfer)
  if (width * height > maxPixels) throw tooLarge(name, width, height, maxPixels)
  checkLength(name, image)
  const shared = !(data.buffer instanceof ArrayBuffer)
  if (transfer && !shared && data.byteLength !== data.buffer.byteLength) {
    const expected = `a view of its whole buffer (${data.buffer.byteLength} bytes) where transfer is true`
    throw invalid(`${name}.data`, expected, data)
  }
  return () => {
    const own = shared ? inPlace(data) : transfer ? takeOver(name, data) : new Uint8Array(data)
    return { name, read: () => rawPixels(own, width, height, channels) }
  }
}

function checkLength(name: string, { data, width, height, channels }: RawImage): void {
  const bytes = width * height * channels
  if (data.byteLength === bytes) return
  const detached = data.byteLength === 0 ? '; its buffer is detached or empty' : ''
  const expected = `${bytes} bytes (${width} x ${height} x ${channels})`
  throw new IConFaceError('ERR_ICONFACE_INVALID_ARGUMENT', expectation(`${name}.data`, expected, data) + detached)
}

function inPlace(data: Uint8Array | Uint8ClampedArray): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}

function takeOver(name: string, data: Uint8Array | Uint8ClampedArray): Uint8Array {
  const { buffer } = data
  const own = new Uint8Array(structuredClone(buffer, { transfer: [buffer as ArrayBuffer] }))
  if (data.byteLength !== 0) throw invalid(`${name}.data`, 'a buffer that can be detached where transfer is true', data)
  return own
}

/** RGB and RGBA go to the model as they are; grey is expanded, off the JavaScript thread. */
async function rawPixels(
  data: Uint8Array | Uint8ClampedArray,
  width: number,
  height: number,
  channels: 1 | 2 | 3 | 4,
): Promise<Decoded> {
  if (channels === 1 || channels === 2) return greyToRgb(data, width, height, channels)
  return { data: inPlace(data), width, height, channels, warnings: [] }
}
