/** Arrangements of reference tensors: they keep channels before rows and columns, this package keeps them last. */
import { f32, type Tensor } from '../../dist/ops/index.js'

export function elements(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1)
}

/** The values of an f32 tensor. */
export function values(tensor: Tensor): Float32Array {
  if (tensor.dtype === 'f32') return tensor.data as Float32Array
  throw new TypeError(`expected f32 values but received ${tensor.dtype}`)
}

/** The same values in another shape. */
export function reshape(tensor: Tensor, shape: number[]): Tensor {
  if (elements(shape) !== elements(tensor.shape)) throw new RangeError(`[${tensor.shape}] does not fit into [${shape}]`)
  return { ...tensor, shape }
}

/** Rows `begin` to `end` of the first axis. */
export function rows(tensor: Tensor, begin: number, end: number): Tensor {
  const [, ...rest] = tensor.shape
  const row = elements(rest)
  return { ...tensor, shape: [end - begin, ...rest], data: tensor.data.subarray(begin * row, end * row) }
}

/** Entry `index` of the first axis, without that axis. */
export function item(tensor: Tensor, index: number): Tensor {
  return reshape(rows(tensor, index, index + 1), tensor.shape.slice(1))
}

/** Entries of the first axis one by one. */
export function items(tensor: Tensor): Tensor[] {
  return Array.from({ length: tensor.shape[0]! }, (_, i) => item(tensor, i))
}

/** Joins f32 tensors along the first axis. */
export function join(tensors: readonly Tensor[]): Tensor {
  const [, ...rest] = tensors[0]!.shape
  return f32([tensors.reduce((n, t) => n + t.shape[0]!, 0), ...rest], concatenate(tensors.map(values)))
}

export function concatenate(parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((n, part) => n + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** [C, rows, columns] -> [rows, columns, C]. */
export function channelsLast(tensor: Tensor): Tensor {
  const [channels, height, width] = tensor.shape as [number, number, number]
  return f32([height, width, channels], swapped(values(tensor), channels, height * width))
}

/** [rows, columns, C] -> [C, rows, columns]. */
export function channelsFirst(tensor: Tensor): Tensor {
  const [height, width, channels] = tensor.shape as [number, number, number]
  return f32([channels, height, width], swapped(values(tensor), height * width, channels))
}

/** Packed latents [C, rows, columns] -> tokens [rows * columns, C]. */
export function tokensOf(latents: Tensor): Tensor {
  const [channels, height, width] = latents.shape as [number, number, number]
  return reshape(channelsLast(latents), [height * width, channels])
}

/** [heads, tokens, d] -> [tokens, heads, d]. */
export function tokensFirst(tensor: Tensor): Tensor {
  const [heads, tokens, d] = tensor.shape as [number, number, number]
  const from = values(tensor)
  const to = new Float32Array(from.length)
  for (let h = 0; h < heads; h++) {
    for (let t = 0; t < tokens; t++)
      to.set(from.subarray((h * tokens + t) * d, (h * tokens + t + 1) * d), (t * heads + h) * d)
  }
  return f32([tokens, heads, d], to)
}

/** Position ids (0, 0, 0, l) of text tokens. */
export function textIds(tokens: number, axes: number): Tensor {
  const ids = new Float32Array(tokens * axes)
  for (let l = 0; l < tokens; l++) ids[l * axes + axes - 1] = l
  return f32([tokens, axes], ids)
}

function swapped(from: Float32Array, outer: number, inner: number): Float32Array {
  const to = new Float32Array(from.length)
  for (let i = 0; i < outer; i++) for (let j = 0; j < inner; j++) to[j * outer + i] = from[i * inner + j]!
  return to
}
