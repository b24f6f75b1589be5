// Per-channel scale and shift with PReLU (a folded BatchNorm) on feature maps.
import t from 'tap'
import { bf16, OpContext, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, numbers, relativeError, sameBits, threadCounts } from '../fixtures/tensors'

const SHAPES = [
  [1, 1, 1, 1],
  [2, 3, 5, 7],
  [1, 31, 37, 64],
  [2, 7, 7, 513],
  [1, 2, 2, 40000], // a pixel larger than an item of work
]

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const shape of SHAPES) {
      const channels = shape[3]!
      const wide = random.tensor(shape)
      const [scale, shift, prelu] = [random.tensor([channels]), random.tensor([channels]), random.tensor([channels])]
      for (const x of [wide, bf16(shape, toFloat32(wide))])
        for (const slope of [undefined, prelu])
          for (const outDtype of ['f32', 'bf16'] as const) {
            const expected = Float64Array.from(toFloat32(x), (v, i) => {
              const y = v * toFloat32(scale)[i % channels]! + toFloat32(shift)[i % channels]!
              return slope && y < 0 ? y * toFloat32(slope)[i % channels]! : y
            })
            const { out } = await ops.run('batch_norm_prelu', { x, scale, shift, slope }, { outDtype })
            const error = relativeError(toFloat32(out), expected)
            const limit = outDtype === 'f32' ? 3e-7 : 4e-3
            t.ok(
              error < limit,
              `${x.dtype} -> ${outDtype} [${shape}]${slope ? ' PReLU' : ''}: ${error.toExponential(1)}`,
            )
          }
    }
  })
}

t.test('any number of threads gives the same bits', async (t) => {
  const random = numbers(2)
  const tensors = {
    x: random.tensor([1, 61, 67, 40]),
    scale: random.tensor([40]),
    shift: random.tensor([40]),
    slope: random.tensor([40]),
  }
  const results = await Promise.all(threadCounts().map((ops) => ops.run('batch_norm_prelu', tensors)))
  for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
})

t.test('refusals', async (t) => {
  const random = numbers(3)
  const ops = new OpContext()
  const tensors = { x: random.tensor([1, 2, 2, 6]), scale: random.tensor([6]), shift: random.tensor([6]) }
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  await t.rejects(ops.run('batch_norm_prelu', { ...tensors, scale: random.tensor([7]) }), {
    code,
    message: /scale must be F32 \[6\]/,
  })
  await t.rejects(ops.run('batch_norm_prelu', { ...tensors, slope: random.tensor([1]) }), { code, message: /slope/ })
  await t.rejects(ops.run('batch_norm_prelu', { ...tensors, x: random.picture(2, 2, 6) }), {
    code,
    message: /x must be F32 or BF16/,
  })
})
