/**
 * Benchmarks of what the others are divided by: arithmetic in registers, and copies. Their share of the limit, which
 * was measured in the same run, says how steady the machine is.
 */

import type { Result } from '../ops'
import { type Family, operation, type Precision, random, reader, some } from './case'
import { timesOf } from './quiet'

/** About a million operations a round and thread (on a GPU: and block); as many more rounds must be as many more. */
export const peakFlops: Family<Precision> = {
  name: 'peak_flops',
  axes: ['rounds'],
  shapes: [[2000]],
  quick: [2],
  precisions: ['f32', 'bf16', 'fp8'],
  make([rounds = 1], precision) {
    const dtype = precision === 'fp8' ? 'f8_e4m3' : precision
    const counted = ({ flops }: { flops: Result }) => (flops.data as Float64Array)[0]!
    return {
      work: { flops: rounds * 2 ** 20 },
      async run(ops, params) {
        const one = counted(await ops.run('peak_flops', {}, { dtype, rounds: 1 }))
        const results = await ops.run('peak_flops', {}, { dtype, rounds, ...params })
        const flops = counted(results)
        return { ...timesOf(results), error: Math.abs(flops / (rounds * one) - 1), counted: { flops } }
      },
    }
  },
}

/**
 * What fits into a core's own cache, into all caches together, and into none; past the caches where it does not fit.
 */
export const streamCopy: Family = {
  name: 'stream_copy',
  axes: ['elements'],
  shapes: [[1 << 14], [1 << 20], [1 << 25]],
  quick: [1000],
  precisions: ['f32'],
  make([n = 0]) {
    const x = random('f32', [n])
    const value = reader(x)
    return operation(
      'stream_copy',
      { bytes: 8 * n },
      { x },
      { streaming: n > 1 << 22 },
      {
        result: 'out',
        *at() {
          for (const i of some(n, 256)) yield [i, value(i)]
        },
      },
    )
  },
}
