// silu: x sigmoid(x) against float64, far from zero too; refusals.
import t from 'tap'
import { f32, OpContext, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, largestError, numbers, relativeError, sameBits, threadCounts } from '../fixtures/tensors'

const SHAPES = [[1], [7], [3, 5], [1, 31, 33], [20011]]

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const shape of SHAPES) {
      const x = random.tensor(shape, () => 10 * random.normal())
      const { out } = await ops.run('silu', { x })
      t.strictSame(out.shape, shape)
      const expected = Float64Array.from(toFloat32(x), (v) => v / (1 + Math.exp(-v)))
      t.ok(relativeError(toFloat32(out), expected) < 3e-7, `[${shape}]`)
    }
  })

  t.test(`far from zero: ${isa}`, async (t) => {
    const { out } = await ops.run('silu', { x: f32([6], [-200, -88, 88, 1e30, Infinity, NaN]) })
    const [low, lower, high, huge, infinite, nan] = toFloat32(out)
    t.ok(Math.abs(low!) < 1e-30 && Math.abs(lower!) < 1e-30)
    t.ok(largestError([high!, huge! / 1e30], [88, 1]) < 1e-5)
    t.equal(infinite, Infinity)
    t.ok(Number.isNaN(nan))
    await ops.dispose()
  })
}

t.test('any number of threads gives the same bits', async (t) => {
  const x = numbers(2).tensor([3, 20011])
  const results = await Promise.all(threadCounts().map((ops) => ops.run('silu', { x })))
  for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
})

t.test('refusals', async (t) => {
  await using ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const integers = { dtype: 'i32' as const, shape: [1], data: new Int32Array(1) }
  await t.rejects(ops.run('silu', { x: integers }), { code, message: /x must be.* F32/ })
  await t.rejects(ops.run('silu', {} as never), { code, message: /'x' is missing/ })
  await t.rejects(ops.run('silu', { x: f32([1], [1]), y: f32([1], [1]) } as never), { code, message: /'y' is not one/ })
})
