// Pictures to what the face detector reads, bit-exact with OpenCV's 8-bit bilinear resize.
import t from 'tap'
import { OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, numbers, sameBits } from '../fixtures/tensors'

function roundHalfToEven(x: number): number {
  const down = Math.floor(x)
  if (x - down !== 0.5) return Math.round(x)
  return down % 2 === 0 ? down : down + 1
}

/** For each of `to` results: two of `from` pixels, and their weights in 1/2048. */
function taps(from: number, to: number, wholeEdges: boolean) {
  const inside = (i: number) => Math.min(Math.max(i, 0), from - 1)
  return Array.from({ length: to }, (_, i) => {
    const u = Math.fround((i + 0.5) * (1 / (to / from)) - 0.5)
    const below = Math.floor(u)
    const edge = wholeEdges && (below < 0 || below >= from - 1)
    const weight = edge ? 0 : roundHalfToEven(Math.fround(Math.fround(u - below) * 2048))
    return { pixels: [inside(below), inside(below + 1)] as const, weights: [2048 - weight, weight] as const }
  })
}

/** [height, width, 3] U8, B, G, R. */
function reference(pixels: Tensor, height: number, width: number): Tensor {
  const [rows, columns] = pixels.shape as [number, number, number]
  const out = new Uint8Array(height * width * 3)
  const [down, across] = [taps(rows, height, false), taps(columns, width, true)]
  for (const [y, vertical] of down.entries()) {
    for (const [x, horizontal] of across.entries()) {
      for (let c = 0; c < 3; c++) {
        const line = (row: number) =>
          horizontal.pixels.reduce(
            (sum, column, k) =>
              sum + (pixels.data[(row * columns + column) * 3 + 2 - c] as number) * horizontal.weights[k]!,
            0,
          )
        const parts = vertical.pixels.map((row, k) => (vertical.weights[k]! * (line(row) >> 4)) >> 16)
        out[(y * width + x) * 3 + c] = (parts[0]! + parts[1]! + 2) >> 2
      }
    }
  }
  return { dtype: 'u8', shape: [height, width, 3], data: out }
}

for (const { isa, ops } of everyIsa()) {
  t.test(`exact: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const [from, to] of [
      [
        [1, 1],
        [1, 1],
      ],
      [
        [5, 7],
        [5, 7],
      ],
      [
        [9, 6],
        [15, 10],
      ],
      [
        [13, 11],
        [29, 31],
      ],
      [
        [1, 3],
        [4, 17],
      ],
      [
        [20, 31],
        [7, 12],
      ],
    ] as [[number, number], [number, number]][]) {
      const pixels = random.picture(...from, 3)
      const [height, width] = to
      const expected = reference(pixels, height, width)
      const narrow = (await ops.run('detector_input', { pixels }, { height, width, outDtype: 'u8' })).out
      t.ok(sameBits(narrow, expected), `[${from}] -> [${to}]`)
      const wide = (await ops.run('detector_input', { pixels }, { height, width })).out
      const means = [104, 117, 123]
      t.strictSame(
        [...toFloat32(wide)],
        Array.from(expected.data as Uint8Array, (v, i) => v - means[i % 3]!),
      )
    }
  })
}

t.test('refusals', async (t) => {
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const pixels = numbers(2).picture(4, 5, 3)
  await t.rejects(ops.run('detector_input', { pixels: numbers(3).picture(4, 5, 4) }), { code, message: /pixels must/ })
  await t.rejects(ops.run('detector_input', { pixels: numbers(3).tensor([4, 5, 3]) }), { code, message: /pixels must/ })
  for (const height of [0, -1, 0.5, NaN, 2 ** 40]) {
    await t.rejects(ops.run('detector_input', { pixels }, { height }), { code }, `height ${height}`)
  }
})
