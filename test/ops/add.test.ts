// add: the sum of two tensors, element by element, exactly; refusals.
import t from 'tap'
import { bf16, OpContext, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, numbers, sameBits, threadCounts } from '../fixtures/tensors'

const SHAPES = [[1], [7], [3, 5], [1, 31, 33], [20011]]

for (const { isa, ops } of everyIsa()) {
  t.test(`exact: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const shape of SHAPES) {
      const [a, b] = [random.tensor(shape, () => 10 * random.normal()), random.tensor(shape)]
      const { out } = await ops.run('add', { a, b })
      t.strictSame(out.shape, shape)
      const expected = toFloat32(a).map((value, i) => value + toFloat32(b)[i]!) // float64, rounded once
      t.strictSame(toFloat32(out), expected, `[${shape}]`)
    }
    await ops.dispose()
  })
}

t.test('any number of threads gives the same bits', async (t) => {
  const random = numbers(2)
  const [a, b] = [random.tensor([3, 20011]), random.tensor([3, 20011])]
  const results = await Promise.all(threadCounts().map((ops) => ops.run('add', { a, b })))
  for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
})

t.test('refusals', async (t) => {
  const random = numbers(3)
  await using ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const [a, b] = [random.tensor([2, 3]), random.tensor([3, 2])]
  await t.rejects(ops.run('add', { a, b }), { code, message: /b must have the shape of a/ })
  await t.rejects(ops.run('add', { a: bf16([2], [1, 2]), b: bf16([2], [1, 2]) }), { code, message: /a must be.* F32/ })
  await t.rejects(ops.run('add', { a, b: undefined as never }), { code, message: /'b' is missing/ })
})
