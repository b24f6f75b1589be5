// Rows of a table by index: exact, and no index reaches outside.
import t from 'tap'
import { bf16, f32, i32, OpContext, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, numbers } from '../fixtures/tensors'

for (const { isa, ops } of everyIsa()) {
  t.test(`rows as they are: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const [V, D, tokens] of [
      [1, 1, 1],
      [5, 7, 3],
      [300, 33, 101],
      [64, 2560, 17],
    ] as const)
      for (const dtype of [f32, bf16]) {
        const table = dtype([V, D], random.tensor([V, D]).data as Float32Array)
        const ids = Array.from({ length: tokens }, (_, i) => (i === 0 ? V - 1 : Math.floor(random.uniform() * V)))
        const expected = ids.flatMap((id) => [...toFloat32(table).subarray(id * D, (id + 1) * D)])
        const { out } = await ops.run('embedding', { ids: i32([tokens], ids), table })
        t.strictSame([out.dtype, out.shape, [...toFloat32(out)]], ['f32', [tokens, D], expected])
        const half = await ops.run('embedding', { ids: i32([tokens], ids), table }, { outDtype: 'bf16' })
        t.strictSame([...toFloat32(half.out)], [...toFloat32(bf16([tokens, D], expected))])
      }
  })
}

t.test('refusals', async (t) => {
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const table = f32([4, 2], new Float32Array(8))
  for (const wrong of [4, -1, 2 ** 31 - 1, -(2 ** 31)]) {
    const ids = i32([3], [0, wrong, 1])
    await t.rejects(ops.run('embedding', { ids, table }), { code, message: /ids\[1\] is none of the table's 4 rows/ })
  }
  await t.rejects(ops.run('embedding', { ids: f32([1], [0]), table }), { code, message: /ids must be I32/ })
  await t.rejects(ops.run('embedding', { ids: i32([0], []), table }), { code, message: /must not be empty/ })
  await t.rejects(ops.run('embedding', { ids: i32([1], [0]), table: f32([4], [0, 0, 0, 0]) }), {
    code,
    message: /table/,
  })
  t.throws(() => i32([1], [0.5]), { code, message: /value 0 but received 0.5/ })
  t.throws(() => i32([1], [2 ** 31]), { code, message: /32-bit/ })
})
