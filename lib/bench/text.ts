/**
 * Benchmarks of operations that only the text encoder has, at Qwen3-4B's sizes: `embedding`, `rms_norm`, and attention
 * whose keys and values serve four heads of queries each and where a token sees only those before it.
 */

import { i32 } from '../ops'
import { bytesOf, type Family, operation, random, reader, some } from './case'

/** Rows of a table as checkpoints have it, read from places far apart. Of Qwen3's 151 936 rows the table has some. */
export const embedding: Family = {
  name: 'embedding',
  axes: ['tokens', 'vocabulary', 'width'],
  shapes: [[512, 32768, 2560]],
  quick: [16, 64, 32],
  precisions: ['f32', 'bf16'],
  make([tokens = 0, vocabulary = 0, width = 0], precision) {
    const table = random('bf16', [vocabulary, width])
    const rows = Int32Array.from({ length: tokens }, (_, i) => Math.floor(vocabulary * ((i * 0.6180339887) % 1)))
    const value = reader(table)
    const bytes = tokens * width * (2 + bytesOf(precision))
    return operation(
      'embedding',
      { bytes },
      { ids: i32([tokens], rows), table },
      { outDtype: precision },
      {
        result: 'out',
        *at() {
          for (const i of some(tokens * width, 64)) {
            yield [i, value(rows[Math.floor(i / width)]! * width + (i % width))]
          }
        },
      },
    )
  },
}

/** f32 in, `precision` out. */
export const rmsNorm: Family = {
  name: 'rms_norm',
  axes: ['tokens', 'width'],
  shapes: [[512, 2560]],
  quick: [24, 64],
  precisions: ['f32', 'bf16'],
  make([tokens = 0, width = 0], precision) {
    const [x, weight] = [random('f32', [tokens, width]), random('f32', [width], 0.1, 1)]
    const [value, scale] = [reader(x), reader(weight)]
    const bytes = tokens * width * (4 + bytesOf(precision))
    return operation(
      'rms_norm',
      { bytes },
      { x, weight },
      { outDtype: precision },
      {
        result: 'out',
        *at() {
          for (const token of some(tokens, 6)) {
            const row = Array.from({ length: width }, (_, i) => value(token * width + i))
            const rms = Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / width + 1e-6)
            for (const i of some(width, 32)) yield [token * width + i, (row[i]! / rms) * scale(i)]
          }
        },
      },
    )
  },
}

/** `attention` with `causal` and fewer heads of keys; half of all pairs of tokens are computed. */
export const causalAttention: Family = {
  name: 'causal_attention',
  axes: ['tokens', 'heads', 'shared', 'width'],
  shapes: [[512, 32, 8, 128]],
  quick: [48, 4, 2, 32],
  precisions: ['f32', 'bf16'],
  make([tokens = 0, heads = 0, shared = 0, d = 0], precision) {
    const q0 = random(precision, [tokens, heads, d])
    const [k0, v0] = [random(precision, [tokens, shared, d]), random(precision, [tokens, shared, d])]
    const [q, k, v] = [reader(q0), reader(k0), reader(v0)]
    return operation(
      'attention',
      { flops: 2 * tokens * (tokens + 1) * heads * d },
      { q0, k0, v0 },
      { causal: true },
      {
        result: 'out0',
        *at() {
          for (const row of some(tokens * heads, 8)) {
            const [token, head] = [Math.floor(row / heads), row % heads]
            const base = (key: number) => (key * shared + Math.floor((head * shared) / heads)) * d
            const weights = Array.from({ length: token + 1 }, (_, key) => {
              let score = 0
              for (let i = 0; i < d; i++) score += q(row * d + i) * k(base(key) + i)
              return Math.exp(score / Math.sqrt(d))
            })
            const total = weights.reduce((a, b) => a + b, 0)
            for (const i of some(d, 8)) {
              const sum = weights.reduce((s, weight, key) => s + weight * v(base(key) + i), 0)
              yield [row * d + i, sum / total]
            }
          }
        },
      },
    )
  },
}
