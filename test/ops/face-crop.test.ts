// The face that the face encoder looks at: a similarity transform with a triangle filter.
import t from 'tap'
import { OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, largestError, numbers, sameBits, threadCounts } from '../fixtures/tensors'

/** Weights of the triangle around `u` for all pixels, outside ones included in the norm but not in the result. */
function triangle(u: number, radius: number, size: number): [index: number, weight: number][] {
  const all: [number, number][] = []
  for (let i = Math.floor(u - radius) - 1; i <= Math.ceil(u + radius) + 1; i++)
    all.push([i, Math.max(0, 1 - Math.abs(i - u) / radius)])
  const total = all.reduce((sum, [, w]) => sum + w, 0)
  return all.filter(([i]) => i >= 0 && i < size).map(([i, w]) => [i, w / total])
}

function reference(pixels: Tensor, matrix: number[], size: number): Float64Array {
  const [height, width] = pixels.shape as [number, number]
  const [a, b, tx, c, d, ty] = matrix as [number, number, number, number, number, number]
  const radius = Math.max(1, 1 / Math.sqrt(Math.abs(a * d - b * c)))
  const out = new Float64Array(size * size * 3)
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      const across = triangle((d * (x - tx) - b * (y - ty)) / (a * d - b * c), radius, width)
      const down = triangle((a * (y - ty) - c * (x - tx)) / (a * d - b * c), radius, height)
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0
        for (const [j, wj] of down)
          for (const [i, wi] of across) sum += wi * wj * (pixels.data[(j * width + i) * 3 + 2 - channel] as number)
        out[(y * size + x) * 3 + channel] = (sum / 255 - 0.5) / 0.5
      }
    }
  return out
}

const similarity = (scale: number, angle: number, tx: number, ty: number) => {
  const [cos, sin] = [scale * Math.cos(angle), scale * Math.sin(angle)]
  return [cos, -sin, tx, sin, cos, ty]
}

const CASES: [height: number, width: number, matrix: number[], size: number][] = [
  [60, 80, similarity(0.3, 0.2, 3, 4), 24],
  [50, 40, similarity(1.7, -1, 20, 30), 16], // enlarges: bilinear
  [33, 47, similarity(1, 0, 0, 0), 20],
  [30, 20, similarity(0.05, 0.7, 5, 5), 9], // partly outside
  [9, 9, similarity(0.5, 3, 100, 100), 7], // far outside
  [1, 1, similarity(0.8, 0.1, 0, 0), 5],
  [120, 130, similarity(0.2921, 0.05, -3, -2), 31],
  [20, 20, similarity(0.003, 0.3, 5, 5), 10], // one output pixel holds many pictures
  [25, 25, [-0.6, 0.1, 20, 0.1, 0.6, 1], 14], // mirrored
]

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const [height, width, matrix, size] of CASES) {
      const pixels = random.picture(height, width, 3)
      const { out } = await ops.run('face_crop', { pixels }, { matrix, size })
      t.strictSame(out.shape, [size, size, 3])
      const error = largestError(toFloat32(out), reference(pixels, matrix, size))
      t.ok(error < 1e-6, `${height} x ${width}, [${matrix.map((v) => v.toFixed(3))}]: ${error.toExponential(1)}`)
    }
  })
}

t.test('112 pixels; the identity copies, in the order B, G, R', async (t) => {
  const pixels = numbers(2).picture(112, 112, 3)
  const { out } = await new OpContext().run('face_crop', { pixels }, { matrix: [1, 0, 0, 0, 1, 0] })
  t.strictSame(out.shape, [112, 112, 3])
  const expected = Float64Array.from(
    { length: 112 * 112 * 3 },
    (_, i) => ((pixels.data[i - (i % 3) + 2 - (i % 3)] as number) / 255 - 0.5) / 0.5,
  )
  t.ok(largestError(toFloat32(out), expected) < 2e-7)
})

t.test('any number of threads gives the same bits', async (t) => {
  const pixels = numbers(3).picture(140, 150, 3)
  const params = { matrix: similarity(0.7, 0.1, 1, 2) }
  const results = await Promise.all(threadCounts().map((ops) => ops.run('face_crop', { pixels }, params)))
  for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
})

t.test('refusals', async (t) => {
  const ops = new OpContext()
  const pixels = numbers(4).picture(4, 4, 3)
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const run = (matrix: number[]) => ops.run('face_crop', { pixels }, { matrix })
  await t.rejects(run([1, 0, 0, 0, 1]), { code, message: /6 numbers/ })
  await t.rejects(run([1, 0, 0, 0, NaN, 0]), { code, message: /matrix/ })
  await t.rejects(run([1, 2, 0, 2, 4, 0]), { code, message: /scales by 0/ })
  await t.rejects(ops.run('face_crop', { pixels: numbers(5).picture(4, 4, 4) }, { matrix: [1, 0, 0, 0, 1, 0] }), {
    code,
    message: /pixels must be U8 \[\*, \*, 3\]/,
  })
})
