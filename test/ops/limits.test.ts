// peak_flops and stream_copy, the limits that benchmarks divide by: what they count and copy is right, however fast they are.
import t from 'tap'
import { f32, OpContext, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, numbers } from '../fixtures/tensors'

for (const { isa, ops } of everyIsa()) {
  t.test(`copies are exact: ${isa}`, async (t) => {
    const random = numbers(3)
    for (const length of [1, 15, 16, 1000, 70_001])
      for (const streaming of [false, true]) {
        const x = random.tensor([length])
        const { out } = await ops.run('stream_copy', { x }, { streaming })
        t.strictSame(toFloat32(out), toFloat32(x), `${length} elements, streaming: ${streaming}`)
      }
  })

  t.test(`twice the rounds are twice the operations: ${isa}`, async (t) => {
    const count = async (dtype: 'f32' | 'bf16', rounds: number) =>
      ((await ops.run('peak_flops', {}, { dtype, rounds })).flops.data as Float64Array)[0]!
    for (const dtype of ['f32', 'bf16'] as const) {
      const one = await count(dtype, 1)
      t.ok(one > 100_000, `${one} operations`)
      t.equal(await count(dtype, 2), 2 * one)
    }
  })
}

t.test('refusals', async (t) => {
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  await t.rejects(ops.run('stream_copy', { x: f32([2, 2], [1, 2, 3, 4]) }), { code, message: /x must be F32 \[\*\]/ })
  await t.rejects(ops.run('peak_flops', {}, { rounds: 0 }), { code, message: /rounds/ })
  await t.rejects(ops.run('peak_flops', {}, { rounds: 1, dtype: 'f8_e4m3' }), { code, message: /on a GPU/ })
  await ops.dispose()
})
