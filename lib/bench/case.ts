/**
 * What a benchmark of one operation is made of, and the random operands and float64 samples that they share.
 */

import { type Times, timesOf } from './quiet'
import type { Precision } from '../limits'
import type { OpContext, Operations, Result, RunParams, Tensor } from '../ops'

/** `fp8` is only measured where it is asked for by name, on GPUs. */
export type { Precision } from '../limits'
/** What most operations know, and what operands are made of: e4m3 is made by the operation that does it. */
export type Stored = 'f32' | 'bf16'

/** Operations of one name over several shapes. */
export interface Family<P extends Precision = Stored> {
  readonly name: string
  /** What the numbers of a shape mean. */
  readonly axes: readonly string[]
  /** Sizes of FLUX.2 [klein] 4B, of its autoencoder at 512 px, of AdaFace IR-50. */
  readonly shapes: readonly (readonly number[])[]
  /**
   * On a GPU, of a whole restore at 512 px: both branches of the guidance at once, 0, 1 or 3 references. Default
   * `shapes`.
   */
  readonly gpuShapes?: readonly (readonly number[])[]
  /** One small shape for `--quick`. */
  readonly quick: readonly number[]
  readonly precisions: readonly P[]
  make(shape: readonly number[], precision: P): Case
}

/** One operation on operands of its own. */
export interface Case {
  /** What limits it: arithmetic in its precision, or memory. */
  readonly work: { readonly flops: number } | { readonly bytes: number }
  /**
   * Times of the runs, and the difference of some results to float64. `counted` replaces `work` where only the
   * operation itself can count it.
   */
  run(ops: OpContext, params: RunParams): Promise<Times & { error: number; counted?: Case['work'] }>
}

/** An operation as a {@link Case}; `expected` tells some of its results, by index, in float64. */
export function operation<Name extends keyof Operations>(
  name: Name,
  work: Case['work'],
  tensors: Operations[Name]['tensors'],
  params: Operations[Name]['params'],
  expected: { result: keyof Operations[Name]['results']; at(): Iterable<readonly [index: number, value: number]> },
): Case {
  return {
    work,
    async run(ops, runParams) {
      const results = await ops.run(name, tensors, { ...params, ...runParams })
      if (runParams.rotate) return { ...timesOf(results), error: 0 } // in place several times: not what is expected
      const actual = reader((results as Record<PropertyKey, Result>)[expected.result]!)
      return { ...timesOf(results), error: relativeError(actual, expected.at()) }
    },
  }
}

/** |actual - expected| / |expected| over the samples; NaN counts as infinitely wrong. */
export function relativeError(
  actual: (index: number) => number,
  expected: Iterable<readonly [index: number, value: number]>,
): number {
  let difference = 0
  let size = 0
  for (const [index, value] of expected) {
    difference += (actual(index) - value) ** 2
    size += value ** 2
  }
  const error = Math.sqrt(difference / (size || 1))
  return Number.isNaN(error) ? Infinity : error
}

let state = 0x9e3779b9

/** Uniform numbers around `mean` of the given deviation: never zeros, which CPUs multiply with less power. */
export function random(dtype: Stored, shape: readonly number[], deviation = 1, mean = 0): Tensor {
  const n = shape.reduce((a, b) => a * b, 1)
  const values = new Float32Array(n)
  const scale = (deviation * Math.sqrt(3)) / 2 ** 31
  let s = state
  for (let i = 0; i < n; i++) {
    s ^= s << 13
    s ^= s >>> 17
    s ^= s << 5
    values[i] = s * scale + mean
  }
  state = s
  if (dtype === 'f32') return { dtype, shape: [...shape], data: values }
  const halves = new Uint16Array(values.buffer)
  const data = new Uint16Array(n)
  for (let i = 0; i < n; i++) data[i] = halves[2 * i + 1]!
  return { dtype, shape: [...shape], data }
}

/** Element `i` of a tensor, whatever it is stored as. */
export function reader(tensor: Tensor): (i: number) => number {
  const data = tensor.data as Float32Array
  if (tensor.dtype !== 'bf16') return (i) => data[i]!
  const bits = new Uint32Array(1)
  const value = new Float32Array(bits.buffer)
  return (i) => {
    bits[0] = data[i]! << 16
    return value[0]!
  }
}

/** The first, the last and some numbers between, of `n`. */
export function* some(n: number, count: number): Generator<number> {
  yield 0
  for (let i = 1; i < count - 1; i++) yield Math.floor(n * ((i * 0.6180339887) % 1))
  if (n > 1) yield n - 1
}

/**
 * What `qk_norm_rope` makes of one head, by channel: RMSNorm times the learned scale, then adjacent pairs rotated by
 * the angles from `angle` on.
 */
export function* rotatedHead(
  head: readonly number[],
  [scale, cos, sin]: readonly [Reader, Reader, Reader],
  angle: number,
): Generator<readonly [channel: number, value: number]> {
  const rms = Math.sqrt(head.reduce((sum, v) => sum + v * v, 0) / head.length + 1e-6)
  for (let m = 0; m < head.length / 2; m++) {
    const [even, odd] = [(head[2 * m]! / rms) * scale(2 * m), (head[2 * m + 1]! / rms) * scale(2 * m + 1)]
    const [c, s] = [cos(angle + m), sin(angle + m)]
    yield [2 * m, c * even - s * odd]
    yield [2 * m + 1, s * even + c * odd]
  }
}
type Reader = (i: number) => number

/** Bytes of an element. */
export const bytesOf = (precision: Stored): number => (precision === 'bf16' ? 2 : 4)

/** The type of operands that are not quantised, and of results. */
export const stored = (precision: Precision): Stored => (precision === 'f32' ? 'f32' : 'bf16')

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))
