// e4m3: quantise_rows against its definition, bit by bit, and linear of e4m3 operands against float64 with every epilogue
// and awkward size, views, refusals, and what the rounding costs.
import t from 'tap'
import { bf16, f32, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { epilogueOf, type LinearCase, linearReference, weightRows } from '../fixtures/linear'
import {
  elements,
  everyGpu,
  everyIsa,
  needsEmulator,
  needsKernels,
  numbers,
  relativeError,
  sameBits,
  threadCounts,
} from '../fixtures/tensors'
import { casesOn } from '../fixtures/tier'

type Named = Record<string, Tensor>

/** The values of e4m3, by their bits. */
const VALUES = Float64Array.from({ length: 256 }, (_, bits) => {
  const [sign, exponent, mantissa] = [bits & 0x80 ? -1 : 1, (bits >> 3) & 15, bits & 7]
  if ((bits & 0x7f) === 0x7f) return NaN
  return sign * (exponent === 0 ? mantissa * 2 ** -9 : (1 + mantissa / 8) * 2 ** (exponent - 7))
})

/** The nearest e4m3 by trying all of them; of two as near the one with an even mantissa. */
function nearest(value: number): number {
  if (Number.isNaN(value)) return 0x7f
  const sign = Object.is(Math.sign(value), -0) || value < 0 ? 0x80 : 0
  let best = 0
  for (let bits = 1; bits < 0x7f; bits++) {
    const nearer = Math.abs(Math.abs(value) - VALUES[bits]!) - Math.abs(Math.abs(value) - VALUES[best]!)
    if (nearer < 0 || (nearer === 0 && bits % 2 === 0)) best = bits
  }
  return sign | best
}

/** The definition: rows of `k` numbers that are f32 already. */
function quantised(x: ArrayLike<number>, k: number): { bits: Uint8Array; scale: Float32Array } {
  const rows = x.length / k
  const scale = new Float32Array(rows)
  const bits = new Uint8Array(x.length)
  for (let row = 0; row < rows; row++) {
    const values = Array.from({ length: k }, (_, i) => x[row * k + i]!)
    const finite = values.every(Number.isFinite)
    scale[row] = finite ? Math.max(Math.fround(Math.max(...values.map(Math.abs)) / 448), 2 ** -126) : NaN
    values.forEach((value, i) => (bits[row * k + i] = finite ? nearest(Math.fround(value / scale[row]!)) : 0x7f))
  }
  return { bits, scale }
}

const e4m3 = (shape: number[], bits: Uint8Array): Tensor => ({ dtype: 'f8_e4m3', shape, data: bits })
const f16 = (shape: number[], bits: number[]): Tensor => ({ dtype: 'f16', shape, data: Uint16Array.from(bits) })

/** Every device that multiplies e4m3: the processor in every instruction set, the emulated GPU as sm_89 and sm_90, and a real
 * one that is not older. */
async function everywhere(): Promise<{ where: string; ops: OpContext }[]> {
  const processors = everyIsa().filter(({ isa }) => !isa.startsWith('cuda'))
  const found = processors.map(({ isa, ops }) => ({ where: isa, ops }))
  for (const { gpu, ops } of await everyGpu(['89', '90'])) {
    const refused = await ops.run('quantise_rows', { x: f32([1, 1], [1]) }).then(
      () => false,
      ({ code }: { code: string }) => code === 'ERR_ICONFACE_UNSUPPORTED',
    )
    if (!refused || !gpu.startsWith('cuda:')) found.push({ where: gpu, ops })
  }
  return found
}

// ---- quantise_rows --------------------------------------------------------------------------------------------------

/** Rows that are all at a limit of something. */
const EDGES: Record<string, number[]> = {
  zeros: [0, -0, 0, 0],
  'one denormal': [2 ** -149, 0, 0, 0],
  denormals: [2 ** -127, -(2 ** -149), 3 * 2 ** -140, 0],
  'below the smallest scale': [447 * 2 ** -126, 2 ** -126, -(2 ** -130), 2 ** -136],
  'the largest f32': [3.4028234663852886e38, -3.4028234663852886e38, 1e38, 1],
  'ties to even': [448, 17, 19, 21],
  'ties below 2^-6': [448, 2 ** -10, 3 * 2 ** -10, -5 * 2 ** -10],
  'around 2^-6': [448, 2 ** -6, 2 ** -6 - 2 ** -10, 2 ** -6 - 2 ** -11],
  'more than 448 after dividing': [0.1, 0.1, -0.1, 0.0999999],
  negative: [-5, -4, -3, -1e-3],
  NaN: [1, NaN, 2, 0],
  Infinity: [1, 2, -Infinity, 0],
}

t.test('quantise_rows: the same bits as the definition, at every limit', async (t) => {
  const rows = Object.values(EDGES)
  const x = f32([rows.length, 4], rows.flat())
  const expected = quantised(x.data as Float32Array, 4)
  for (const { where, ops } of await everywhere()) {
    const { out, scale } = await ops.run('quantise_rows', { x })
    t.strictSame([out.dtype, out.shape, scale.dtype, scale.shape], ['f8_e4m3', x.shape, 'f32', [rows.length, 1]])
    Object.keys(EDGES).forEach((name, row) => {
      t.strictSame(
        (out.data as Uint8Array).slice(4 * row, 4 * row + 4),
        expected.bits.slice(4 * row, 4 * row + 4),
        `${where}: ${name}`,
      )
      t.ok(Object.is(toFloat32(scale)[row], expected.scale[row]), `${where}: ${name}, its scale`)
    })
  }
})

t.test('quantise_rows: every type and width', async (t) => {
  const { normal } = numbers(3)
  for (const { where, ops } of await everywhere())
    for (const [rows, k] of [
      [1, 1],
      [3, 7],
      [2, 8],
      [5, 40],
      [77, 33],
      [2, 4104],
    ] as const)
      for (const type of ['f32', 'bf16', 'f16'] as const) {
        const count = rows * k
        // As bits of f16: normal numbers of both signs, from 2^-14 to 2^9.
        const halves = Array.from({ length: count }, () => (Math.abs(Math.round(normal() * 9000)) % 0x5c00) + 0x400)
        const values = Float64Array.from({ length: count }, () => normal() * 10)
        const x = type === 'f16' ? f16([1, rows, k], halves) : { f32, bf16 }[type]([1, rows, k], values)
        const half = (bits: number) => 2 ** ((bits >> 10) - 15) * (1 + (bits & 1023) / 1024)
        const expected = quantised(type === 'f16' ? halves.map(half) : toFloat32(x), k)
        const { out, scale } = await ops.run('quantise_rows', { x })
        t.ok(Buffer.from(expected.bits).equals(out.data as Uint8Array), `${where}: ${rows} x ${k} of ${type}`)
        t.strictSame(toFloat32(scale), expected.scale)
      }
})

t.test('layer_norm_modulate: what it writes is what quantise_rows makes of its result', async (t) => {
  for (const { where, ops } of await everywhere())
    for (const [shape, rows] of [
      [
        [2, 7, 67],
        [3, 4],
      ],
      [[1, 5, 40], []],
      [[1, 3, 3072], [3]],
      [
        [1, 2, 9000],
        [1, 1],
      ], // more than the threads of a block hold
    ] as const) {
      const random = numbers(shape[2])
      const width = shape[2]
      const vectors = Object.fromEntries(
        rows.flatMap((_, i) => ['shift', 'scale'].map((name) => [`${name}${i}`, random.tensor([width])])),
      )
      for (const make of [f32, bf16]) {
        const x = make([...shape], random.tensor([...shape], () => 3 + random.normal()).data as Float32Array)
        const params = rows.length > 0 ? { rows: [...rows] } : {}
        const plain = await ops.run('layer_norm_modulate', { x, ...vectors }, { ...params, outDtype: 'f32' })
        const expected = await ops.run('quantise_rows', { x: plain.out })
        const { out, outScale } = await ops.run(
          'layer_norm_modulate',
          { x, ...vectors },
          { ...params, outDtype: 'f8_e4m3' },
        )
        // Sums over rows may be taken in another order: a scale may differ in its last bits, a number by one step.
        const [codes, others] = [out.data as Uint8Array, expected.out.data as Uint8Array]
        const steps = Array.from(codes, (code, i) => Math.abs(code - others[i]!))
        const what = `${where}: ${make.name} [${shape}]`
        t.ok(relativeError(toFloat32(outScale!), toFloat32(expected.scale)) < 1e-6, what)
        t.ok(Math.max(...steps) <= 1 && steps.filter((step) => step > 0).length <= codes.length / 200, what)
        t.strictSame([out.dtype, outScale!.shape], ['f8_e4m3', [shape[0], shape[1], 1]])
      }
    }
})

// ---- linear ---------------------------------------------------------------------------------------------------------

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

t.test('linear against float64', async (t) => {
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

t.test(
  'linear: results are bf16 unless something else is asked for; scales as large and small as they come',
  async (t) => {
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
  },
)

t.test('linear: a NaN stays in its row', async (t) => {
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

t.test('linear: what rounding to e4m3 costs on normal numbers', async (t) => {
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

t.test('linear: any number of threads gives the same bits', async (t) => {
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
  await t.rejects(ops.run('quantise_rows', { x: e4m3([1, 5], new Uint8Array(5)) }), { code, message: /x must be F32/ })
  await t.rejects(ops.run('quantise_rows', { x: f32([2, 0], []) }), { code, message: /not empty/ })
  await t.rejects(ops.run('convert', { x: tensors.x! }), { code, message: /F8_E4M3/ })
})

const needsBoth = { skip: needsKernels.skip || needsEmulator.skip }
t.test('a GPU that does not know e4m3 is named', needsBoth, async (t) => {
  for (const { ops } of (await everyGpu(['80'])).filter(({ gpu }) => gpu.startsWith('cuda-emulated'))) {
    const { tensors } = make({ tokens: 5, n: 4, k: 6 })
    const expected = { code: 'ERR_ICONFACE_UNSUPPORTED', message: /compute capability 8\.9 .*sm_80.*use bf16/ }
    await t.rejects(ops.run('linear', tensors as never), expected)
    await t.rejects(ops.run('quantise_rows', { x: f32([1, 2], [1, 2]) }), expected)
    const x = f32([1, 1, 2], [1, 2])
    await t.rejects(ops.run('layer_norm_modulate', { x }, { outDtype: 'f8_e4m3' }), expected)
  }
})
