// Attention over segments: against float64 and the original, awkward sizes, sharp softmax, threads, refusals.
import t from 'tap'
import { bf16, f32, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { references } from '../fixtures/golden'
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

/**
 * The definition, in float64: the rows of all queries in order, over the keys of all segments; causal: up to their own.
 */
function reference(tensors: Named, scale?: number, causal = false): Float64Array {
  const rows = (letter: string) => {
    const parts = [0, 1, 2, 3].flatMap((i) => tensors[`${letter}${i}`] ?? [])
    return { data: Float64Array.from(parts.flatMap((part) => [...toFloat32(part)])), shape: parts[0]!.shape }
  }
  const [q, k, v] = [rows('q'), rows('k'), rows('v')]
  const [, heads, d] = q.shape as [number, number, number]
  const width = heads * d
  const factor = scale ?? 1 / Math.sqrt(d)
  const out = new Float64Array(q.data.length)
  const groups = k.shape[1]!
  const keys = k.data.length / (groups * d)
  for (let row = 0; row < q.data.length / width; row++)
    for (let head = 0; head < heads; head++) {
      const at = row * width + head * d
      const of = (key: number) => (key * groups + Math.floor(head / (heads / groups))) * d
      const logits = Float64Array.from({ length: causal ? Math.min(keys, row + 1) : keys }, (_, key) => {
        let sum = 0
        for (let i = 0; i < d; i++) sum += q.data[at + i]! * k.data[of(key) + i]!
        return sum * factor
      })
      const most = logits.reduce((a, b) => Math.max(a, b))
      const p = logits.map((logit) => Math.exp(logit - most))
      const total = p.reduce((a, b) => a + b)
      for (const [key, weight] of p.entries())
        for (let i = 0; i < d; i++) out[at + i]! += (weight / total) * v.data[of(key) + i]!
    }
  return out
}

/** The rows of out0.. in order. */
const outputs = (results: Named) =>
  [0, 1, 2, 3].flatMap((i) => (results[`out${i}`] ? [...toFloat32(results[`out${i}`]!)] : []))

interface Case {
  queries: number[] // tokens of every segment; 0: it has none
  keys: number[]
  heads: number
  d: number
  /** Heads of k and v; as many as q's by default. */
  groups?: number
  causal?: boolean
  sharp?: number
  scale?: number
}
const CASES: Case[] = [
  { queries: [1], keys: [1], heads: 1, d: 16 },
  { queries: [1], keys: [7], heads: 3, d: 128 },
  { queries: [13], keys: [31], heads: 2, d: 128 },
  { queries: [37, 0], keys: [0, 101], heads: 2, d: 32 }, // a pooler: queries of one kind, keys of another
  { queries: [5, 29, 0, 1], keys: [17, 0, 33, 64], heads: 2, d: 64 },
  { queries: [15], keys: [1100], heads: 1, d: 128 }, // several blocks of keys
  { queries: [257], keys: [61], heads: 3, d: 16 }, // several blocks of rows
  { queries: [31], keys: [200], heads: 1, d: 512 },
  { queries: [33], keys: [70], heads: 2, d: 5, scale: 0.3 },
  { queries: [20], keys: [90], heads: 1, d: 1 },
  { queries: [29], keys: [700], heads: 2, d: 128, sharp: 100 }, // logits in the thousands
  { queries: [9, 23], keys: [0, 41], heads: 6, groups: 2, d: 32 }, // grouped
  { queries: [5], keys: [70], heads: 7, groups: 1, d: 48 },
  { queries: [1], keys: [1], heads: 1, d: 16, causal: true },
  { queries: [67], keys: [67], heads: 2, d: 32, causal: true },
  { queries: [83], keys: [11], heads: 4, groups: 2, d: 32, causal: true }, // padding after a text
  { queries: [31], keys: [61], heads: 1, d: 24, causal: true }, // keys nobody sees
  { queries: [1203], keys: [1201], heads: 2, groups: 1, d: 64, causal: true }, // several blocks of keys and rows
  { queries: [600], keys: [600], heads: 1, d: 128, sharp: 100, causal: true },
]

function tensorsOf(
  { queries, keys, heads, groups = heads, d, sharp = 1 }: Case,
  dtype: typeof f32,
  seed: number,
): Named {
  const random = numbers(seed)
  const make = (tokens: number, heads: number, factor: number) => {
    const shape = [tokens, heads, d]
    return dtype(
      shape,
      Float64Array.from({ length: elements(shape) }, () => factor * random.normal()),
    )
  }
  const named: Named = {}
  for (const [i, tokens] of queries.entries()) if (tokens > 0) named[`q${i}`] = make(tokens, heads, sharp)
  for (const [i, tokens] of keys.entries())
    if (tokens > 0) Object.assign(named, { [`k${i}`]: make(tokens, groups, 1), [`v${i}`]: make(tokens, groups, 1) })
  return named
}

/** Tensors of a case and their attention in float64, the same for all devices that are compared. */
const made = new Map<string, { tensors: Named; expected: Float64Array }>()
function make(one: Case, dtype: typeof f32) {
  const key = `${JSON.stringify(one)} ${dtype.name}`
  const known = made.get(key)
  if (known) return known
  const tensors = tensorsOf(one, dtype, made.size)
  const each = { tensors, expected: reference(tensors, one.scale, one.causal) }
  made.set(key, each)
  return each
}

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    for (const one of casesOn(isa, CASES, [2, 4, 8, 11, 14]))
      for (const dtype of [f32, bf16]) {
        const { tensors, expected } = make(one, dtype)
        for (const outDtype of ['f32', 'bf16'] as const) {
          const results = await ops.run('attention', tensors, { scale: one.scale, causal: one.causal, outDtype })
          for (const [i, tokens] of one.queries.entries())
            if (tokens > 0) t.strictSame(results[`out${i as 0}`].shape, [tokens, one.heads, one.d])
          const error = relativeError(outputs(results), expected)
          const limit = dtype === bf16 || outDtype === 'bf16' ? 8e-3 : one.sharp ? 1e-5 : 2e-6
          t.ok(error < limit, `${JSON.stringify(one)} ${dtype.name} -> ${outDtype}: ${error.toExponential(1)}`)
        }
      }
  })
}

/**
 * Around the blocks of tensor-core kernels: every size of head they know, cut blocks of every segment, several tiles
 * each.
 */
const TILE_CASES: Case[] = [
  { queries: [300], keys: [700], heads: 2, d: 128 },
  { queries: [130, 0, 40, 1], keys: [257, 130, 0, 3], heads: 3, d: 128 },
  { queries: [128], keys: [128], heads: 1, d: 128 },
  { queries: [70], keys: [300], heads: 2, d: 128, sharp: 100 },
  { queries: [140], keys: [150], heads: 2, d: 64 },
  { queries: [33, 100], keys: [65, 20], heads: 1, d: 48 },
  { queries: [130], keys: [90], heads: 2, d: 80 },
  { queries: [65], keys: [130], heads: 1, d: 256 },
  { queries: [30], keys: [70], heads: 2, d: 208 },
  { queries: [66], keys: [33], heads: 1, d: 512 },
  { queries: [20], keys: [40], heads: 1, d: 528 },
]

t.test('around the blocks of GPUs', needsKernels, async (t) => {
  for (const { gpu, ops } of await everyGpu())
    for (const one of casesOn(gpu, [...TILE_CASES, ...CASES], [2, 1, 5, 8])) {
      const { tensors, expected } = make(one, bf16)
      for (const outDtype of ['f32', 'bf16'] as const) {
        const results = await ops.run('attention', tensors, { scale: one.scale, causal: one.causal, outDtype })
        const error = relativeError(outputs(results), expected)
        t.ok(error < 8e-3, `${gpu}: ${JSON.stringify(one)} -> ${outDtype}: ${error.toExponential(1)}`)
      }
    }
})

t.test('the items of a batch do not see each other, and one item may serve all', async (t) => {
  const cases: Case[] = [
    { queries: [13], keys: [31], heads: 2, d: 16 },
    { queries: [37, 20], keys: [130, 7], heads: 1, d: 128 },
    { queries: [9, 23], keys: [0, 41], heads: 6, groups: 2, d: 32 },
    { queries: [40], keys: [40], heads: 2, d: 64, causal: true },
  ]
  const everywhere = [
    ...everyIsa().map(({ isa, ops }) => ({ where: isa, ops })),
    ...(await everyGpu()).map(({ gpu, ops }) => ({ where: gpu, ops })),
  ].filter(({ where }) => where !== 'cuda-emulated') // it is there by its architectures
  const batch = (items: Named[], name: string, shared: boolean): Tensor => {
    const rows = (shared ? items.slice(0, 1) : items).map((item) => item[name]!)
    return (rows[0]!.dtype === 'f32' ? f32 : bf16)(
      [rows.length, ...rows[0]!.shape],
      rows.flatMap((row) => [...toFloat32(row)]),
    )
  }
  for (const { where, ops } of everywhere)
    for (const one of casesOn(where, cases, [0, 2, 3]))
      for (const dtype of [f32, bf16])
        for (const shared of ['none', '1']) {
          // Segment 1's tensors, where shared, have one item.
          const made = [1, 2].map((seed) => tensorsOf(one, dtype, seed))
          const items = made.map((item) => ({
            ...item,
            ...Object.fromEntries(Object.entries(made[0]!).filter(([name]) => name.endsWith(shared))),
          }))
          const names = Object.keys(items[0]!)
          const tensors = Object.fromEntries(names.map((name) => [name, batch(items, name, name.endsWith(shared))]))
          const results = (await ops.run('attention', tensors, { causal: one.causal })) as unknown as Named
          const expected = items.map((item) => reference(item, undefined, one.causal))
          for (const [b, each] of expected.entries()) {
            const parts = [0, 1].flatMap((i) => {
              const out = results[`out${i}`]
              if (!out) return []
              const size = elements(out.shape) / 2
              return [...toFloat32(out).subarray(b * size, (b + 1) * size)]
            })
            const error = relativeError(parts, each)
            const limit = dtype === bf16 ? 8e-3 : 2e-6
            t.ok(error < limit, `${where}: ${JSON.stringify(one)} ${dtype.name}, item ${b}: ${error.toExponential(1)}`)
          }
        }
})

t.test('equal keys give the mean of the values', async (t) => {
  const [heads, d, tokens] = [2, 32, 45]
  const q0 = numbers(1).tensor([3, heads, d])
  const k0 = f32([tokens, heads, d], new Float64Array(tokens * heads * d).fill(0.5))
  const v0 = numbers(2).tensor([tokens, heads, d])
  const mean = toFloat32(q0).map((_, i) => {
    let sum = 0
    for (let token = 0; token < tokens; token++) sum += toFloat32(v0)[token * heads * d + (i % (heads * d))]!
    return sum / tokens
  })
  const { out0 } = await new OpContext().run('attention', { q0, k0, v0 })
  t.ok(relativeError(toFloat32(out0), mean) < 1e-6)
})

t.test('a NaN among the keys is not hidden', async (t) => {
  const tensors = tensorsOf({ queries: [20], keys: [40], heads: 1, d: 16 }, f32, 1)
  ;(tensors.k0!.data as Float32Array)[17 * 16] = NaN
  const { out0 } = await new OpContext().run('attention', tensors)
  t.ok(toFloat32(out0).every(Number.isNaN))
})

t.test('causal: keys that come later change nothing', async (t) => {
  const ops = new OpContext()
  for (const dtype of [f32, bf16]) {
    const tensors = tensorsOf({ queries: [70], keys: [70], heads: 2, d: 32 }, dtype, 3)
    const whole = toFloat32((await ops.run('attention', tensors, { causal: true })).out0)
    const row = 2 * 32
    for (const [name, value] of [
      ['k0', NaN],
      ['v0', 1e30],
    ] as const)
      tensors[name]!.data.set(dtype([37, row], new Float32Array(37 * row).fill(value)).data as never, 33 * row)
    const changed = toFloat32((await ops.run('attention', tensors, { causal: true })).out0)
    t.strictSame([...changed.subarray(0, 33 * row)], [...whole.subarray(0, 33 * row)])
    t.ok(changed.subarray(33 * row).every(Number.isNaN))
  }
})

t.test('any number of threads gives the same bits', async (t) => {
  for (const dtype of [f32, bf16]) {
    const tensors = tensorsOf({ queries: [203, 31], keys: [613, 31], heads: 3, d: 64 }, dtype, 5)
    const results = await Promise.all(threadCounts().map((ops) => ops.run('attention', tensors)))
    for (const { out0, out1 } of results) t.ok(sameBits(out0, results[0]!.out0) && sameBits(out1, results[0]!.out1))
  }
})

for (const golden of references('flux/qk_rope.safetensors'))
  t.test(`as ${golden.source}`, async (t) => {
    const ops = new OpContext()
    const get = (name: string) => golden.tensors.get(name)!.data as Float32Array
    const [batch, heads, tokens, d] = golden.tensors.get('input.v')!.shape as [number, number, number, number]
    const size = heads * tokens * d
    for (let b = 0; b < batch; b++) {
      // Item b of [batch, H, T, d] as [T, H, d].
      const item = (name: string, dtype: typeof f32) => {
        const all = get(name).subarray(b * size, (b + 1) * size)
        return dtype(
          [tokens, heads, d],
          all.map((_, i) => all[((Math.floor(i / d) % heads) * tokens + Math.floor(i / (heads * d))) * d + (i % d)]!),
        )
      }
      const expected = get('output.attention').subarray(b * size, (b + 1) * size)
      for (const [dtype, limit] of [
        [f32, 2e-6],
        [bf16, 1e-2],
      ] as const) {
        const [q0, k0, v0] = [
          item('output.q_norm_rope', dtype),
          item('output.k_norm_rope', dtype),
          item('input.v', dtype),
        ]
        const { out0 } = await ops.run('attention', { q0, k0, v0 }, { outDtype: 'f32' })
        const error = relativeError(toFloat32(out0), expected)
        t.ok(error < limit, `${dtype.name}: ${error.toExponential(1)}`)
      }
      // The file's sharp case multiplies q by 12 and k by 2 after the norm: the same as the scale by 24.
      const [q0, k0, v0] = [item('output.q_norm_rope', f32), item('output.k_norm_rope', f32), item('input.v', f32)]
      const { out0 } = await ops.run('attention', { q0, k0, v0 }, { scale: 24 / Math.sqrt(d) })
      const error = relativeError(toFloat32(out0), get('output.attention_sharp').subarray(b * size, (b + 1) * size))
      t.ok(error < 2e-5, `sharp: ${error.toExponential(1)}`)
    }
  })

t.test('refusals', async (t) => {
  const random = numbers(6)
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const [q0, k0, v0] = [random.tensor([2, 3, 4]), random.tensor([5, 3, 4]), random.tensor([5, 3, 4])]
  await t.rejects(ops.run('attention', {}), { code, message: /segments/ })
  await t.rejects(ops.run('attention', { q0 }), { code, message: /2 and 0 tokens/ })
  await t.rejects(ops.run('attention', { q0, k0 }), { code, message: /both k and v/ })
  await t.rejects(ops.run('attention', { k0, v0 }), { code, message: /0 and 5 tokens/ })
  await t.rejects(ops.run('attention', { q0, k0, v0: random.tensor([4, 3, 4]) }), {
    code,
    message: /v0 must be F32 \[5, 3, 4\]/,
  })
  const [k2, v2] = [random.tensor([5, 2, 4]), random.tensor([5, 2, 4])]
  await t.rejects(ops.run('attention', { q0, k0: k2, v0: v2 }), { code, message: /3 heads of q .* multiple of the 2/ })
  await t.rejects(ops.run('attention', { q0, k0, v0, k1: k2, v1: v2 }), {
    code,
    message: /k1 must be F32 \[\*, 3, 4\]/,
  })
  await t.rejects(ops.run('attention', { q0, k0, v0, k1: k0, v1: v0 }, { causal: true }), {
    code,
    message: /causal attention takes 1 segment, not 2/,
  })
  await t.rejects(ops.run('attention', { q0, k0: bf16([5, 3, 4], new Float32Array(60)), v0 }), {
    code,
    message: /k0 must be F32/,
  })
  await t.rejects(ops.run('attention', { q0, k0, v0 }, { scale: -1 }), { code, message: /scale/ })
  const [q4, k4] = [random.tensor([3, 2, 3, 4]), random.tensor([2, 5, 3, 4])]
  await t.rejects(ops.run('attention', { q0: q4, k0: k4, v0: k4 }), {
    code,
    message: /k0 must be F32 \[3, \*, \*, 4\]/,
  })
  await t.rejects(ops.run('attention', { q0: q4, k0, v0 }), { code, message: /k0 must be F32 \[3, / })
  await t.rejects(ops.run('attention', { q0, k0: k4, v0: k4 }), { code, message: /k0 must be F32 \[\*, / })
})
