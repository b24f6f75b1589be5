/**
 * Rounding tensors to another floating-point type: to nearest, ties to even, F64 by way of F32. Infinities and NaN stay
 * what they are; a finite value that would become infinite is an error.
 */
import { IConFaceError } from '../errors'
import { type DType, roundToBFloat16, toFloat32 } from './dtype'

/** Types whose values are real numbers; whole numbers and truth values are never rounded. */
const REAL: readonly DType[] = ['F64', 'F32', 'F16', 'BF16']

export type RoundedDType = 'F32' | 'BF16' | 'F16'

export function isReal(dtype: DType): boolean {
  return REAL.includes(dtype)
}

/**
 * Little-endian bytes of real numbers in another type.
 *
 * @param name  of the tensor, for messages
 * @throws {IConFaceError} `ERR_ICONFACE_NUMERICAL` when a finite value exceeds what `to` holds
 */
export function roundTensor(bytes: Uint8Array, from: DType, to: RoundedDType, name: string): Uint8Array {
  if (from === to) return bytes
  const values = toFloat32(bytes, from)
  if (from === 'F64') checkOverflow(bytes, values, name)
  if (to === 'F32') return new Uint8Array(values.buffer)
  const bits = new Uint32Array(values.buffer)
  const halves = new Uint16Array(bits.length)
  if (to === 'BF16') roundToBFloat16(bits, halves)
  const infinity = to === 'BF16' ? 0x7f80 : 0x7c00
  for (let i = 0; i < bits.length; i++) {
    const magnitude = bits[i]! & 0x7fffffff
    if (to === 'F16') halves[i] = halfBits(bits[i]!, values[i]!)
    else if (magnitude > 0x7f800000) halves[i] = (bits[i]! >>> 16) | 0x40 // NaN stays NaN
    if (magnitude < 0x7f800000 && (halves[i]! & 0x7fff) === infinity) throw overflow(name, values[i]!, to)
  }
  return new Uint8Array(halves.buffer)
}

/** The binary16 pattern of a float32, given as bits and as a number. */
function halfBits(bits: number, value: number): number {
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00
  // 65520 and more round to infinity.
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  // Below 2^-14: a multiple of 2^-24.
  if (magnitude < 0x38800000) return sign | roundHalfEven(Math.abs(value) * 2 ** 24)
  const rebased = magnitude - (112 << 23)
  return sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13)
}

function roundHalfEven(x: number): number {
  const floor = Math.floor(x)
  const rest = x - floor
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor
}

function checkOverflow(bytes: Uint8Array, values: Float32Array, name: string): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let i = 0; i < values.length; i++) {
    const value = view.getFloat64(8 * i, true)
    if (Number.isFinite(value) && !Number.isFinite(values[i]!)) throw overflow(name, value, 'F32')
  }
}

function overflow(name: string, value: number, to: RoundedDType): IConFaceError {
  const advice = to === 'F16' ? 'BF16 or F32 holds it' : to === 'BF16' ? 'F32 holds it' : 'keep F64'
  return new IConFaceError('ERR_ICONFACE_NUMERICAL', `tensor "${name}" holds ${value}, too large for ${to}; ${advice}`)
}
