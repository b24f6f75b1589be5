/**
 * Tensors as operations take and give them, and how to make them of numbers.
 */

import { invalid } from '../errors'

/** Types of numbers: IEEE floats, bfloat16, e4m3 of 8 bits, and integers. */
export type DType = 'f32' | 'bf16' | 'f16' | 'f8_e4m3' | 'f64' | 'i64' | 'i32' | 'u8'

/**
 * A tensor, row-major. `bf16` and `f16` hold their bits in a `Uint16Array`, `f8_e4m3` in a
 * `Uint8Array`. The data is copied at the call, so the
 * caller may change or transfer it afterwards.
 */
export interface Tensor {
  dtype: DType
  shape: number[]
  data: Float32Array | Float64Array | Uint16Array | Int32Array | BigInt64Array | Uint8Array
}

/** A result: {@link Tensor} with data of its own. */
export type Result = Tensor

/** A float32 tensor from numbers. */
export function f32(shape: number[], values: ArrayLike<number>): Tensor {
  return { dtype: 'f32', shape: checkedShape(shape, values.length), data: Float32Array.from(values) }
}

/** A bf16 tensor from numbers, rounded to nearest even. */
export function bf16(shape: number[], values: ArrayLike<number>): Tensor {
  const bits = new Uint32Array(Float32Array.from(values).buffer)
  const data = Uint16Array.from(bits, (u) =>
    (u & 0x7fffffff) > 0x7f800000 ? (u >>> 16) | 0x40 : (u + 0x7fff + ((u >>> 16) & 1)) >>> 16,
  )
  return { dtype: 'bf16', shape: checkedShape(shape, values.length), data }
}

/** A tensor of 32-bit integers: token and position ids. */
export function i32(shape: number[], values: ArrayLike<number>): Tensor {
  const data = Int32Array.from(values)
  const other = data.findIndex((value, i) => value !== values[i])
  if (other >= 0) throw invalid(`value ${other}`, 'a 32-bit integer', values[other])
  return { dtype: 'i32', shape: checkedShape(shape, data.length), data }
}

/** The values of an f32 or bf16 tensor. */
export function toFloat32(tensor: Tensor): Float32Array {
  if (tensor.dtype === 'f32') return tensor.data as Float32Array
  if (tensor.dtype !== 'bf16') throw invalid('tensor', 'an f32 or bf16 tensor', tensor.dtype)
  return new Float32Array(Uint32Array.from(tensor.data as Uint16Array, (u) => u << 16).buffer)
}

function checkedShape(shape: number[], length: number): number[] {
  if (!Array.isArray(shape) || !shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
    throw invalid('shape', 'a list of whole numbers', shape)
  }
  const elements = shape.reduce((n, size) => n * size, 1)
  if (elements !== length) throw invalid('values', `${elements} numbers (shape [${shape.join(', ')}])`, length)
  return shape
}
