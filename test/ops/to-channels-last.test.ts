// to_channels_last: weights of a convolution in the order that conv2d reads, exactly; refusals.
import t from 'tap'
import { bf16, f32, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, numbers, sameBits, threadCounts } from '../fixtures/tensors'

const SHAPES: [o: number, c: number, height: number, width: number][] = [
  [1, 1, 1, 1],
  [5, 3, 3, 3],
  [7, 33, 2, 5],
]

/** The definition: every element once, times its row's scale in float64. */
function reference(weight: Tensor, scale?: Tensor): Float64Array {
  const [, c, height, width] = weight.shape as [number, number, number, number]
  const taps = height * width
  const source = toFloat32(weight)
  return Float64Array.from(source, (_, at) => {
    const [channel, tap, row] = [at % c, Math.floor(at / c) % taps, Math.floor(at / c / taps)]
    return source[(row * c + channel) * taps + tap]! * (scale ? toFloat32(scale)[row]! : 1)
  })
}

for (const { isa, ops } of everyIsa()) {
  t.test(`exact: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const [o, c, height, width] of SHAPES) {
      const wide = random.tensor([o, c, height, width])
      const scale = random.tensor([o])
      for (const weight of [wide, bf16(wide.shape, toFloat32(wide))])
        for (const scales of [undefined, scale])
          for (const type of [f32, bf16]) {
            const { out } = await ops.run(
              'to_channels_last',
              { weight, scale: scales },
              { outDtype: type.name as 'f32' },
            )
            const expected = type([o, height, width, c], reference(weight, scales).map(Math.fround))
            t.strictSame(out.shape, expected.shape)
            t.ok(
              sameBits(out, expected),
              `[${weight.shape}] ${weight.dtype} -> ${type.name}${scales ? ', scaled' : ''}`,
            )
          }
    }
    await ops.dispose()
  })
}

t.test('any number of threads gives the same bits', async (t) => {
  const weight = numbers(2).tensor([37, 40, 3, 3])
  const results = await Promise.all(threadCounts().map((ops) => ops.run('to_channels_last', { weight })))
  for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
})

t.test('refusals', async (t) => {
  await using ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const weight = numbers(3).tensor([3, 2, 3, 3])
  await t.rejects(ops.run('to_channels_last', { weight, scale: f32([2], [1, 2]) }), {
    code,
    message: /scale must be F32 \[3\]/,
  })
  await t.rejects(ops.run('to_channels_last', { weight: f32([3], [1, 2, 3]) }), { code, message: /weight must be/ })
  await t.rejects(ops.run('to_channels_last', { weight }, { outDtype: 'f16' as 'f32' }), {
    code,
    message: /'f32' or 'bf16'.*f16/,
  })
})
