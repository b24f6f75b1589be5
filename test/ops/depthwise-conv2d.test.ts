// depthwise_conv2d: every channel with a kernel of its own, against float64 with awkward windows; refusals.
import t from 'tap'
import { f32, OpContext, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, numbers, relativeError, sameBits, threadCounts } from '../fixtures/tensors'
import { type Window, WINDOWS, windows } from '../fixtures/windows'

function make({ shape, kernel }: Window) {
  const random = numbers(1)
  const channels = shape[3]
  return {
    x: random.tensor(shape),
    weight: random.tensor([...kernel, channels]),
    bias: random.tensor([channels]),
    slope: random.tensor([channels]),
  }
}

/** The definition, in float64: without bias and slope, and with both. */
function reference(window: Window, tensors: ReturnType<typeof make>): { plain: number[]; activated: number[] } {
  const [x, weight, bias, slope] = [tensors.x, tensors.weight, tensors.bias, tensors.slope].map(toFloat32) as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ]
  const plain: number[] = []
  const activated: number[] = []
  for (const { channel, seen } of windows(window)) {
    const sum = seen.reduce((s, [tap, at]) => s + weight[tap]! * x[at]!, 0)
    const y = sum + bias[channel]!
    plain.push(sum)
    activated.push(y < 0 ? y * slope[channel]! : y)
  }
  return { plain, activated }
}

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    for (const window of WINDOWS) {
      const { shape, kernel, stride, pad } = window
      const { x, weight, bias, slope } = make(window)
      const { plain, activated } = reference(window, { x, weight, bias, slope })
      const run = async (more: object) =>
        toFloat32((await ops.run('depthwise_conv2d', { x, weight, ...more }, { stride, pad })).out)
      t.ok(relativeError(await run({}), plain) < 1e-6, `[${shape}] * [${kernel}] / ${stride}`)
      t.ok(relativeError(await run({ bias, slope }), activated) < 1e-6, 'bias and slope')
    }
    await ops.dispose()
  })
}

t.test('any number of threads gives the same bits', async (t) => {
  const random = numbers(2)
  const tensors = { x: random.tensor([2, 31, 29, 20]), weight: random.tensor([3, 3, 20]) }
  const results = await Promise.all(threadCounts().map((ops) => ops.run('depthwise_conv2d', tensors, { pad: 1 })))
  for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
})

t.test('refusals', async (t) => {
  await using ops = new OpContext()
  const refused = (message: RegExp) => ({ code: 'ERR_ICONFACE_INVALID_ARGUMENT', message })
  const x = f32([1, 4, 4, 2], new Array(32).fill(1))
  const weight = f32([3, 3, 2], new Array(18).fill(1))
  const other = f32([3, 3, 1], new Array(9).fill(1))
  const tooLarge = f32([5, 3, 2], new Array(30).fill(1))
  const three = f32([3], [1, 2, 3])
  await t.rejects(ops.run('depthwise_conv2d', { x, weight: other }), refused(/weight must/))
  await t.rejects(ops.run('depthwise_conv2d', { x, weight: tooLarge }), refused(/larger than the padded x/))
  await t.rejects(ops.run('depthwise_conv2d', { x, weight }, { stride: 0 }), refused(/stride must be at least 1/))
  await t.rejects(ops.run('depthwise_conv2d', { x, weight }, { pad: -1 }), refused(/pad must be 0 to/))
  await t.rejects(ops.run('depthwise_conv2d', { x, weight }, { pad: 2 ** 31 - 1 }), refused(/pad must be 0 to/))
  await t.rejects(ops.run('depthwise_conv2d', { x, weight, bias: three }), refused(/bias must/))
  await t.rejects(ops.run('depthwise_conv2d', { x, weight, slope: three }), refused(/slope must/))
})
