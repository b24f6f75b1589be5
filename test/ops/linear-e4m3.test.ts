// linear of e4m3 operands: against float64 with every epilogue and awkward size, refusals, and what the rounding costs.
import t from 'tap'
import { f32, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { e4m3, everywhere, quantised, VALUES } from '../fixtures/e4m3'
import { epilogueOf, type LinearCase, linearReference, weightRows } from '../fixtures/linear'
import {
  elements,
  everyGpu,
  needsEmulator,
  needsKernels,
  numbers,
  relativeError,
  sameBits,
  threadCounts,
} from '../fixtures/tensors'
import { casesOn } from '../fixtures/tier'

type Named = Record<string, Tensor>

const CASES: LinearCase[] = [
  { tokens: 1, n: 1, k: 1 },
  { tokens: 1, n: 37, k: 129, bias: true, activation: 'silu' },
  { tokens: 3, n: 33, k: 64, activation: 'swiglu', bias: true },
  { tokens: 77, n: 65, k: 33, activation: 'swiglu' },
  { tokens: 61, n: 47, k: 19, activation: 'swiglu', bias: true, residual: [20, 41] },
  { batch: 2, tokens: 23, n: 40, k: 50, bias: true, residual: [7, 0, 15, 1] },
  { tokens: 77, n: 31, k: 160, bias: true },
]
/** Around the tiles of tensor-core kernels, as in linear.test.ts: rows of 16 bytes, several steps of 128. */
const TILE_CASES: LinearCase[] = [
  { tokens: 131, n: 264, k: 528, bias: true, activation: 'silu' },
  { tokens: 140, n: 136, k: 400, activation: 'swiglu', bias: true },
  { batch: 2, tokens: 150, n: 260, k: 144, residual: [50, 100] },
  { batch: 3, tokens: 43, n: 100, k: 80, residual: 'accumulate' },
  { tokens: 300, n: 515, k: 128 }, // rows of out that are not aligned
  { tokens: 65, n: 21, k: 1008, activation: 'swiglu' },
  { tokens: 64, n: 256, k: 16 },
  { tokens: 257, n: 129, k: 130, bias: true }, // rows of x and W that are not aligned
  { tokens: 257, n: 512, k: 656, bias: true },
  { batch: 3, tokens: 130, n: 300, k: 272, activation: 'swiglu' },
  { batch: 3, tokens: 260, n: 40, k: 144, residual: [200, 60] },
  { tokens: 640, n: 768, k: 128 },
  { tokens: 2100, n: 140, k: 48 },
]

function make(one: LinearCase) {
  const { batch = 1, tokens, n, k } = one
  const { normal } = numbers(tokens * n + k)
  const random = (shape: number[]) => Float64Array.from({ length: elements(shape) }, normal)
  const rows = weightRows(one)
  const [x, w] = [batch * tokens, rows].map((count) => {
    const values = f32([count * k], random([count * k]))
    return quantised(values.data as Float32Array, k)
  }) as [ReturnType<typeof quantised>, ReturnType<typeof quantised>]
  const epilogue = epilogueOf(one, (_, shape) => random(shape))
  const tensors: Named = {
    ...epilogue.tensors,
    x: e4m3([batch, tokens, k], x.bits),
    weight: e4m3([rows, k], w.bits),
    xScale: f32([batch, tokens, 1], x.scale),
    weightScale: f32([rows, 1], w.scale),
  }
  const expected = linearReference(one, epilogue, (row, column) => {
    let sum = 0
    for (let i = 0; i < k; i++) sum += VALUES[x.bits[row * k + i]!]! * VALUES[w.bits[column * k + i]!]!
    return sum * x.scale[row]! * w.scale[column]!
  })
  return { tensors, params: epilogue.params, expected }
}

t.test('against float64', async (t) => {
  for (const { where, ops } of await everywhere())
    for (const one of where.startsWith('cuda') ? casesOn(where, [...CASES, ...TILE_CASES], [0, 9, 10, 12]) : CASES) {
      const { tensors, params, expected } = make(one)
      for (const outDtype of one.residual ? (['f32'] as const) : (['f32', 'bf16'] as const)) {
        const { out } = await ops.run('linear', tensors as never, one.residual ? params : { ...params, outDtype })
        const error = relativeError(toFloat32(out), expected)
        // Tensor cores keep 13 bits of the sum of 128 products.
        const limit = outDtype === 'bf16' ? 8e-3 : where.startsWith('cuda:') ? 1e-3 : 5e-6
        t.ok(error < limit, `${where}: ${JSON.stringify(one)} -> ${outDtype}: ${error.toExponential(1)}`)
      }
    }
})

t.test('results are bf16 unless something else is asked for; scales as large and small as they come', async (t) => {
  for (const { where, ops } of await everywhere()) {
    const one = e4m3([1, 16], new Uint8Array(16).fill(0x38))
    const run = (x: number, w: number) =>
      ops.run('linear', { x: one, weight: one, xScale: f32([1, 1], [x]), weightScale: f32([1, 1], [w]) })
    const { out } = await run(1, 1)
    t.strictSame([out.dtype, out.shape, toFloat32(out)[0]], ['bf16', [1, 1], 16], where)
    t.equal(toFloat32((await run(2 ** 120, 2 ** -120)).out)[0], 16, where)
    t.equal(toFloat32((await run(2 ** -126, 2 ** 126)).out)[0], 16, where)
    t.ok(Number.isNaN(toFloat32((await run(NaN, 1)).out)[0]), where)
  }
})

t.test('a NaN stays in its row', async (t) => {
  for (const { where, ops } of await everywhere()) {
    const { normal } = numbers(8)
    const values = Float64Array.from({ length: 70 * 48 }, normal)
    values[17 * 48 + 3] = NaN
    const x = await ops.run('quantise_rows', { x: f32([70, 48], values) })
    const w = await ops.run('quantise_rows', { x: numbers(9).tensor([20, 48]) })
    const tensors = { x: x.out, xScale: x.scale, weight: w.out, weightScale: w.scale }
    const { out } = await ops.run('linear', tensors, { outDtype: 'f32' })
    t.ok(
      toFloat32(out).every((v, i) => Number.isNaN(v) === (Math.floor(i / 20) === 17)),
      where,
    )
  }
})

t.test('what rounding to e4m3 costs on normal numbers', async (t) => {
  const [x, weight] = [numbers(1).tensor([64, 512]), numbers(2).tensor([48, 512])]
  for (const { where, ops } of await everywhere()) {
    const exact = await ops.run('linear', { x, weight })
    const [a, w] = [await ops.run('quantise_rows', { x }), await ops.run('quantise_rows', { x: weight })]
    const tensors = { x: a.out, xScale: a.scale, weight: w.out, weightScale: w.scale }
    const { out } = await ops.run('linear', tensors, { outDtype: 'f32' })
    const error = relativeError(toFloat32(out), toFloat32(exact.out))
    t.ok(error > 0.03 && error < 0.042, `${where}: ${error}`)
  }
})

t.test('any number of threads gives the same bits', async (t) => {
  const { tensors, params } = make({ tokens: 333, n: 40, k: 70, bias: true })
  const results = await Promise.all(threadCounts().map((ops) => ops.run('linear', tensors as never, params)))
  for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
})

// ---- refusals -------------------------------------------------------------------------------------------------------

t.test('refusals', async (t) => {
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const { tensors } = make({ tokens: 5, n: 4, k: 6 })
  const run = (changed: Record<string, Tensor | undefined>) => ops.run('linear', { ...tensors, ...changed } as never)
  await t.rejects(run({ xScale: undefined }), { code, message: /xScale must be F32 \[\(as x\), 1\].*absent/ })
  await t.rejects(run({ weightScale: undefined }), { code, message: /weightScale must be F32 \[4, 1\]/ })
  await t.rejects(run({ xScale: f32([1, 4, 1], [1, 1, 1, 1]) }), { code, message: /xScale/ })
  await t.rejects(run({ weightScale: f32([4], [1, 1, 1, 1]) }), { code, message: /weightScale/ })
  await t.rejects(run({ weight: f32([4, 6], new Float32Array(24)) }), { code, message: /weight must be F8_E4M3/ })
  await t.rejects(run({ x: f32([1, 5, 6], new Float32Array(30)) }), { code, message: /weight must be F32/ })
  const plain = { x: f32([1, 5, 6], new Float32Array(30)), weight: f32([4, 6], new Float32Array(24)) }
  await t.rejects(run(plain), { code, message: /for F8_E4M3 operands, x is F32/ })
  await t.rejects(run({ x: e4m3([1, 5, 7], new Uint8Array(35)) }), { code, message: /last axis/ })
})

const needsBoth = { skip: needsKernels.skip || needsEmulator.skip }
t.test('a GPU that does not know e4m3 is named', needsBoth, async (t) => {
  for (const { ops } of (await everyGpu(['80'])).filter(({ gpu }) => gpu.startsWith('cuda-emulated'))) {
    const { tensors } = make({ tokens: 5, n: 4, k: 6 })
    const expected = { code: 'ERR_ICONFACE_UNSUPPORTED', message: /compute capability 8\.9 .*sm_80.*use bf16/ }
    await t.rejects(ops.run('linear', tensors as never), expected)
  }
})
