// Every s-th row and column of a feature map.
import t from 'tap'
import { bf16, OpContext, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, numbers, sameBits } from '../fixtures/tensors'

const CASES: [number[], number][] = [
  [[1, 1, 1, 1], 2],
  [[2, 5, 7, 3], 2],
  [[1, 6, 8, 16], 2],
  [[1, 10, 11, 5], 3],
  [[1, 3, 3, 4], 1],
  [[1, 3, 5, 2], 9],
]

for (const { isa, ops } of everyIsa()) {
  t.test(`exact: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const [shape, stride] of CASES) {
      const [batch, height, width, channels] = shape as [number, number, number, number]
      const [rows, columns] = [Math.ceil(height / stride), Math.ceil(width / stride)]
      const wide = random.tensor(shape)
      const expected: number[] = []
      for (let b = 0; b < batch; b++)
        for (let i = 0; i < rows; i++)
          for (let j = 0; j < columns; j++)
            for (let c = 0; c < channels; c++)
              expected.push(toFloat32(wide)[((b * height + i * stride) * width + j * stride) * channels + c]!)
      const wideOut = (await ops.run('subsample', { x: wide }, { stride })).out
      t.strictSame(wideOut.shape, [batch, rows, columns, channels])
      t.strictSame([...toFloat32(wideOut)], expected)
      const narrow = (await ops.run('subsample', { x: bf16(shape, toFloat32(wide)) }, { stride })).out
      t.ok(sameBits(narrow, bf16(narrow.shape, expected)), `[${shape}] / ${stride}`)
    }
  })
}

t.test('refusals', async (t) => {
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const x = numbers(2).tensor([1, 4, 4, 2])
  await t.rejects(ops.run('subsample', { x }, { stride: 0 }), { code, message: /stride must be at least 1, but is 0/ })
  await t.rejects(ops.run('subsample', { x: numbers(3).tensor([4, 4, 2]) }), { code, message: /x must be/ })
  await t.rejects(ops.run('subsample', { x: numbers(3).picture(4, 4, 3) }), { code, message: /x must be/ })
})
