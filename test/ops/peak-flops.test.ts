// peak_flops: what benchmarks of arithmetic divide by. It counts the operations it does, however long they take.
import t from 'tap'
import { OpContext } from '../../dist/ops/index.js'
import { everyIsa } from '../fixtures/tensors'

for (const { isa, ops } of everyIsa()) {
  t.test(`twice the rounds are twice the operations: ${isa}`, async (t) => {
    const count = async (dtype: 'f32' | 'bf16', rounds: number) => {
      const { flops } = await ops.run('peak_flops', {}, { dtype, rounds })
      t.strictSame([flops.dtype, flops.shape], ['f64', [1]])
      return (flops.data as Float64Array)[0]!
    }
    for (const dtype of ['f32', 'bf16'] as const) {
      const one = await count(dtype, 1)
      t.ok(one > 100_000 && Number.isInteger(one), `${one} operations of ${dtype}`)
      t.equal(await count(dtype, 2), 2 * one)
    }
    await ops.dispose()
  })
}

t.test('every thread computes', async (t) => {
  const count = async (threads: number) => {
    await using ops = new OpContext({ threads })
    return ((await ops.run('peak_flops', {}, { rounds: 1 })).flops.data as Float64Array)[0]!
  }
  t.equal(await count(3), 3 * (await count(1)))
})

t.test('refusals', async (t) => {
  await using ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  await t.rejects(ops.run('peak_flops', {}, { rounds: 0 }), { code, message: /rounds/ })
  await t.rejects(ops.run('peak_flops', {}, {} as never), { code, message: /rounds/ })
  await t.rejects(ops.run('peak_flops', {}, { rounds: 1, dtype: 'f8_e4m3' }), { code, message: /on a GPU/ })
  await t.rejects(ops.run('peak_flops', {}, { rounds: 1, dtype: 'f16' as 'f32' }), { code, message: /'f32' or 'bf16'/ })
})
