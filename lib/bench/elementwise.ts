/**
 * Benchmarks of operations that take every element once and are limited by memory: activations, sums, other types and
 * orders, the search for NaN.
 */

import { type Case, type Family, operation, random, reader, sigmoid, some } from './case'

/** A vector of the modulation, and one that no cache holds. */
export const silu: Family = {
  name: 'silu',
  axes: ['elements'],
  shapes: [[3072], [1 << 24]],
  quick: [100],
  precisions: ['f32'],
  make([n = 0]) {
    const x = random('f32', [n])
    const value = reader(x)
    return operation(
      'silu',
      { bytes: 8 * n },
      { x },
      {},
      {
        result: 'out',
        *at() {
          for (const i of some(n, 256)) yield [i, value(i) * sigmoid(value(i))]
        },
      },
    )
  },
}

/** A double block's six vectors of modulation, and what no cache holds. */
export const add: Family = {
  name: 'add',
  axes: ['elements'],
  shapes: [[18432], [1 << 24]],
  quick: [100],
  precisions: ['f32'],
  make([n = 0]) {
    const [a, b] = [random('f32', [n]), random('f32', [n])]
    const [first, second] = [reader(a), reader(b)]
    return operation(
      'add',
      { bytes: 12 * n },
      { a, b },
      {},
      {
        result: 'out',
        *at() {
          for (const i of some(n, 256)) yield [i, first(i) + second(i)]
        },
      },
    )
  },
}

/** Text and image tokens into one stream: to `precision` from the other one. */
export const convert: Family = {
  name: 'convert',
  axes: ['tokens', 'width'],
  shapes: [
    [512, 3072],
    [1536, 3072],
  ],
  quick: [7, 33],
  precisions: ['f32', 'bf16'],
  make([tokens = 0, width = 0], precision) {
    const x = random(precision === 'f32' ? 'bf16' : 'f32', [tokens, width])
    const value = reader(x)
    const n = tokens * width
    return operation(
      'convert',
      { bytes: 6 * n },
      { x },
      { outDtype: precision },
      {
        result: 'out',
        *at() {
          for (const i of some(n, 256)) yield [i, value(i)]
        },
      },
    )
  },
}

/** The noise of a restore at 512 px, from channels to tokens. */
export const transpose: Family = {
  name: 'transpose',
  axes: ['channels', 'tokens'],
  shapes: [[128, 1024]],
  quick: [5, 33],
  precisions: ['f32'],
  make([channels = 0, tokens = 0]) {
    const x = random('f32', [channels, tokens])
    const value = reader(x)
    const n = channels * tokens
    return operation(
      'transpose',
      { bytes: 8 * n },
      { x },
      {},
      {
        result: 'out',
        *at() {
          for (const i of some(n, 256)) yield [i, value((i % channels) * tokens + Math.floor(i / channels))]
        },
      },
    )
  },
}

/** Latents and the decoded picture of 512 px. */
export const allFinite: Family = {
  name: 'all_finite',
  axes: ['rows', 'width'],
  shapes: [
    [1024, 128],
    [512, 1536],
  ],
  quick: [7, 33],
  precisions: ['f32'],
  make: ([rows = 0, width = 0]): Case =>
    operation(
      'all_finite',
      { bytes: 4 * rows * width },
      { x: random('f32', [rows, width]) },
      {},
      { result: 'out', at: () => [[0, 1]] },
    ),
}
