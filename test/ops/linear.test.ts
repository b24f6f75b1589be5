// linear: against float64 with every epilogue, type and awkward size, threads, refusals.
import t from 'tap'
import { bf16, f32, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { type Epilogue, epilogueOf, type LinearCase, linearReference, weightRows } from '../fixtures/linear'
import {
  elements,
  everyGpu,
  everyIsa,
  needsKernels,
  numbers,
  relativeError,
  sameBits,
  threadCounts,
} from '../fixtures/tensors'
import { casesOn } from '../fixtures/tier'

type Named = Record<string, Tensor>

/** Half precision of numbers that it holds exactly: whole multiples of 1/64 below 4. */
function f16(shape: number[], values: ArrayLike<number>): Tensor {
  const bits = (value: number) => {
    if (value === 0) return 0
    const exponent = Math.floor(Math.log2(Math.abs(value)))
    const mantissa = Math.round((Math.abs(value) / 2 ** exponent - 1) * 1024)
    return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | mantissa
  }
  return { dtype: 'f16', shape, data: Uint16Array.from(Array.from(values), bits) }
}
const MAKE = { f32, bf16, f16 }

/** Multiples of 1/64 in (-2, 2): exact in f32 and f16; in bf16 after the rounding that `bf16` does anyway. */
function random(seed: number, shape: number[]): Float64Array {
  const { uniform } = numbers(seed)
  return Float64Array.from({ length: elements(shape) }, () => Math.round((uniform() - 0.5) * 254) / 64)
}

const rounded = (values: ArrayLike<number>) => Float64Array.from(toFloat32(bf16([values.length], values)))

const CASES: LinearCase[] = [
  { tokens: 1, n: 1, k: 1 },
  { tokens: 1, n: 37, k: 129, bias: true, activation: 'silu' },
  { tokens: 3, n: 33, k: 64, activation: 'swiglu', bias: true },
  { tokens: 4, n: 96, k: 17, residual: 'accumulate' },
  { tokens: 5, n: 16, k: 31 },
  { tokens: 13, n: 101, k: 63, activation: 'silu' },
  { tokens: 29, n: 31, k: 128, bias: true },
  { tokens: 77, n: 65, k: 33, activation: 'swiglu' },
  { tokens: 61, n: 47, k: 19, activation: 'swiglu', bias: true, residual: [20, 41] },
  { batch: 2, tokens: 23, n: 40, k: 50, bias: true, residual: [7, 0, 15, 1] },
  { batch: 2, tokens: 2, n: 9, k: 11, residual: [1, 1] },
  { tokens: 1037, n: 17, k: 12 }, // several chunks of rows
  { tokens: 6, n: 5, k: 12_345 }, // several blocks of K
]

interface Made extends Epilogue {
  x: Float64Array
  weight: Float64Array
}

function make(one: LinearCase, xType: 'f32' | 'bf16', weightType: keyof typeof MAKE): Made {
  const { batch = 1, tokens, k } = one
  const rows = weightRows(one)
  const x = random(1, [batch * tokens * k])
  const weight = random(2, [rows * k])
  const { tensors, ...epilogue } = epilogueOf(one, random)
  return {
    ...epilogue,
    tensors: { ...tensors, x: MAKE[xType]([batch, tokens, k], x), weight: MAKE[weightType]([rows, k], weight) },
    x: xType === 'bf16' ? rounded(x) : x,
    weight: weightType === 'bf16' ? rounded(weight) : weight,
  }
}

/** The definition, in float64. */
function reference(one: LinearCase, made: Made): Float64Array {
  const { k } = one
  const { x, weight } = made
  return linearReference(one, made, (row, column) => {
    let sum = 0
    for (let i = 0; i < k; i++) sum += x[row * k + i]! * weight[column * k + i]!
    return sum
  })
}

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    for (const one of casesOn(isa, CASES, [0, 2, 3, 9]))
      for (const xType of ['f32', 'bf16'] as const)
        for (const weightType of ['f32', 'bf16', 'f16'] as const) {
          const made = make(one, xType, weightType)
          // bf16 products round other weights to bf16; only weights that are bf16 already have one right answer.
          // Tensor cores cut sums off where others round.
          const exact = xType === 'bf16' && isa.startsWith('cuda:') ? 1e-4 : 5e-6
          const limit = xType === 'bf16' && weightType !== 'bf16' ? 8e-3 : exact
          const expected = reference(one, made)
          for (const outDtype of one.residual ? (['f32'] as const) : (['f32', 'bf16'] as const)) {
            const { out } = await ops.run(
              'linear',
              made.tensors as never,
              one.residual ? made.params : { ...made.params, outDtype },
            )
            const error = relativeError(toFloat32(out), expected)
            const what = `${JSON.stringify(one)} ${xType} x ${weightType} -> ${outDtype}: ${error.toExponential(1)}`
            t.ok(error < (outDtype === 'bf16' ? 8e-3 : limit), what)
            t.strictSame(out.shape, [one.batch ?? 1, one.tokens, one.n])
          }
        }
  })
}

/** Around the tiles of tensor-core kernels: full and cut ones, several a block, K beyond their rings of stages. */
const TILE_CASES: LinearCase[] = [
  { tokens: 131, n: 264, k: 520, bias: true, activation: 'silu' },
  { tokens: 140, n: 136, k: 456, activation: 'swiglu', bias: true },
  { batch: 2, tokens: 150, n: 260, k: 136, residual: [50, 100] },
  { batch: 3, tokens: 43, n: 100, k: 72, residual: 'accumulate' },
  { tokens: 256, n: 512, k: 40 },
  { tokens: 128, n: 384, k: 64, bias: true },
  { tokens: 300, n: 515, k: 64 }, // rows of out that are not aligned
  { tokens: 65, n: 21, k: 1000, activation: 'swiglu' },
  { tokens: 64, n: 256, k: 8 },
  { tokens: 700, n: 130, k: 24 },
  { tokens: 257, n: 129, k: 65, bias: true }, // rows of x and W that are not aligned
  // Tiles of rows that pairs of blocks share: odd in number, across batch items, blocks alone, more than a stripe of
  // them.
  { tokens: 257, n: 512, k: 328, bias: true },
  { batch: 3, tokens: 130, n: 300, k: 136, activation: 'swiglu' },
  { batch: 3, tokens: 260, n: 40, k: 72, residual: [200, 60] },
  { tokens: 640, n: 768, k: 64 },
  { tokens: 2100, n: 140, k: 24 },
]

t.test('around the tiles of GPUs', needsKernels, async (t) => {
  for (const { gpu, ops } of await everyGpu())
    for (const one of casesOn(gpu, [...TILE_CASES, ...CASES], [2, 5, 7, 10])) {
      const made = make(one, 'bf16', 'bf16')
      const expected = reference(one, made)
      for (const outDtype of one.residual ? (['f32'] as const) : (['f32', 'bf16'] as const)) {
        const { out } = await ops.run(
          'linear',
          made.tensors as never,
          one.residual ? made.params : { ...made.params, outDtype },
        )
        const error = relativeError(toFloat32(out), expected)
        const limit = outDtype === 'bf16' ? 8e-3 : gpu.startsWith('cuda:') ? 1e-4 : 5e-6
        t.ok(error < limit, `${gpu}: ${JSON.stringify(one)} -> ${outDtype}: ${error.toExponential(1)}`)
      }
    }
})

t.test('exact f32 in the large tiles of GPUs', needsKernels, async (t) => {
  for (const { gpu, ops } of await everyGpu())
    for (const one of [
      { tokens: 300, n: 259, k: 70, bias: true },
      { batch: 2, tokens: 140, n: 200, k: 33, activation: 'swiglu', residual: [100, 40] },
    ] satisfies LinearCase[])
      for (const weightType of ['f32', 'f16'] as const) {
        const made = make(one, 'f32', weightType)
        const { out } = await ops.run('linear', made.tensors as never, made.params)
        const error = relativeError(toFloat32(out), reference(one, made))
        t.ok(error < 5e-6, `${gpu}: ${JSON.stringify(one)} x ${weightType}: ${error.toExponential(1)}`)
      }
})

t.test('any number of threads gives the same bits', async (t) => {
  for (const xType of ['f32', 'bf16'] as const)
    for (const one of [
      { tokens: 333, n: 16, k: 70 }, // fewer columns than threads: rows are shared out
      { tokens: 1100, n: 70, k: 33, activation: 'swiglu' as const },
      { tokens: 2, n: 301, k: 100 },
    ]) {
      const { tensors, params } = make(one, xType, 'bf16')
      const results = await Promise.all(threadCounts().map((ops) => ops.run('linear', tensors as never, params)))
      for (const { out } of results) t.ok(sameBits(out, results[0]!.out), JSON.stringify(one))
    }
})

t.test('a row does not depend on the rows beside it', async (t) => {
  const ops = new OpContext()
  const { tensors } = make({ tokens: 40, n: 50, k: 90 }, 'f32', 'f32')
  const { out } = await ops.run('linear', tensors as never)
  for (const count of [7, 15, 28, 39]) {
    const x = f32([1, count, 90], (tensors.x!.data as Float32Array).subarray(0, count * 90))
    const part = await ops.run('linear', { x, weight: tensors.weight! })
    t.strictSame(toFloat32(part.out), toFloat32(out).slice(0, count * 50), `${count} rows`)
  }
})

t.test('a NaN stays in its row', async (t) => {
  const { tensors } = make({ tokens: 30, n: 20, k: 40 }, 'f32', 'f32')
  ;(tensors.x!.data as Float32Array)[17 * 40 + 3] = NaN
  const { out } = await new OpContext().run('linear', tensors as never)
  t.ok(toFloat32(out).every((v, i) => Number.isNaN(v) === (Math.floor(i / 20) === 17)))
})

t.test('refusals', async (t) => {
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const x = f32([1, 2, 3], random(1, [6]))
  const weight = f32([4, 3], random(2, [12]))
  const out = f32([1, 2, 4], random(3, [8]))
  const gate0 = f32([4], random(4, [4]))
  const run = (tensors: Named, params = {}) => ops.run('linear', tensors as never, params)
  await t.rejects(run({ x }), { code, message: /weight/ })
  await t.rejects(run({ x, weight: f32([4, 2], random(2, [8])) }), { code, message: /F32 \[1, 2, 3\].*F32 \[4, 2\]/ })
  await t.rejects(run({ x, weight: f32([3, 3], random(2, [9])) }, { activation: 'swiglu' }), { code, message: /even/ })
  await t.rejects(run({ x, weight }, { activation: 'gelu' }), { code, message: /gelu/ })
  await t.rejects(run({ x, weight }, { activaton: 'silu' } as never), { code, message: /parameter 'activaton'/ })
  await t.rejects(run({ x, weight, wieght: weight } as never), { code, message: /tensor 'wieght'/ })
  await t.rejects(run({ x, weight, bias: f32([3], [1, 2, 3]) }), { code, message: /bias must be F32 \[4\]/ })
  await t.rejects(run({ x, weight }, { accumulate: true }), { code, message: /out/ })
  await t.rejects(run({ x, weight, out: bf16([1, 2, 4], random(3, [8])) }, { accumulate: true }), {
    code,
    message: /F32/,
  })
  await t.rejects(run({ x, weight, out, gate0 }, { rows: [3] }), { code, message: /3 rows.*2 tokens/ })
  await t.rejects(run({ x, weight, out }, { rows: [2] }), { code, message: /gate0/ })
  await t.rejects(run({ x, weight, out, gate0: f32([3], [1, 2, 3]) }, { rows: [2] }), { code, message: /gate0/ })
  await t.rejects(run({ x: { dtype: 'i32', shape: [1, 3], data: new Int32Array(3) }, weight }), {
    code,
    message: /x must be/,
  })
})
