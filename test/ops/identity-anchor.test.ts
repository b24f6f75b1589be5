// Raw face embeddings to the one unit vector that stands for the person (Eq. 3-4), against float64.
import t from 'tap'
import { f32, OpContext, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, largestError, numbers, relativeError } from '../fixtures/tensors'

/** Norms, softmax(log norm / T) over those that are not zero, and the unit vector of the weighted directions. */
function expected(rows: number[][], temperature: number) {
  const norms = rows.map((row) => Math.sqrt(row.reduce((sum, x) => sum + x * x, 0)))
  const powers = norms.map((norm) => (norm > 1e-12 ? norm ** (1 / temperature) : 0))
  const total = powers.reduce((a, b) => a + b, 0)
  const weights = powers.map((power) => (total > 0 ? power / total : 0))
  const sum = rows[0]!.map((_, i) =>
    rows.reduce((x, row, r) => (norms[r]! > 0 ? x + (weights[r]! * row[i]!) / norms[r]! : x), 0),
  )
  const length = Math.sqrt(sum.reduce((x, y) => x + y * y, 0))
  return { norms, weights, anchor: sum.map((x) => (length > 0 ? x / length : 0)) }
}

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    const random = numbers(5)
    for (const [count, size] of [
      [1, 512],
      [2, 512],
      [3, 512],
      [7, 13],
      [1, 1],
    ] as const)
      for (const temperature of [undefined, 1, 0.25, 3]) {
        const scales = Array.from({ length: count }, () => 0.5 + 20 * random.uniform())
        const rows = scales.map((scale) => Array.from({ length: size }, () => Math.fround(scale * random.normal())))
        const embeddings = f32([count, size], rows.flat())
        const results = await ops.run('identity_anchor', { embeddings }, { temperature })
        const { norms, weights, anchor } = expected(rows, temperature ?? 1)
        const what = `${count} of ${size}, temperature ${temperature}`
        t.ok(relativeError(toFloat32(results.norms), norms) < 1e-6, `${what}: norms`)
        t.ok(largestError(toFloat32(results.weights), weights) < 1e-6, `${what}: weights`)
        t.ok(largestError(toFloat32(results.anchor), anchor) < 1e-6, `${what}: anchor`)
      }
    await ops.dispose()
  })
}

for (const { isa, ops } of everyIsa()) {
  t.test(`zero embeddings count as absent: ${isa}`, async (t) => {
    const some = await ops.run('identity_anchor', { embeddings: f32([3, 2], [0, 0, 3, 4, 0, 0]) })
    t.strictSame([...toFloat32(some.norms)], [0, 5, 0])
    t.strictSame([...toFloat32(some.weights)], [0, 1, 0])
    t.ok(largestError(toFloat32(some.anchor), [0.6, 0.8]) < 1e-7)
    const none = await ops.run('identity_anchor', { embeddings: f32([2, 3], new Array(6).fill(0)) })
    t.strictSame([...toFloat32(none.anchor), ...toFloat32(none.weights)], [0, 0, 0, 0, 0])
    const opposite = await ops.run('identity_anchor', { embeddings: f32([2, 2], [1, 0, -1, 0]) })
    t.strictSame([...toFloat32(opposite.anchor)], [0, 0], 'opposite faces stand for nobody')
    await ops.dispose()
  })
}

t.test('refusals', async (t) => {
  await using ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const embeddings = f32([1, 2], [1, 2])
  await t.rejects(ops.run('identity_anchor', { embeddings }, { temperature: 0 }), { code, message: /temperature/ })
  await t.rejects(ops.run('identity_anchor', { embeddings: f32([2], [1, 2]) }), { code, message: /embeddings/ })
  await t.rejects(ops.run('identity_anchor', { embeddings: f32([0, 2], []) }), { code })
})
