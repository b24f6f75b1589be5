// What the detail route pools: tokens minus the mean of their neighbourhood.
import t from 'tap'
import { f32, OpContext, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, largestError, numbers, relativeError, sameBits, threadCounts } from '../fixtures/tensors'

/** The definition, in float64. */
function reference(x: ArrayLike<number>, rows: number, columns: number, width: number): Float64Array {
  return Float64Array.from(x, (value, i) => {
    const [row, column] = [Math.floor(i / width / columns), Math.floor(i / width) % columns]
    const window: number[] = []
    for (let r = row - 1; r <= row + 1; r++)
      for (let c = column - 1; c <= column + 1; c++)
        if (r >= 0 && r < rows && c >= 0 && c < columns) window.push(x[(r * columns + c) * width + (i % width)]!)
    return value - window.reduce((a, b) => a + b) / window.length
  })
}

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const [rows, columns, width] of [
      [1, 1, 5],
      [1, 7, 16],
      [5, 1, 3],
      [2, 2, 33],
      [7, 11, 64],
    ] as const) {
      const x = random.tensor([rows * columns, width])
      const { out } = await ops.run('token_detail', { x }, { rows, columns })
      t.strictSame(out.shape, x.shape)
      const expected = reference(toFloat32(x), rows, columns, width)
      t.ok(largestError(toFloat32(out), expected) < 1e-6, `${rows} x ${columns}, ${width} wide`)
      if (rows * columns > 1) t.ok(relativeError(toFloat32(out), expected) < 3e-7)
    }
  })
}

t.test('an even grid has no detail', async (t) => {
  const x = f32([12, 8], new Float64Array(96).fill(0.3))
  const { out } = await new OpContext().run('token_detail', { x }, { rows: 3, columns: 4 })
  t.ok(largestError(toFloat32(out), new Float64Array(96)) < 1e-7)
})

t.test('any number of threads gives the same bits', async (t) => {
  const x = numbers(2).tensor([35, 65])
  const results = await Promise.all(
    threadCounts().map((ops) => ops.run('token_detail', { x }, { rows: 5, columns: 7 })),
  )
  for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
})

t.test('refusals', async (t) => {
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const x = numbers(3).tensor([6, 2])
  await t.rejects(ops.run('token_detail', { x }, { rows: 2, columns: 2 }), {
    code,
    message: /x must be F32 \[4, 2\], not F32 \[6, 2\]/,
  })
  await t.rejects(ops.run('token_detail', { x }, { rows: 0, columns: 2 }), { code, message: /rows/ })
})
