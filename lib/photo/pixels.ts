/**
 * A photograph's pixels as they were decoded: its own depth and colours, in memory that native threads may work in while
 * JavaScript goes on.
 */
import { invalid } from '../errors'
import { checkWithin, LIMITS } from '../limits'
import { checkInteger, checkOneOf } from '../options'
import { isRecord, isSharedArrayBuffer, isUint16Array, isUint8Array } from '../util/realm'
import { allocated } from '../util/shortage'

/** Decoded pixels, row by row without padding. */
export interface PhotoPixels {
  /** Over a `SharedArrayBuffer`, which nobody can detach; {@link allocatePixels} makes one. 8 or 16 bits a value. */
  data: Uint8Array | Uint16Array
  width: number
  height: number
  /** Grey or RGB; the last one of 2 or 4 is alpha. */
  channels: 1 | 2 | 3 | 4
}

/**
 * Room for decoded pixels.
 *
 * @returns Zeros, over shared memory.
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT`, `ERR_ICONFACE_OUT_OF_MEMORY`
 */
export function allocatePixels(width: number, height: number, channels: number, bits: 8 | 16 = 8): PhotoPixels {
  checkShape('', width, height, channels)
  checkOneOf('bits', String(bits), ['8', '16'], '8 or 16')
  const bytes = width * height * channels * (bits / 8)
  const buffer = allocated(bytes, () => new SharedArrayBuffer(bytes))
  const data = bits === 8 ? new Uint8Array(buffer) : new Uint16Array(buffer)
  return { data, width, height, channels }
}

/** The same pixels over shared memory: copied, unless they are there already. */
export function sharedPixels(pixels: PhotoPixels): PhotoPixels {
  const { data, width, height, channels } = pixels
  if (isSharedArrayBuffer(data.buffer)) return { data, width, height, channels }
  const own = allocatePixels(width, height, channels, data.BYTES_PER_ELEMENT === 1 ? 8 : 16)
  own.data.set(data)
  return own
}

/** What is left of `channels` without alpha: grey or RGB. */
export function coloursOf(channels: number): 1 | 3 {
  return channels < 3 ? 1 : 3
}

/** Refuses what is no {@link PhotoPixels}. */
export function checkPixels(name: string, value: unknown): asserts value is PhotoPixels {
  if (!isRecord(value)) throw invalid(name, 'pixels { data, width, height, channels }', value)
  const { data, width, height, channels } = value as Partial<PhotoPixels>
  checkShape(`${name}.`, width, height, channels)
  if (!isPixelData(data)) throw invalid(`${name}.data`, 'a Uint8Array or a Uint16Array', data)
  const values = width! * height! * channels!
  if (data.length !== values)
    throw invalid(`${name}.data`, `${values} values (${width} x ${height} x ${channels})`, data)
  if (isSharedArrayBuffer(data.buffer)) return
  const expected = 'a view of a SharedArrayBuffer, as allocatePixels makes one (any other could be detached in use)'
  throw invalid(`${name}.data`, expected, data)
}

function checkShape(of: string, width: unknown, height: unknown, channels: unknown): asserts channels is 1 | 2 | 3 | 4 {
  checkWithin(`${of}width`, width, LIMITS.side)
  checkWithin(`${of}height`, height, LIMITS.side)
  checkInteger(`${of}channels`, channels, 1, 4)
  const pixels = width * height
  if (pixels > LIMITS.pixels.max) throw invalid(`${of}width x height`, `at most ${LIMITS.pixels.max} pixels`, pixels)
}

/** A `Uint8ClampedArray` would do as well, but its users mean a canvas, whose alpha is another thing. */
export function isPixelData(data: unknown): data is Uint8Array | Uint16Array {
  return isUint8Array(data) || isUint16Array(data)
}
