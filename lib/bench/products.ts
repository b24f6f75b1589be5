/**
 * Benchmarks of matrix products on tokens, limited by arithmetic: `linear` and `attention`.
 */

import type { OpContext, Tensor } from '../ops'
import {
  type Case,
  type Family,
  operation,
  type Precision,
  random,
  reader,
  rotatedHead,
  sigmoid,
  some,
  stored,
} from './case'

/** `out = x W^T`, W in bf16 as checkpoints have it. */
export const linear: Family<Precision> = {
  name: 'linear',
  axes: ['tokens', 'outputs', 'inputs'],
  shapes: [
    [1024, 9216, 3072],
    [1024, 3072, 12288],
    [1024, 3072, 3072],
    [512, 3072, 7680],
  ],
  gpuShapes: [
    [8192, 8192, 8192],
    [5120, 9216, 3072],
    [7168, 9216, 3072],
    [11264, 9216, 3072],
    [7168, 6144, 3072],
    [7168, 3072, 3072],
    [1024, 3072, 7680],
  ],
  quick: [64, 96, 64],
  precisions: ['f32', 'bf16', 'fp8'],
  make: (shape, precision) => product(shape, precision, 'none'),
}

/** `out = silu(x A^T) * (x B^T)`: the MLP's way up, `outputs` counting the rows of A and B together. */
export const linearSwiglu: Family<Precision> = {
  name: 'linear_swiglu',
  axes: ['tokens', 'outputs', 'inputs'],
  shapes: [[1024, 18432, 3072]],
  gpuShapes: [
    [5120, 18432, 3072],
    [7168, 18432, 3072],
    [11264, 18432, 3072],
  ],
  quick: [64, 192, 64],
  precisions: ['f32', 'bf16', 'fp8'],
  make: (shape, precision) => product(shape, precision, 'swiglu'),
}

/**
 * `out += gate * x W^T`, the stream in f32: the ways back into it; a gate for the text rows and one for the image's.
 */
export const linearGated: Family<Precision> = {
  name: 'linear_gated',
  axes: ['tokens', 'outputs', 'inputs'],
  shapes: [[1024, 3072, 12288]],
  gpuShapes: [
    [5120, 3072, 12288],
    [7168, 3072, 12288],
    [11264, 3072, 12288],
    [7168, 3072, 9216],
    [7168, 3072, 3072],
  ],
  quick: [64, 96, 64],
  precisions: ['f32', 'bf16', 'fp8'],
  make: (shape, precision) => product(shape, precision, 'gated'),
}

/**
 * A double block's way into attention: the text's rows and the image's by weights of their own in one launch, q and k,
 * two thirds of `outputs`, normalised and rotated as heads of 128.
 */
export const linearQkv: Family = {
  name: 'linear_qkv',
  axes: ['text', 'image', 'outputs', 'inputs'],
  shapes: [[512, 512, 9216, 3072]],
  gpuShapes: [
    [1024, 4096, 9216, 3072],
    [1024, 6144, 9216, 3072],
    [1024, 10240, 9216, 3072],
  ],
  quick: [24, 48, 384, 64],
  precisions: ['f32', 'bf16'],
  make([text = 0, image = 0, outputs = 0, inputs = 0], precision) {
    const heads = outputs / (3 * HEAD)
    const stream = (tokens: number) => ({
      x: random(precision, [1, tokens, inputs]),
      weight: random('bf16', [outputs, inputs], 1 / Math.sqrt(inputs)),
      qScale: random('f32', [HEAD], 0.1, 1),
      kScale: random('f32', [HEAD], 0.1, 1),
      cos: random('f32', [tokens, HEAD / 2]),
      sin: random('f32', [tokens, HEAD / 2]),
    })
    const [first, second] = [stream(text), stream(image)]
    const [a, w] = [reader(second.x), reader(second.weight)]
    const angles = [reader(second.qScale), reader(second.cos), reader(second.sin)] as const
    return operation(
      'grouped_linear',
      { flops: 2 * (text + image) * outputs * inputs },
      { ...suffixed(first, '_0'), ...suffixed(second, '_1') },
      { qHeads_0: heads, kHeads_0: heads, qHeads_1: heads, kHeads_1: heads },
      {
        result: 'out_1',
        *at() {
          for (const row of some(image, 4)) {
            const head = Array.from({ length: HEAD }, (_, column) => {
              let sum = 0
              for (let i = 0; i < inputs; i++) sum += a(row * inputs + i) * w(column * inputs + i)
              return sum
            })
            for (const [i, value] of rotatedHead(head, angles, (row * HEAD) / 2)) yield [row * outputs + i, value]
          }
        },
      },
    )
  },
}
const HEAD = 128

/** The same values under names with `suffix` behind them. */
const suffixed = (tensors: Record<string, Tensor>, suffix: string) =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name + suffix, tensor]))

type Epilogue = 'none' | 'swiglu' | 'gated'

function product([m = 0, n = 0, k = 0]: readonly number[], precision: Precision, epilogue: Epilogue): Case {
  const swiglu = epilogue === 'swiglu'
  const gated = epilogue === 'gated'
  const x = random(stored(precision), gated ? [1, m, k] : [m, k])
  const weight = random('bf16', [n, k], 1 / Math.sqrt(k))
  const columns = swiglu ? n / 2 : n
  const [a, w] = [reader(x), reader(weight)]
  const dot = (row: number, column: number) => {
    let sum = 0
    for (let i = 0; i < k; i++) sum += a(row * k + i) * w(column * k + i)
    return sum
  }
  const text = m >> 2
  const out = gated ? random('f32', [1, m, n]) : undefined
  const [gate0, gate1] = [random('f32', [n]), random('f32', [n])]
  const finish = (first: number, row: number, column: number) => {
    if (swiglu) return first * sigmoid(first) * dot(row, columns + column)
    return out ? before!(row * n + column) + gates[row < text ? 0 : 1]!(column) * first : first
  }
  const [before, gates] = [out && reader(out), [reader(gate0), reader(gate1)]]
  const tensors = out ? { x, weight, out, gate0, gate1 } : { x, weight }
  const work = { flops: 2 * m * n * k }
  const params = out ? { rows: [text, m - text] } : { activation: swiglu ? ('swiglu' as const) : ('none' as const) }
  const expected = {
    result: 'out' as const,
    *at() {
      for (const i of some(m * columns, 64)) {
        const [row, column] = [Math.floor(i / columns), i % columns]
        yield [i, finish(dot(row, column), row, column)] as const
      }
    },
  }
  if (precision !== 'fp8') return operation('linear', work, tensors, params, expected)
  let eight: ReturnType<typeof quantised> | undefined
  return {
    work,
    async run(ops, runParams) {
      eight ??= quantised(ops, x, weight)
      return operation('linear', work, { ...tensors, ...(await eight) }, params, expected).run(ops, runParams)
    },
  }
}

/** Both operands as e4m3, with their scales. The results' error is then what this rounding costs. */
async function quantised(ops: OpContext, x: Tensor, weight: Tensor) {
  const [a, w] = [await ops.run('quantise_rows', { x }), await ops.run('quantise_rows', { x: weight })]
  return { x: a.out, xScale: a.scale, weight: w.out, weightScale: w.scale }
}

/** klein's blocks at 256 and 512 px, the memory's poolers, and the autoencoder's middle at 512 px. */
export const attention: Family = {
  name: 'attention',
  axes: ['queries', 'keys', 'heads', 'width'],
  shapes: [
    [1024, 1024, 24, 128],
    [2560, 2560, 24, 128],
    [128, 1024, 24, 128],
    [4096, 4096, 1, 512],
  ],
  gpuShapes: [
    [2560, 2560, 24, 128],
    [3584, 3584, 24, 128],
    [5632, 5632, 24, 128],
    [1024, 3584, 24, 128],
    [4096, 4096, 1, 512],
  ],
  quick: [48, 64, 2, 32],
  precisions: ['f32', 'bf16'],
  make([queries = 0, keys = 0, heads = 0, d = 0], precision) {
    const q0 = random(precision, [queries, heads, d])
    const [k0, v0] = [random(precision, [keys, heads, d]), random(precision, [keys, heads, d])]
    const [q, k, v] = [reader(q0), reader(k0), reader(v0)]
    const tensors = queries === keys ? { q0, k0, v0 } : { q0, k1: k0, v1: v0 }
    return operation(
      'attention',
      { flops: 4 * queries * keys * heads * d },
      tensors,
      {},
      {
        result: 'out0',
        *at() {
          for (const row of some(queries * heads, 8)) {
            const head = row % heads
            const weights = Array.from({ length: keys }, (_, key) => {
              let score = 0
              for (let i = 0; i < d; i++) score += q(row * d + i) * k((key * heads + head) * d + i)
              return Math.exp(score / Math.sqrt(d))
            })
            const total = weights.reduce((a, b) => a + b, 0)
            for (const i of some(d, 8)) {
              const sum = weights.reduce((s, weight, key) => s + weight * v((key * heads + head) * d + i), 0)
              yield [row * d + i, sum / total]
            }
          }
        },
      },
    )
  },
}
