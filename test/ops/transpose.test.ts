// transpose: channels by tokens to tokens by channels, exactly; refusals.
import t from 'tap'
import { bf16, OpContext, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, numbers, sameBits, threadCounts } from '../fixtures/tensors'

const SHAPES: [channels: number, tokens: number][] = [
  [1, 1],
  [3, 17],
  [128, 35],
  [50, 16],
  [5, 1031],
]

for (const { isa, ops } of everyIsa()) {
  t.test(`exact: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const [channels, tokens] of SHAPES) {
      const x = random.tensor([channels, tokens])
      const { out } = await ops.run('transpose', { x })
      t.strictSame(out.shape, [tokens, channels])
      const from = toFloat32(x)
      const expected = from.map((_, i) => from[(i % channels) * tokens + Math.floor(i / channels)]!)
      t.strictSame(toFloat32(out), expected, `[${channels}, ${tokens}]`)
    }
    await ops.dispose()
  })
}

t.test('any number of threads gives the same bits', async (t) => {
  const x = numbers(2).tensor([37, 2011])
  const results = await Promise.all(threadCounts().map((ops) => ops.run('transpose', { x })))
  for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
})

t.test('refusals', async (t) => {
  await using ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  await t.rejects(ops.run('transpose', { x: numbers(3).tensor([2, 3, 4]) }), {
    code,
    message: /x must be \[C, tokens\]/,
  })
  await t.rejects(ops.run('transpose', { x: bf16([1, 2], [1, 2]) }), { code, message: /x must be F32/ })
})
