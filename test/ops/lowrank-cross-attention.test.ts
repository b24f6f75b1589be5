// lowrank_cross_attention: in rank space, against the attention that it stands for, in float64; refusals.
import t from 'tap'
import { bf16, f32, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { block, half, type Matrix, product, type Sizes, values } from '../fixtures/lowrank'
import { everyGpu, everyIsa, needsKernels, numbers, relativeError, sameBits, threadCounts } from '../fixtures/tensors'
import { casesOn } from '../fixtures/tier'

function layerNorm({ rows, columns, data }: Matrix): Matrix {
  const out = new Float64Array(data.length)
  for (let i = 0; i < rows; i++) {
    const row = data.subarray(i * columns, (i + 1) * columns)
    const mean = row.reduce((a, b) => a + b, 0) / columns
    const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / columns
    row.forEach((v, c) => (out[i * columns + c] = (v - mean) / Math.sqrt(variance + 1e-6)))
  }
  return { rows, columns, data: out }
}

/** Attn(q, k, v) over `heads` slices of the columns. */
function attention(q: Matrix, k: Matrix, v: Matrix, heads: number): Matrix {
  const d = q.columns / heads
  const out = new Float64Array(q.data.length)
  for (let head = 0; head < heads; head++) {
    const slice = ({ rows, columns, data }: Matrix): Matrix => ({
      rows,
      columns: d,
      data: Float64Array.from({ length: rows * d }, (_, i) => data[Math.floor(i / d) * columns + head * d + (i % d)]!),
    })
    const logits = product(slice(q), slice(k))
    for (let i = 0; i < q.rows; i++) {
      const row = logits.data.subarray(i * k.rows, (i + 1) * k.rows).map((x) => x / Math.sqrt(d))
      const most = row.reduce((a, b) => Math.max(a, b))
      const p = row.map((x) => Math.exp(x - most))
      const total = p.reduce((a, b) => a + b)
      for (let m = 0; m < k.rows; m++)
        for (let c = 0; c < d; c++)
          out[i * q.columns + head * d + c]! += (p[m]! / total) * v.data[m * v.columns + head * d + c]!
    }
  }
  return { rows: q.rows, columns: q.columns, data: out }
}

/** gate * Attn(q, k, v), as the spec's section 5 writes it: no rank space. */
function update(w: ReturnType<typeof block>, heads: number, gate: number): Float64Array {
  const memory = values(w.memory)
  const q = product(product(layerNorm(values(w.h)), values(w.queryDown)), values(w.queryUp))
  const k = product(product(memory, values(w.keyDown)), values(w.keyUp))
  const v = product(product(memory, values(w.valueDown)), values(w.valueUp))
  return attention(q, k, v, heads).data.map((x) => gate * x)
}

async function run(
  ops: OpContext,
  { memory, queryUp, keyDown, keyUp, valueDown, h, queryDown, valueUp }: ReturnType<typeof block>,
  heads: number,
  gate?: number,
  compute?: 'f32' | 'bf16',
) {
  const { keys, values } = await ops.run('lowrank_memory', { memory, queryUp, keyDown, keyUp, valueDown }, { heads })
  const result = await ops.run('lowrank_cross_attention', { h, queryDown, keys, values, valueUp }, { gate, compute })
  return { keys, values, h: result.h }
}

const CASES: Sizes[] = [
  { heads: 1, d: 16, memory: 1, rank: 1, batch: 1, tokens: 1 },
  { heads: 2, d: 6, memory: 7, rank: 3, batch: 2, tokens: 5 },
  { heads: 3, d: 16, memory: 40, rank: 4, batch: 1, tokens: 17 },
  { heads: 2, d: 128, memory: 256, rank: 16, batch: 2, tokens: 19 },
  { heads: 2, d: 64, memory: 101, rank: 20, batch: 1, tokens: 16 },
  { heads: 5, d: 24, memory: 33, rank: 17, batch: 1, tokens: 35 },
  { heads: 2, d: 136, memory: 300, rank: 18, batch: 1, tokens: 21 }, // several runs of everything
]

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    for (const [seed, sizes] of casesOn(isa, [...CASES.entries()], [0, 1, 4]))
      for (const weight of [
        (x: Tensor) => x,
        (x: Tensor) => bf16(x.shape, toFloat32(x)),
        (x: Tensor) => half(x.shape, toFloat32(x)),
      ]) {
        const w = block(sizes, seed, weight)
        const gate = 0.75
        const result = await run(ops, w, sizes.heads, gate)
        t.strictSame(result.keys.shape, [sizes.heads, sizes.memory, sizes.rank])
        t.strictSame(result.values.shape, [sizes.memory, sizes.rank])
        t.ok(relativeError(toFloat32(result.values), product(values(w.memory), values(w.valueDown)).data) < 1e-6)
        const change = update(w, sizes.heads, gate)
        const before = toFloat32(w.h)
        const after = toFloat32(result.h)
        const error = relativeError(
          after,
          Float64Array.from(before, (x, i) => x + change[i]!),
        )
        const own = relativeError(
          Float64Array.from(after, (x, i) => x - before[i]!),
          change,
        )
        // Other orders of summing, and longer sums, round more.
        const limit = isa.startsWith('cuda') || sizes.memory > 256 ? 2e-6 : 1e-6
        const name = `${JSON.stringify(sizes)}, weights ${w.keyUp.dtype}`
        t.ok(error < limit && own < 5e-6, `${name}: ${error.toExponential(1)}, of the change ${own.toExponential(1)}`)
      }
  })
}

// Shapes that reach every part of the tensor-core kernel, and some that it leaves to the exact one.
const BF16_CASES: (Sizes & { exact?: boolean })[] = [
  { heads: 1, d: 8, memory: 1, rank: 1, batch: 1, tokens: 1 },
  { heads: 3, d: 8, memory: 65, rank: 4, batch: 2, tokens: 13 },
  { heads: 2, d: 128, memory: 256, rank: 16, batch: 2, tokens: 67 },
  { heads: 5, d: 120, memory: 127, rank: 16, batch: 1, tokens: 17 },
  { heads: 1, d: 136, memory: 130, rank: 24, batch: 2, tokens: 19 },
  { heads: 4, d: 32, memory: 300, rank: 24, batch: 1, tokens: 17 }, // several runs of keys
  { heads: 9, d: 72, memory: 47, rank: 12, batch: 1, tokens: 16 }, // no multiple of what a warp reads at once
  { heads: 2, d: 128, memory: 515, rank: 64, batch: 1, tokens: 7 },
  { heads: 3, d: 40, memory: 70, rank: 40, batch: 1, tokens: 18 },
  { heads: 3, d: 12, memory: 33, rank: 16, batch: 1, tokens: 19, exact: true },
  { heads: 2, d: 16, memory: 33, rank: 65, batch: 1, tokens: 5, exact: true },
]

/** Tokens far from zero, and one channel far from the others. */
const far = (x: number) => x + 3000
const spike = (width: number) => (x: number, i: number) => (i % width === 5 ? 900 : x)

t.test('products of bf16 against float64', needsKernels, async (t) => {
  for (const { gpu, ops } of await everyGpu())
    for (const [seed, { exact, ...sizes }] of casesOn(gpu, [...BF16_CASES.entries()], [1, 4, 9]))
      for (const [name, weight, h] of [
        ['f32', (x: Tensor) => x],
        ['f16', (x: Tensor) => half(x.shape, toFloat32(x))],
        ['bf16', (x: Tensor) => bf16(x.shape, toFloat32(x))],
        ['bf16, far', (x: Tensor) => bf16(x.shape, toFloat32(x)), far],
        ['bf16, spike', (x: Tensor) => bf16(x.shape, toFloat32(x)), spike(sizes.heads * sizes.d)],
      ] as const) {
        const w = block(sizes, seed, weight, 1 / sizes.rank)
        if (h) w.h = f32(w.h.shape, toFloat32(w.h).map(h))
        const result = await run(ops, w, sizes.heads, 0.75, 'bf16')
        const before = toFloat32(w.h)
        const change = Float64Array.from(toFloat32(result.h), (x, i) => x - before[i]!)
        const error = relativeError(change, update(w, sizes.heads, 0.75))
        const limit = exact && !h ? 5e-6 : 8e-3
        t.ok(error < limit, `${gpu}, ${JSON.stringify(sizes)}, ${name}: ${error.toExponential(1)} of the change`)
      }
})

t.test('gate: 1 unless it is given; 0 changes nothing', async (t) => {
  const sizes = CASES[1]!
  const w = block(sizes, 9, (x) => x)
  const ops = new OpContext()
  t.ok(sameBits((await run(ops, w, sizes.heads)).h, (await run(ops, w, sizes.heads, 1)).h))
  t.ok(sameBits((await run(ops, w, sizes.heads, 0)).h, w.h))
})

t.test('logits in the thousands', async (t) => {
  const sizes = CASES[2]!
  const w = block(sizes, 10, (x) => x)
  w.queryUp = { ...w.queryUp, data: toFloat32(w.queryUp).map((x) => 1000 * x) }
  const { h } = await run(new OpContext(), w, sizes.heads, 1)
  const change = update(w, sizes.heads, 1)
  t.ok(
    relativeError(
      toFloat32(h),
      Float64Array.from(toFloat32(w.h), (x, i) => x + change[i]!),
    ) < 1e-4,
  )
})

t.test('any number of threads gives the same bits', async (t) => {
  const sizes = { heads: 3, d: 32, memory: 77, rank: 16, batch: 2, tokens: 83 }
  const w = block(sizes, 11, (x) => x)
  const results = await Promise.all(threadCounts().map((ops) => run(ops, w, sizes.heads)))
  for (const { h, keys, values } of results)
    t.ok(sameBits(h, results[0]!.h) && sameBits(keys, results[0]!.keys) && sameBits(values, results[0]!.values))
})

t.test('refusals', async (t) => {
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const ops = new OpContext()
  const sizes = CASES[1]!
  const w = block(sizes, 12, (x) => x)
  const { memory, queryUp, keyDown, keyUp, valueDown, h, queryDown, valueUp } = w
  const random = numbers(13)
  const { keys, values } = await ops.run('lowrank_memory', { memory, queryUp, keyDown, keyUp, valueDown }, { heads: 2 })
  const good = { h, queryDown, keys, values, valueUp }
  await t.rejects(ops.run('lowrank_cross_attention', { ...good, h: bf16(h.shape, toFloat32(h)) }), {
    code,
    message: /h must be F32/,
  })
  await t.rejects(ops.run('lowrank_cross_attention', { ...good, values: random.tensor([6, 3]) }), {
    code,
    message: /values must be F32 \[7, 3\]/,
  })
  await t.rejects(ops.run('lowrank_cross_attention', { ...good, keys: random.tensor([5, 7, 3]) }), {
    code,
    message: /5 heads/,
  })
  await t.rejects(ops.run('lowrank_cross_attention', good, { compute: 'f16' as 'f32' }), {
    code,
    message: /compute.*f16/,
  })
})
