// lowrank_memory: keys and values of the degraded memory in rank space, against float64; refusals.
import t from 'tap'
import { bf16, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { block, half, product, type Sizes, values } from '../fixtures/lowrank'
import { everyIsa, numbers, relativeError, sameBits, threadCounts } from '../fixtures/tensors'
import { casesOn } from '../fixtures/tier'

type Block = ReturnType<typeof block>

const operands = ({ memory, queryUp, keyDown, keyUp, valueDown }: Block) => ({
  memory,
  queryUp,
  keyDown,
  keyUp,
  valueDown,
})

/**
 * The keys by their equation: K_j = (down_k M) (U_qj^T U_kj)^T / sqrt(d), whose products with a query in rank space are
 * the logits of head j.
 */
function keysOf(w: Block, heads: number): Float64Array {
  const [projected, queryUp, keyUp] = [product(values(w.memory), values(w.keyDown)), values(w.queryUp), values(w.keyUp)]
  const [tokens, rank] = [projected.rows, projected.columns]
  const d = queryUp.rows / heads
  const out = new Float64Array(heads * tokens * rank)
  for (let head = 0; head < heads; head++)
    for (let a = 0; a < rank; a++)
      for (let b = 0; b < rank; b++) {
        let both = 0
        for (let i = head * d; i < (head + 1) * d; i++) both += queryUp.data[i * rank + a]! * keyUp.data[i * rank + b]!
        for (let m = 0; m < tokens; m++)
          out[(head * tokens + m) * rank + a]! += (both * projected.data[m * rank + b]!) / Math.sqrt(d)
      }
  return out
}

const CASES: Sizes[] = [
  { heads: 1, d: 16, memory: 1, rank: 1 },
  { heads: 2, d: 6, memory: 7, rank: 3 },
  { heads: 3, d: 16, memory: 40, rank: 4 },
  { heads: 5, d: 24, memory: 33, rank: 17 },
  { heads: 2, d: 128, memory: 256, rank: 16 },
].map((sizes) => ({ ...sizes, batch: 1, tokens: 1 }))

const stored: ((x: Tensor) => Tensor)[] = [
  (x) => x,
  (x) => bf16(x.shape, toFloat32(x)),
  (x) => half(x.shape, toFloat32(x)),
]

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    for (const [seed, sizes] of casesOn(isa, [...CASES.entries()], [0, 1, 3]))
      for (const weight of stored) {
        const w = block(sizes, seed, weight)
        const { keys, values: memory } = await ops.run('lowrank_memory', operands(w), { heads: sizes.heads })
        t.strictSame(keys.shape, [sizes.heads, sizes.memory, sizes.rank])
        t.strictSame(memory.shape, [sizes.memory, sizes.rank])
        const [ofKeys, ofValues] = [
          relativeError(toFloat32(keys), keysOf(w, sizes.heads)),
          relativeError(toFloat32(memory), product(values(w.memory), values(w.valueDown)).data),
        ]
        const what = `${JSON.stringify(sizes)}, weights ${w.keyUp.dtype}`
        t.ok(ofKeys < 2e-6, `${what}: keys ${ofKeys.toExponential(1)}`)
        t.ok(ofValues < 1e-6, `${what}: values ${ofValues.toExponential(1)}`)
      }
    await ops.dispose()
  })
}

t.test('any number of threads gives the same bits', async (t) => {
  const w = block({ heads: 3, d: 32, memory: 77, rank: 16, batch: 1, tokens: 1 }, 11, (x) => x)
  const results = await Promise.all(threadCounts().map((ops) => ops.run('lowrank_memory', operands(w), { heads: 3 })))
  for (const { keys, values } of results) t.ok(sameBits(keys, results[0]!.keys) && sameBits(values, results[0]!.values))
})

t.test('refusals', async (t) => {
  await using ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const good = operands(block({ heads: 2, d: 6, memory: 7, rank: 3, batch: 1, tokens: 1 }, 12, (x) => x))
  const random = numbers(13)
  const run = (changed: Partial<typeof good>, heads = 2) =>
    ops.run('lowrank_memory', { ...good, ...changed }, { heads })
  for (const heads of [0, 1.5, NaN]) await t.rejects(run({}, heads), { code, message: /whole number/ })
  await t.rejects(run({}, 5), { code, message: /5 heads must divide the width 12/ })
  await t.rejects(run({ keyUp: random.tensor([12, 4]) }), {
    code,
    message: /keyUp must be .*\[12, 3\], not F32 \[12, 4\]/,
  })
  await t.rejects(run({ queryUp: random.tensor([11, 3]) }), { code, message: /queryUp must be .*\[12, 3\]/ })
  await t.rejects(run({ valueDown: random.tensor([2, 12]) }), { code, message: /valueDown must be .*\[3, 12\]/ })
  await t.rejects(run({ memory: bf16([1, 12], new Float64Array(12)) }), { code, message: /memory must be F32/ })
})
