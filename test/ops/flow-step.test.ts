// One guided Euler step.
import t from 'tap'
import { OpContext, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, numbers, relativeError, sameBits, threadCounts } from '../fixtures/tensors'

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const shape of [
      [1, 1],
      [3, 5],
      [37, 128],
      [1031, 33],
    ]) {
      const [latents, uPrompt, uEmpty] = [random.tensor(shape), random.tensor(shape), random.tensor(shape)]
      const [z, p, e] = [toFloat32(latents), toFloat32(uPrompt), toFloat32(uEmpty)]
      const params = { guidance: 4, step: -0.0625 }
      const guided = await ops.run('flow_step', { latents, uPrompt, uEmpty }, params)
      const expected = z.map((v, i) => v + params.step * (e[i]! + params.guidance * (p[i]! - e[i]!)))
      t.ok(relativeError(toFloat32(guided.latents), expected) < 2e-7, `guided [${shape}]`)
      const plain = await ops.run('flow_step', { latents, uPrompt }, params)
      t.ok(
        relativeError(
          toFloat32(plain.latents),
          z.map((v, i) => v + params.step * p[i]!),
        ) < 2e-7,
        `one branch [${shape}]`,
      )
      t.strictSame(toFloat32(latents), z, 'the operand of the caller is left alone')
    }
  })
}

t.test('any number of threads gives the same bits', async (t) => {
  const random = numbers(2)
  const [latents, uPrompt, uEmpty] = [random.tensor([1031, 64]), random.tensor([1031, 64]), random.tensor([1031, 64])]
  const run = (ops: OpContext) => ops.run('flow_step', { latents, uPrompt, uEmpty }, { guidance: 3, step: -0.1 })
  const results = await Promise.all(threadCounts().map(run))
  for (const result of results) t.ok(sameBits(result.latents, results[0]!.latents))
})

t.test('refusals', async (t) => {
  const random = numbers(3)
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const [latents, uPrompt] = [random.tensor([2, 3]), random.tensor([2, 3])]
  const without = {} as { step: number }
  await t.rejects(ops.run('flow_step', { latents, uPrompt }, without), { code, message: /step/ })
  await t.rejects(ops.run('flow_step', { latents, uPrompt }, { step: NaN }), { code, message: /finite/ })
  await t.rejects(ops.run('flow_step', { latents, uPrompt: random.tensor([3, 2]) }, { step: 1 }), {
    code,
    message: /uPrompt must be F32 \[2, 3\], not F32 \[3, 2\]/,
  })
})
