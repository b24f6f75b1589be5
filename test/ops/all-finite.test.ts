// all_finite: 1, unless any element is a NaN or an infinity, wherever it stands; refusals.
import t from 'tap'
import { bf16, f32, OpContext } from '../../dist/ops/index.js'
import { everyIsa, numbers } from '../fixtures/tensors'

/** Shapes, and places in them: the first element, one inside, the last. */
const SHAPES = [[1], [15], [16], [1, 17], [3, 33], [2, 5, 10]]

for (const { isa, ops } of everyIsa()) {
  t.test(isa, async (t) => {
    const random = numbers(3)
    for (const shape of SHAPES) {
      const size = shape.reduce((a, b) => a * b)
      for (const place of [0, size >> 1, size - 1]) {
        const answer = async (value?: number) => {
          const x = random.tensor(shape)
          if (value !== undefined) x.data[place] = value
          const { out } = await ops.run('all_finite', { x })
          t.strictSame([out.dtype, out.shape], ['u8', [1]])
          return Number(out.data[0])
        }
        t.equal(await answer(), 1, `[${shape}] of finite values`)
        for (const large of [3.4e38, -3.4e38]) t.equal(await answer(large), 1, `${large} is finite`)
        for (const bad of [NaN, Infinity, -Infinity]) t.equal(await answer(bad), 0, `${bad} at ${place} of [${shape}]`)
      }
    }
    await ops.dispose()
  })
}

t.test('infinities of both signs do not cancel out', async (t) => {
  await using ops = new OpContext()
  const { out } = await ops.run('all_finite', { x: f32([2], [Infinity, -Infinity]) })
  t.equal(Number(out.data[0]), 0)
})

t.test('refusals', async (t) => {
  await using ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  await t.rejects(ops.run('all_finite', { x: bf16([2], [1, 2]) }), { code, message: /x must be F32, not BF16 \[2\]/ })
  await t.rejects(ops.run('all_finite', {} as never), { code, message: /'x' is missing/ })
})
