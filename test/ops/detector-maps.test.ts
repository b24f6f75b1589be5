// What the face detector has and no other network: depthwise convolutions, max-pooling, sums with an enlarged map.
import t from 'tap'
import { f32, OpContext, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, largestError, numbers, relativeError } from '../fixtures/tensors'

interface Window {
  shape: [number, number, number, number]
  kernel: [number, number]
  stride: number
  pad: number
}

const WINDOWS: Window[] = [
  { shape: [1, 1, 1, 1], kernel: [1, 1], stride: 1, pad: 0 },
  { shape: [2, 5, 7, 3], kernel: [3, 3], stride: 1, pad: 1 },
  { shape: [1, 9, 6, 8], kernel: [3, 3], stride: 2, pad: 1 },
  { shape: [1, 4, 11, 37], kernel: [2, 5], stride: 3, pad: 2 },
  { shape: [2, 3, 3, 16], kernel: [3, 3], stride: 1, pad: 0 },
  { shape: [1, 2, 2, 5], kernel: [5, 5], stride: 4, pad: 2 },
  { shape: [1, 3, 5, 2], kernel: [1, 4], stride: 1, pad: 2 }, // more padding than the kernel is high
]

/** Places of a window on `length` padded pixels. */
const places = (length: number, size: number, { stride, pad }: Window) =>
  Math.floor((length + 2 * pad - size) / stride) + 1

/** Calls `visit` with every result's index, channel, and the values that its window sees: offset in the kernel, in x. */
function* windows({ shape: [batch, height, width, channels], kernel: [kh, kw], ...rest }: Window) {
  const window = { shape: [batch, height, width, channels], kernel: [kh, kw], ...rest } as Window
  const [rows, columns] = [places(height, kh, window), places(width, kw, window)]
  for (let b = 0; b < batch; b++)
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++)
        for (let c = 0; c < channels; c++) {
          const seen: [tap: number, at: number][] = []
          for (let y = 0; y < kh; y++)
            for (let x = 0; x < kw; x++) {
              const [row, column] = [i * rest.stride + y - rest.pad, j * rest.stride + x - rest.pad]
              if (row < 0 || row >= height || column < 0 || column >= width) continue
              seen.push([(y * kw + x) * channels + c, ((b * height + row) * width + column) * channels + c])
            }
          yield { channel: c, seen }
        }
}

for (const { isa, ops } of everyIsa()) {
  t.test(`depthwise_conv2d: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const window of WINDOWS) {
      const { shape, kernel, stride, pad } = window
      const channels = shape[3]
      const x = random.tensor(shape)
      const weight = random.tensor([...kernel, channels])
      const bias = random.tensor([channels])
      const slope = random.tensor([channels])
      const plain: number[] = []
      const activated: number[] = []
      for (const { channel, seen } of windows(window)) {
        const sum = seen.reduce((s, [tap, at]) => s + toFloat32(weight)[tap]! * toFloat32(x)[at]!, 0)
        plain.push(sum)
        const y = sum + toFloat32(bias)[channel]!
        activated.push(y < 0 ? y * toFloat32(slope)[channel]! : y)
      }
      const run = async (more: object) =>
        toFloat32((await ops.run('depthwise_conv2d', { x, weight, ...more }, { stride, pad })).out)
      t.ok(relativeError(await run({}), plain) < 1e-6, `[${shape}] * [${kernel}] / ${stride}`)
      t.ok(relativeError(await run({ bias, slope }), activated) < 1e-6, 'bias and slope')
    }
  })

  t.test(`max_pool2d: ${isa}`, async (t) => {
    const random = numbers(2)
    for (const window of WINDOWS) {
      const { shape, kernel, stride } = window
      const [size, pad] = [kernel[0], Math.min(window.pad, kernel[0] >> 1)]
      const x = random.tensor(shape, () => random.normal() - 5) // so that a zero from the padding would be seen
      const square: Window = { ...window, kernel: [size, size], pad }
      const expected = [...windows(square)].map(({ seen }) => Math.max(...seen.map(([, at]) => toFloat32(x)[at]!)))
      const { out } = await ops.run('max_pool2d', { x }, { size, stride, pad })
      t.strictSame([...toFloat32(out)], expected, `[${shape}], ${size} / ${stride}`)
    }
    const { out } = await ops.run('max_pool2d', { x: f32([1, 2, 2, 1], [NaN, -1, -2, NaN]) })
    t.strictSame([...toFloat32(out)], [-1], 'a NaN does not count')
  })

  t.test(`add_upsampled: ${isa}`, async (t) => {
    const random = numbers(3)
    for (const [[batch, height, width, channels], [h, w]] of [
      [
        [1, 1, 1, 1],
        [1, 1],
      ],
      [
        [2, 5, 7, 3],
        [3, 4],
      ],
      [
        [1, 6, 10, 16],
        [3, 5],
      ],
      [
        [1, 9, 4, 37],
        [5, 4],
      ],
      [
        [1, 7, 8, 5],
        [1, 3],
      ],
    ] as [[number, number, number, number], [number, number]][]) {
      const x = random.tensor([batch, height, width, channels])
      const y = random.tensor([batch, h, w, channels])
      const expected = Float64Array.from(toFloat32(x), (value, at) => {
        const pixel = Math.floor(at / channels)
        const [b, i, j] = [Math.floor(pixel / width / height), Math.floor(pixel / width) % height, pixel % width]
        const from = (b * h + Math.floor((i * h) / height)) * w + Math.floor((j * w) / width)
        return value + toFloat32(y)[from * channels + (at % channels)]!
      })
      const { out } = await ops.run('add_upsampled', { x, y })
      t.ok(largestError(toFloat32(out), expected.map(Math.fround)) === 0, `[${x.shape}] + [${y.shape}]`)
    }
  })
}

t.test('refusals', async (t) => {
  const ops = new OpContext()
  const refused = (message: RegExp) => ({ code: 'ERR_ICONFACE_INVALID_ARGUMENT', message })
  const x = f32([1, 4, 4, 2], new Array(32).fill(1))
  const weight = f32([3, 3, 2], new Array(18).fill(1))
  const tooLarge = f32([5, 3, 2], new Array(30).fill(1))
  await t.rejects(
    ops.run('depthwise_conv2d', { x, weight: f32([3, 3, 1], new Array(9).fill(1)) }),
    refused(/weight must/),
  )
  await t.rejects(ops.run('depthwise_conv2d', { x, weight: tooLarge }), refused(/larger than the padded x/))
  await t.rejects(ops.run('depthwise_conv2d', { x, weight }, { stride: 0 }), refused(/stride must be at least 1/))
  await t.rejects(ops.run('depthwise_conv2d', { x, weight }, { pad: -1 }), refused(/pad must be 0 to/))
  await t.rejects(ops.run('depthwise_conv2d', { x, weight }, { pad: 2 ** 31 - 1 }), refused(/pad must be 0 to/))
  await t.rejects(ops.run('depthwise_conv2d', { x, weight, bias: f32([3], [1, 2, 3]) }), refused(/bias must/))
  await t.rejects(ops.run('max_pool2d', { x }, { size: 3, pad: 2 }), refused(/pad must be 0 to half of size 3/))
  await t.rejects(ops.run('max_pool2d', { x }, { size: 2, pad: 2 ** 16 }), refused(/pad must be 0 to half of size 2/))
  await t.rejects(ops.run('max_pool2d', { x }, { size: -(2 ** 31) }), refused(/size must be 1/))
  await t.rejects(ops.run('max_pool2d', { x }, { size: 0 }), refused(/size must be 1/))
  await t.rejects(ops.run('max_pool2d', { x }, { size: 5 }), refused(/larger than the padded x/))
  const large = f32([1, 5, 4, 2], new Array(40).fill(1))
  await t.rejects(ops.run('add_upsampled', { x, y: large }), refused(/must not be larger/))
  await t.rejects(ops.run('add_upsampled', { x, y: f32([1, 2, 2, 1], [1, 1, 1, 1]) }), refused(/y must/))
})
