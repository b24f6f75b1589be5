// linear with heads that are normalised and rotated, and groups of products: against float64, around the tiles of GPUs.
import t, { type Test } from 'tap'
import { bf16, f32, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { angles, rotated } from '../fixtures/heads'
import { epilogueOf, type LinearCase, linearReference, weightRows } from '../fixtures/linear'
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

interface Case extends LinearCase {
  heads?: { q: number; k: number; d: number }
}
interface Made {
  tensors: Named
  params: Record<string, unknown>
  expected: Float64Array
}

/** Operands of one product, and the definition in float64. */
function make(one: Case, dtype: 'f32' | 'bf16' | 'f8_e4m3', seed: number): Made {
  const { batch = 1, tokens, n, k, heads } = one
  const random = numbers(seed + tokens * n + k)
  // In e4m3 and bf16 exact: whole numbers up to 8.
  const some = (shape: number[]) =>
    Float64Array.from({ length: elements(shape) }, () => Math.round((random.uniform() - 0.5) * 16))
  const rows = weightRows(one)
  const [x, weight] = [some([batch * tokens * k]), some([rows * k])]
  const scales = { x: some([batch * tokens]).map((v) => 1 + v / 64), weight: some([rows]).map((v) => 1 + v / 64) }
  const { params, ...epilogue } = epilogueOf(one, (_, shape) => some(shape))
  const eight = dtype === 'f8_e4m3'
  const stored = (shape: number[], values: Float64Array): Tensor =>
    eight ? { dtype, shape, data: Uint8Array.from(values, e4m3) } : { f32, bf16 }[dtype](shape, values)
  const plain = linearReference(one, { params, ...epilogue }, (row, column) => {
    let sum = 0
    for (let i = 0; i < k; i++) sum += x[row * k + i]! * weight[column * k + i]!
    return eight ? sum * Math.fround(scales.x[row]!) * Math.fround(scales.weight[column]!) : sum
  })
  const made: Made = {
    tensors: {
      ...epilogue.tensors,
      x: stored([batch, tokens, k], x),
      weight: stored([rows, k], weight),
      ...(eight && { xScale: f32([batch, tokens, 1], scales.x), weightScale: f32([rows, 1], scales.weight) }),
    },
    params: { ...params },
    expected: plain,
  }
  if (!heads) return made
  const table = angles(random, tokens, heads.d)
  const learned = { q: random.tensor([heads.d]), k: random.tensor([heads.d]) }
  Object.assign(made.tensors, table, heads.q > 0 && { qScale: learned.q }, heads.k > 0 && { kScale: learned.k })
  Object.assign(made.params, { qHeads: heads.q, kHeads: heads.k })
  for (const [first, count, scale] of [
    [0, heads.q, learned.q],
    [heads.q, heads.k, learned.k],
  ] as const)
    for (let head = first; head < first + count; head++)
      for (let row = 0; row < batch * tokens; row++) {
        const at = row * n + head * heads.d
        const token = row % tokens
        const one = { shape: [1, 1, 1, heads.d], values: plain.slice(at, at + heads.d) }
        const line = ({ data }: Tensor) =>
          f32([1, heads.d / 2], (data as Float32Array).subarray((token * heads.d) / 2, ((token + 1) * heads.d) / 2))
        plain.set(rotated(one, toFloat32(scale), line(table.cos), line(table.sin)), at)
      }
  return made
}

/** The bits of a whole number up to 8. */
function e4m3(value: number): number {
  if (value === 0) return 0
  const exponent = Math.floor(Math.log2(Math.abs(value)))
  return (value < 0 ? 0x80 : 0) | ((exponent + 7) << 3) | ((Math.abs(value) / 2 ** exponent - 1) * 8)
}

const limitOf = (where: string, dtype: string) => (dtype === 'bf16' ? 8e-3 : where.startsWith('cuda:') ? 1e-3 : 5e-6)

const HEADS: Case[] = [
  { tokens: 1, n: 9, k: 3, heads: { q: 1, k: 1, d: 2 } },
  { tokens: 3, n: 48, k: 17, heads: { q: 2, k: 1, d: 16 } },
  { batch: 2, tokens: 13, n: 100, k: 31, heads: { q: 3, k: 0, d: 32 } },
  { tokens: 29, n: 384, k: 40, heads: { q: 0, k: 2, d: 128 }, bias: true },
]
/**
 * Heads of 128 channels in tiles: of q and k in one tile and in several, tokens that are no multiple of a tile's rows.
 */
const HEAD_TILES: Case[] = [
  { batch: 2, tokens: 150, n: 384, k: 72, heads: { q: 1, k: 1, d: 128 } },
  { batch: 1, tokens: 257, n: 640, k: 136, heads: { q: 2, k: 1, d: 128 }, bias: true },
  { batch: 2, tokens: 65, n: 260, k: 64, heads: { q: 1, k: 1, d: 128 } },
  { batch: 1, tokens: 300, n: 256, k: 65, heads: { q: 2, k: 0, d: 128 } }, // rows of x and W that are not aligned
  { batch: 3, tokens: 43, n: 192, k: 80, heads: { q: 1, k: 1, d: 64 } },
]

async function check(t: Test, where: string, ops: OpContext, one: Case, x: 'f32' | 'bf16' | 'f8_e4m3') {
  const { tensors, params, expected } = make(one, x, 1)
  for (const outDtype of ['f32', 'bf16'] as const) {
    const { out } = await ops.run('linear', tensors as never, { ...params, outDtype })
    const error = relativeError(toFloat32(out), expected)
    t.ok(
      error < limitOf(where, outDtype),
      `${where} ${x}: ${JSON.stringify(one)} -> ${outDtype}: ${error.toExponential(1)}`,
    )
  }
}

t.test('heads are normalised and rotated', async (t) => {
  for (const { isa, ops } of everyIsa())
    for (const one of HEADS) for (const x of ['f32', 'bf16'] as const) await check(t, isa, ops, one, x)
})

t.test('heads around the tiles of GPUs', needsKernels, async (t) => {
  for (const { gpu, ops } of await everyGpu(['80', '89', '90']))
    for (const one of casesOn(gpu, [...HEADS, ...HEAD_TILES], [2, 4, 6]))
      for (const x of gpu.endsWith('80') ? (['bf16'] as const) : (['bf16', 'f8_e4m3'] as const))
        await check(t, gpu, ops, one, x)
})

/** Products of one group: few rows and many, every epilogue, several K. */
const GROUPS: Case[][] = [
  [{ tokens: 5, n: 7, k: 9 }],
  [
    { batch: 2, tokens: 2, n: 40, k: 24, activation: 'silu' },
    { batch: 2, tokens: 77, n: 40, k: 24, residual: [70, 7] },
    { tokens: 3, n: 33, k: 15, activation: 'swiglu', bias: true },
    { tokens: 130, n: 24, k: 40, residual: 'accumulate' },
  ],
  // A single block's first products, and a double block's of text and image.
  [
    { batch: 2, tokens: 100, n: 512, k: 128, heads: { q: 0, k: 2, d: 128 } },
    { batch: 2, tokens: 70, n: 256, k: 128, heads: { q: 2, k: 0, d: 128 } },
    { batch: 2, tokens: 70, n: 300, k: 128, activation: 'swiglu' },
  ],
  [
    { batch: 2, tokens: 64, n: 384, k: 128, heads: { q: 1, k: 1, d: 128 } },
    { batch: 1, tokens: 200, n: 384, k: 128, heads: { q: 1, k: 1, d: 128 } },
  ],
]

function grouped(cases: Case[], dtype: 'f32' | 'bf16' | 'f8_e4m3', more: Record<string, unknown> = {}) {
  const made = cases.map((one, i) => make(one, dtype, i))
  const numbered = <T>(of: (one: Made, i: number) => Record<string, T>) =>
    Object.assign(
      {},
      ...made.map((one, i) =>
        Object.fromEntries(Object.entries(of(one, i)).map(([name, value]) => [`${name}_${i}`, value])),
      ),
    ) as Record<string, T>
  return {
    made,
    tensors: numbered(({ tensors }) => tensors),
    params: numbered(({ params }, i) => (cases[i]!.residual ? params : { ...params, ...more })),
  }
}

t.test('groups', async (t) => {
  const everywhere = [
    ...everyIsa().map(({ isa, ops }) => ({ where: isa, ops })),
    ...(await everyGpu(['89', '90'])).map(({ gpu, ops }) => ({ where: gpu, ops })),
  ]
  for (const { where, ops } of everywhere)
    for (const cases of casesOn(where, GROUPS, [1, 3]))
      for (const x of where === 'cuda-emulated' || where.startsWith('cuda:')
        ? (['f32', 'bf16'] as const)
        : (['f32', 'bf16', 'f8_e4m3'] as const)) {
        const { made, tensors, params } = grouped(cases, x, { outDtype: 'f32' })
        const results = (await ops.run('grouped_linear', tensors, params)) as unknown as Named
        made.forEach(({ expected }, i) => {
          const error = relativeError(toFloat32(results[`out_${i}`]!), expected)
          t.ok(error < limitOf(where, 'f32'), `${where} ${x}: ${JSON.stringify(cases[i])}: ${error.toExponential(1)}`)
        })
      }
})

t.test('any number of threads gives the same bits', async (t) => {
  const { tensors, params } = grouped(GROUPS[2]!, 'bf16')
  const results = await Promise.all(threadCounts().map((ops) => ops.run('grouped_linear', tensors, params)))
  for (const each of results)
    for (const name of ['out_0', 'out_1', 'out_2'] as const) t.ok(sameBits(each[name], results[0]![name]))
})

t.test('refusals', async (t) => {
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const { tensors, params } = make({ tokens: 3, n: 16, k: 4, heads: { q: 1, k: 1, d: 8 } }, 'f32', 1)
  const run = (changed: Record<string, Tensor | undefined>, more = {}) =>
    ops.run('linear', { ...tensors, ...changed } as never, { ...params, ...more } as never)
  await t.rejects(run({ cos: undefined }), { code, message: /cos must be F32 \[3, \*\].*absent/ })
  await t.rejects(run({ sin: f32([3, 3], new Float32Array(9)) }), { code, message: /sin must be F32 \[3, 4\]/ })
  await t.rejects(run({ qScale: undefined }), { code, message: /qScale must be F32 \[8\]/ })
  await t.rejects(run({ kScale: f32([4], [1, 2, 3, 4]) }), { code, message: /kScale/ })
  await t.rejects(run({}, { qHeads: 2 }), {
    code,
    message: /3 heads of 8 channels do not fit into out F32 \[1, 3, 16\]/,
  })
  await t.rejects(run({}, { qHeads: -1 }), { code, message: /no negative number of heads.* -1/ })
  await t.rejects(run({}, { activation: 'silu' }), { code, message: /without an activation/ })
  await t.rejects(run({ out: f32([1, 3, 16], new Float32Array(48)) }, { accumulate: true }), { code, message: /heads/ })
  await t.rejects(run({}, { qHeads: 0, kHeads: 0 }), { code, message: /'(cos|qScale|kScale|sin)'/ })
  const { x, weight } = make({ tokens: 3, n: 2, k: 4 }, 'f32', 2).tensors as { x: Tensor; weight: Tensor }
  await t.rejects(ops.run('grouped_linear', {}), { code, message: /x_0/ })
  await t.rejects(ops.run('grouped_linear', { x_0: x, weight_0: weight, x_1: x }), { code, message: /weight_1/ })
  const other = bf16([1, 3, 4], new Float32Array(12))
  await t.rejects(ops.run('grouped_linear', { x_0: x, weight_0: weight, x_1: other, weight_1: weight }), {
    code,
    message: /one type, not F32 .* and BF16/,
  })
})
