// add_upsampled: a feature map plus a smaller one enlarged to its nearest neighbours, exactly; refusals.
import t from 'tap'
import { f32, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, largestError, numbers, sameBits, threadCounts } from '../fixtures/tensors'

const CASES = [
  { x: [1, 1, 1, 1], rows: 1, columns: 1 },
  { x: [2, 5, 7, 3], rows: 3, columns: 4 },
  { x: [1, 6, 10, 16], rows: 3, columns: 5 },
  { x: [1, 9, 4, 37], rows: 5, columns: 4 },
  { x: [1, 7, 8, 5], rows: 1, columns: 3 },
]

/** The definition, in float64. */
function reference(x: Tensor, y: Tensor): Float64Array {
  const [, height, width, channels] = x.shape as [number, number, number, number]
  const [, rows, columns] = y.shape as [number, number, number, number]
  return Float64Array.from(toFloat32(x), (value, at) => {
    const pixel = Math.floor(at / channels)
    const [b, i, j] = [Math.floor(pixel / width / height), Math.floor(pixel / width) % height, pixel % width]
    const from = (b * rows + Math.floor((i * rows) / height)) * columns + Math.floor((j * columns) / width)
    return value + toFloat32(y)[from * channels + (at % channels)]!
  })
}

for (const { isa, ops } of everyIsa()) {
  t.test(`exact: ${isa}`, async (t) => {
    const random = numbers(3)
    for (const { x: shape, rows, columns } of CASES) {
      const x = random.tensor(shape)
      const y = random.tensor([shape[0]!, rows, columns, shape[3]!])
      const { out } = await ops.run('add_upsampled', { x, y })
      t.strictSame(out.shape, shape)
      t.equal(largestError(toFloat32(out), reference(x, y).map(Math.fround)), 0, `[${x.shape}] + [${y.shape}]`)
    }
    await ops.dispose()
  })
}

t.test('any number of threads gives the same bits', async (t) => {
  const random = numbers(4)
  const tensors = { x: random.tensor([2, 33, 35, 12]), y: random.tensor([2, 17, 18, 12]) }
  const results = await Promise.all(threadCounts().map((ops) => ops.run('add_upsampled', tensors)))
  for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
})

t.test('refusals', async (t) => {
  await using ops = new OpContext()
  const refused = (message: RegExp) => ({ code: 'ERR_ICONFACE_INVALID_ARGUMENT', message })
  const x = f32([1, 4, 4, 2], new Array(32).fill(1))
  const large = f32([1, 5, 4, 2], new Array(40).fill(1))
  await t.rejects(ops.run('add_upsampled', { x, y: large }), refused(/must not be larger/))
  await t.rejects(ops.run('add_upsampled', { x, y: f32([1, 2, 2, 1], [1, 1, 1, 1]) }), refused(/y must/))
  await t.rejects(ops.run('add_upsampled', { x: numbers(5).picture(4, 4, 2), y: x }), refused(/x must/))
})
