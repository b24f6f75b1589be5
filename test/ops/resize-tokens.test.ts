// Bilinear resize of token grids, half-pixel centres.
import t from 'tap'
import { OpContext, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, numbers, relativeError, sameBits, threadCounts } from '../fixtures/tensors'

type Grid = [rows: number, columns: number]

/** The definition, in float64: every source cell weighs 1 - its distance from the sampled point, edges held. */
function reference(
  x: ArrayLike<number>,
  [rows, columns]: Grid,
  [toRows, toColumns]: Grid,
  width: number,
): Float64Array {
  const weight = (to: number, from: number, size: number, toSize: number) => {
    const at = Math.min(Math.max(((to + 0.5) * size) / toSize - 0.5, 0), size - 1)
    return Math.max(0, 1 - Math.abs(at - from))
  }
  const out = new Float64Array(toRows * toColumns * width)
  for (let i = 0; i < out.length; i++) {
    const [row, column] = [Math.floor(i / width / toColumns), Math.floor(i / width) % toColumns]
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++)
        out[i]! +=
          weight(row, r, rows, toRows) *
          weight(column, c, columns, toColumns) *
          x[(r * columns + c) * width + (i % width)]!
  }
  return out
}

const params = ([rowsX, columnsX]: Grid, [rowsOut, columnsOut]: Grid) => ({ rowsX, columnsX, rowsOut, columnsOut })

const CASES: [Grid, Grid, number][] = [
  [[1, 1], [1, 1], 3],
  [[1, 1], [4, 3], 5],
  [[2, 3], [4, 6], 16],
  [[5, 7], [3, 2], 33],
  [[4, 4], [9, 5], 64],
  [[16, 8], [5, 31], 8],
]

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const [from, to, width] of CASES) {
      const x = random.tensor([from[0] * from[1], width])
      const { out } = await ops.run('resize_tokens', { x }, params(from, to))
      t.strictSame(out.shape, [to[0] * to[1], width])
      const error = relativeError(toFloat32(out), reference(toFloat32(x), from, to, width))
      t.ok(error < 3e-7, `${from} to ${to}: ${error.toExponential(1)}`)
    }
  })

  t.test(`equal grids change nothing: ${isa}`, async (t) => {
    for (const grid of [
      [3, 5],
      [32, 32],
      [47, 1],
    ] as Grid[]) {
      const x = numbers(2).tensor([grid[0] * grid[1], 7])
      t.ok(sameBits((await ops.run('resize_tokens', { x }, params(grid, grid))).out, x))
    }
  })
}

t.test('any number of threads gives the same bits', async (t) => {
  const x = numbers(3).tensor([35, 65])
  const results = await Promise.all(
    threadCounts().map((ops) => ops.run('resize_tokens', { x }, params([5, 7], [11, 13]))),
  )
  for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
})

t.test('refusals', async (t) => {
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const x = numbers(4).tensor([6, 2])
  await t.rejects(ops.run('resize_tokens', { x }, params([2, 2], [4, 4])), {
    code,
    message: /x must be F32 \[4, 2\], not F32 \[6, 2\]/,
  })
  await t.rejects(ops.run('resize_tokens', { x }, params([2, 3], [0, 4])), { code, message: /rowsOut/ })
})
