// stream_copy: what benchmarks of memory divide by. It copies every bit, however fast it is.
import t from 'tap'
import { f32, OpContext, type Tensor } from '../../dist/ops/index.js'
import { everyIsa, numbers, sameBits, threadCounts } from '../fixtures/tensors'

const LENGTHS = [1, 15, 16, 1000, 70_001]

for (const { isa, ops } of everyIsa()) {
  t.test(`copies are exact: ${isa}`, async (t) => {
    const random = numbers(3)
    for (const length of LENGTHS)
      for (const streaming of [false, true]) {
        const x = random.tensor([length])
        const { out } = await ops.run('stream_copy', { x }, { streaming })
        t.ok(sameBits(out, x), `${length} elements, streaming: ${streaming}`)
      }
    const bits = Uint32Array.from({ length: 37 }, (_, i) => (i * 2654435761) >>> 0) // NaN with payloads among them
    const x: Tensor = { dtype: 'f32', shape: [37], data: new Float32Array(bits.buffer) }
    t.ok(sameBits((await ops.run('stream_copy', { x })).out, x), 'any bits')
    await ops.dispose()
  })
}

t.test('any number of threads gives the same bits', async (t) => {
  const x = numbers(4).tensor([300_007])
  for (const ops of threadCounts()) t.ok(sameBits((await ops.run('stream_copy', { x })).out, x))
})

t.test('refusals', async (t) => {
  await using ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  await t.rejects(ops.run('stream_copy', { x: f32([2, 2], [1, 2, 3, 4]) }), { code, message: /x must be F32 \[\*\]/ })
  const bytes: Tensor = { dtype: 'u8', shape: [2], data: Uint8Array.of(1, 2) }
  await t.rejects(ops.run('stream_copy', { x: bytes }), { code, message: /x must be F32/ })
})
