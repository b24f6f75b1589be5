// max_pool2d: the largest value of a window, exactly; what lies around the map and NaN do not count; refusals.
import t from 'tap'
import { f32, OpContext, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, numbers, sameBits, threadCounts } from '../fixtures/tensors'
import { type Window, WINDOWS, windows } from '../fixtures/windows'

for (const { isa, ops } of everyIsa()) {
  t.test(`exact: ${isa}`, async (t) => {
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
    await ops.dispose()
  })
}

t.test('any number of threads gives the same bits', async (t) => {
  const x = numbers(3).tensor([2, 37, 41, 12])
  const results = await Promise.all(threadCounts().map((ops) => ops.run('max_pool2d', { x }, { size: 3, pad: 1 })))
  for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
})

t.test('refusals', async (t) => {
  await using ops = new OpContext()
  const refused = (message: RegExp) => ({ code: 'ERR_ICONFACE_INVALID_ARGUMENT', message })
  const x = f32([1, 4, 4, 2], new Array(32).fill(1))
  await t.rejects(ops.run('max_pool2d', { x }, { size: 3, pad: 2 }), refused(/pad must be 0 to half of size 3/))
  await t.rejects(ops.run('max_pool2d', { x }, { size: 2, pad: 2 ** 16 }), refused(/pad must be 0 to half of size 2/))
  await t.rejects(ops.run('max_pool2d', { x }, { size: -(2 ** 31) }), refused(/size must be 1/))
  await t.rejects(ops.run('max_pool2d', { x }, { size: 0 }), refused(/size must be 1/))
  await t.rejects(ops.run('max_pool2d', { x }, { size: 5 }), refused(/larger than the padded x/))
  await t.rejects(ops.run('max_pool2d', { x: f32([4, 4, 2], x.data as Float32Array) }), refused(/x must be/))
})
