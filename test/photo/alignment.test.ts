// alignFace and checkAlignment: the fit against the originals, what cannot be aligned, and JSON out and in.
import t from 'tap'
import { isIConFaceError } from '../../dist/errors.js'
import { alignFace, type Alignment, checkAlignment, TEMPLATE_512, templateFor } from '../../dist/photo/alignment.js'
import type { Point } from '../../dist/photo/anchors.js'
import { type Five, fitSimilarity, inverseOf, leastSquares, mapped } from '../../dist/photo/similarity.js'
import { numbers } from '../fixtures/tensors'

const UPRIGHT: Five<Point> = [
  [126.5, 124.4],
  [172.4, 124.1],
  [150.8, 151.4],
  [131, 171.3],
  [170.3, 172.1],
]

const refused = (message: RegExp) => ({ code: 'ERR_ICONFACE_INVALID_ARGUMENT', message })
const near = (a: readonly number[], b: readonly number[], most: number) =>
  a.every((value, i) => Math.abs(value - b[i]!) <= most)

t.test('landmarks that fit the template exactly give the similarity they were made with', async (t) => {
  const { uniform } = numbers(1)
  for (let i = 0; i < 100; i++) {
    const [angle, scale] = [uniform() * 2 * Math.PI, 0.05 * 40 ** uniform()]
    const [a, b] = [scale * Math.cos(angle), scale * Math.sin(angle)]
    const matrix = [a, -b, uniform() * 4000 - 2000, b, a, uniform() * 4000 - 2000] as const
    const options = { size: 16 * Math.ceil(uniform() * 64), cropScale: 1 + uniform(), cropShift: uniform() / 2 - 0.25 }
    const landmarks = templateFor(options).map((point) => mapped(inverseOf(matrix), point)) as unknown as Five<Point>
    const found = alignFace(landmarks, options)
    t.ok(near(found.matrix, matrix, 1e-6 * Math.max(1, scale)), `${found.matrix} for ${matrix}`)
    t.strictSame(found.inliers, [true, true, true, true, true])
    for (const point of landmarks) t.ok(near(mapped(found.inverse, mapped(found.matrix, point)), point, 1e-8))
  }
})

t.test('one landmark far off is left out', async (t) => {
  for (const wrong of [0, 1, 2, 3, 4]) {
    const landmarks = TEMPLATE_512.map(([x, y], i) =>
      i === wrong ? [x + 60, y - 40] : [x, y],
    ) as unknown as Five<Point>
    const { matrix, inliers } = alignFace(landmarks)
    t.strictSame(
      inliers,
      [0, 1, 2, 3, 4].map((i) => i !== wrong),
    )
    t.ok(near(matrix, [1, 0, 0, 0, 1, 0], 1e-4), `${matrix}`)
  }
})

t.test('where all landmarks agree, the fit is least squares', async (t) => {
  const { normal } = numbers(2)
  let all = 0
  for (let i = 0; i < 200; i++) {
    const to = TEMPLATE_512.map(([x, y]) => [x + 3 * normal(), y + 3 * normal()]) as unknown as Five<Point>
    const { matrix, inliers } = fitSimilarity(UPRIGHT, to)
    const kept = [0, 1, 2, 3, 4].filter((i) => inliers[i])
    t.ok(kept.length >= 3)
    t.strictSame(
      matrix,
      leastSquares(
        kept.map((i) => UPRIGHT[i]!),
        kept.map((i) => to[i]!),
      ),
    )
    if (kept.length === 5) all++
  }
  t.ok(all > 100 && all < 200, `${all} of 200 follow all five`)
})

t.test('the crop', async (t) => {
  const centre = (alignment: Alignment) => mapped(alignment.matrix, UPRIGHT[2])
  const plain = alignFace(UPRIGHT)
  t.match(plain, { size: 512, border: 'constant', cropScale: 1, cropShift: 0 })
  t.ok(
    near(
      alignFace(UPRIGHT, { size: 256 }).matrix,
      plain.matrix.map((v) => v / 2),
      1e-3,
    ),
    'a smaller size',
  )
  const wide = alignFace(UPRIGHT, { cropScale: 2 })
  t.ok(near([wide.matrix[0]], [plain.matrix[0] / 2], 1e-6), 'twice as much')
  const lower = alignFace(UPRIGHT, { cropShift: 0.25 })
  t.ok(near(centre(lower), [centre(plain)[0], centre(plain)[1] + 128], 1e-3), 'a quarter further down')
})

t.test('landmarks and options that cannot be', async (t) => {
  const align = (landmarks: unknown, options?: object) => () => alignFace(landmarks as Five<Point>, options)
  const spread = (x: (i: number) => number, y: (i: number) => number) => [0, 1, 2, 3, 4].map((i) => [x(i), y(i)])
  t.throws(
    align(
      spread(
        () => 5,
        () => 5,
      ),
    ),
    refused(/five points of a face.*received \[5, 5\] \[5, 5\]/),
  )
  t.throws(
    align(
      spread(
        (i) => i,
        (i) => 3 * i,
      ),
    ),
    refused(/not on one line/),
  )
  t.throws(
    align(
      spread(
        (i) => 1e5 * i,
        (i) => (i % 2) * 20,
      ),
    ),
    refused(/not on one line/),
  )
  t.throws(align(UPRIGHT.map(([x, y]) => [x * 1e-7, y * 1e-7])), refused(/scaled by 0.0001 to 10000/))
  t.throws(align([[NaN, 1], ...UPRIGHT.slice(1)]), refused(/landmarks\[0\].*NaN/))
  t.throws(align([...UPRIGHT.slice(1), [1, 1e12]]), refused(/landmarks\[4\].*1000000000000/))
  t.throws(align([...UPRIGHT.slice(1), [1, Infinity]]), refused(/landmarks\[4\]/))
  t.throws(align([...UPRIGHT.slice(1), ['1', '2']]), refused(/landmarks\[4\]/))
  t.throws(align(UPRIGHT.slice(1)), refused(/five points/))
  t.throws(align(null), refused(/five points/))
  t.throws(align(UPRIGHT, { size: 15 }), refused(/an integer from 16 to 4096 for size but received 15/))
  t.throws(align(UPRIGHT, { size: 512.5 }), refused(/size/))
  t.throws(align(UPRIGHT, { border: 'wrap' }), refused(/'reflect101' for border but received "wrap"/))
  t.throws(align(UPRIGHT, { cropScale: 0 }), refused(/cropScale/))
  t.throws(align(UPRIGHT, { cropShift: NaN }), refused(/cropShift/))
  t.throws(align(UPRIGHT, { cropSift: 0 }), refused(/did you mean 'cropShift'/))
})

t.test('out as JSON and in again', async (t) => {
  const made = alignFace(UPRIGHT, { size: 128, border: 'reflect', cropScale: 1.35, cropShift: -0.1 })
  const text = JSON.stringify(made)
  const read = checkAlignment(JSON.parse(text))
  t.strictSame(read, made)
  t.equal(JSON.stringify(read), text)
  // Every field, missing or of another kind, is refused under its own name.
  const wrong: { [Field in keyof Alignment]: unknown[] } = {
    size: [0, 8192, '128'],
    matrix: [[1, 2], [1, 0, 0, 0, 1, NaN], [1, 0.5, 0, 0, 1, 0], [1, 0, 0, 0, -1, 0], [0, 0, 0, 0, 0, 0], 'abc'],
    inverse: [made.matrix, [1, 0, 0, 0, 1, 0], [1e9, 0, 0, 0, 1e9, 0], null],
    landmarks: [[], [...UPRIGHT.slice(1), [1]]],
    inliers: [[true], [1, 1, 1, 1, 1]],
    border: ['mirror'],
    cropScale: [100, '1'],
    cropShift: [2, null],
  }
  for (const [field, values] of Object.entries(wrong))
    for (const value of [...values, undefined])
      t.throws(() => checkAlignment({ ...made, [field]: value }), refused(new RegExp(`alignment\\.${field}`)), field)
  for (const value of [undefined, null, 'text', [], 5]) t.throws(() => checkAlignment(value), refused(/alignment/))
  t.throws(() => checkAlignment({ ...made, scale: 1 }), refused(/unknown alignment field 'scale'/))
})

t.test('no JSON, however damaged, throws anything else', async (t) => {
  const { uniform } = numbers(3)
  const values = [null, -1, 0, 1e300, 'a', [], {}, [[]], NaN, true]
  let refusals = 0
  for (let i = 0; i < 500; i++) {
    const copy = JSON.parse(JSON.stringify(alignFace(UPRIGHT))) as Record<string, unknown>
    const field = Object.keys(copy)[Math.floor(uniform() * 8)]!
    const value = values[Math.floor(uniform() * values.length)]
    if (Array.isArray(copy[field]) && uniform() < 0.7) (copy[field] as unknown[])[Math.floor(uniform() * 6)] = value
    else copy[field] = value
    try {
      checkAlignment(copy)
    } catch (error) {
      refusals++
      t.ok(isIConFaceError(error), String(error))
    }
  }
  t.ok(refusals > 300, `${refusals} refusals`)
})
