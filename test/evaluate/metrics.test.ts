// PSNR, SSIM and the statistics against plain formulas; the landmark error against known shifts.
import t from 'tap'
import sharp from 'sharp'
import { landmarkError, psnr, ssim, type Point, type RgbImage } from '../../dist/evaluate/index.js'
import { readRgb } from '../../dist/evaluate/pixels.js'
import { estimate, pairedDifference } from '../../dist/evaluate/statistics.js'
import { numbers } from '../fixtures/tensors'
import { picture } from '../fixtures/tiny'

/** Smooth random structure, defined between pixels too, so that it can be shifted by any amount. */
function texture(side: number, [shiftX, shiftY]: Point = [0, 0], gain = 1, offset = 0): RgbImage {
  const data = new Uint8Array(side * side * 3)
  const waves = Array.from({ length: 24 }, (_, k) => {
    const [angle, length] = [k * 2.399, 6 + ((k * 7) % 17)]
    return [Math.cos(angle) / length, Math.sin(angle) / length, k * 1.7] as const
  })
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const phases = waves.map(([u, v, w]) => Math.sin(2 * Math.PI * (u * (x - shiftX) + v * (y - shiftY)) + w))
      const value = 128 + offset + gain * 12 * phases.reduce((a, b) => a + b)
      data.fill(Math.max(0, Math.min(255, Math.round(value))), 3 * (y * side + x), 3 * (y * side + x) + 3)
    }
  }
  return { data, width: side, height: side }
}

const landmarks: Point[] = [30, 50, 64, 78, 98].flatMap((x) => [36, 64, 90].map((y): Point => [x + 0.3, y]))

t.test('psnr is the formula', async (t) => {
  const [a, b] = [picture(3), picture(4)]
  const squares = a.data.reduce((sum, value, i) => sum + (value - b.data[i]!) ** 2, 0)
  t.equal(psnr(a, b), 10 * Math.log10((255 * 255) / (squares / a.data.length)))
  t.equal(psnr(a, a), Infinity)
  const darker = { ...a, data: a.data.map((value) => value - 16) }
  t.ok(Math.abs(psnr(darker, a) - 20 * Math.log10(255 / 16)) < 1e-9)
})

/** SSIM straight from its definition: a two-dimensional window, two passes for the variances. */
function plainSsim(a: RgbImage, b: RgbImage): number {
  const luma = ({ data }: RgbImage, i: number) =>
    0.299 * data[3 * i]! + 0.587 * data[3 * i + 1]! + 0.114 * data[3 * i + 2]!
  const window: [number, number, number][] = []
  for (let y = 0; y < 11; y++)
    for (let x = 0; x < 11; x++) window.push([x, y, Math.exp(-((x - 5) ** 2 + (y - 5) ** 2) / 4.5)])
  const total = window.reduce((sum, [, , w]) => sum + w, 0)
  const values: number[] = []
  for (let top = 0; top + 11 <= a.height; top++) {
    for (let left = 0; left + 11 <= a.width; left++) {
      const mean = (f: (i: number) => number) =>
        window.reduce((sum, [x, y, w]) => sum + (w / total) * f((top + y) * a.width + left + x), 0)
      const [ma, mb] = [mean((i) => luma(a, i)), mean((i) => luma(b, i))]
      const va = mean((i) => (luma(a, i) - ma) ** 2)
      const vb = mean((i) => (luma(b, i) - mb) ** 2)
      const cov = mean((i) => (luma(a, i) - ma) * (luma(b, i) - mb))
      values.push(((2 * ma * mb + 6.5025) * (2 * cov + 58.5225)) / ((ma ** 2 + mb ** 2 + 6.5025) * (va + vb + 58.5225)))
    }
  }
  return values.reduce((x, y) => x + y) / values.length
}

t.test('ssim agrees with its definition', async (t) => {
  for (const [a, b] of [
    [picture(3, 24), picture(4, 24)],
    [texture(30), texture(30, [0.7, -0.4], 0.6, 10)],
  ] as const) {
    const found = ssim(a, b)
    t.ok(Math.abs(found - plainSsim(a, b)) < 1e-9, `${found}`)
    t.ok(found < 0.99)
    t.equal(ssim(b, a), found)
    t.ok(Math.abs(ssim(a, a) - 1) < 1e-12)
  }
})

t.test('pictures that cannot be compared', async (t) => {
  const [a, b] = [picture(1, 20), picture(1, 24)]
  const invalid = (message: RegExp) => ({ code: 'ERR_ICONFACE_INVALID_ARGUMENT', message })
  for (const metric of [psnr, ssim, (x: RgbImage, y: RgbImage) => landmarkError(x, y, [], 10)]) {
    t.throws(() => metric(a, b), invalid(/the truth's size, 24 x 24, for the size of image but received "20 x 20"/))
    t.throws(() => metric(a, { ...a, height: 19 }), invalid(/1140 bytes \(20 x 19 x 3\) for truth\.data/))
    t.throws(() => metric('a.png' as never, a), invalid(/RGB pixels .* for image but received "a\.png"/))
    t.throws(() => metric(null as never, a), invalid(/RGB pixels .* for image but received null/))
  }
  t.throws(() => ssim(picture(1, 8), picture(1, 8)), invalid(/at least 11 x 11/))
  t.throws(
    () => landmarkError(a, a, undefined as never, 30),
    invalid(/list of \[x, y\] .* for landmarks but received undefined/),
  )
  t.throws(() => landmarkError(a, a, [], 0), invalid(/8 pixels or more for interocular but received 0/))
  t.throws(() => landmarkError(a, a, [[1, NaN]], 10), invalid(/\[x, y\] in pixels for a landmark/))
})

t.test('a picture has the landmarks of itself', async (t) => {
  const result = landmarkError(texture(128), texture(128), landmarks, 44)
  t.same(result, { mean: 0, used: 15, lost: 0, skipped: 0 })
})

t.test('a shifted picture has the shift as its error, whatever its brightness and contrast', async (t) => {
  const truth = texture(128)
  for (const shift of [
    [3, 0],
    [0, -5],
    [1.5, 2.25],
    [-0.4, 0.15],
  ] as Point[]) {
    const wanted = Math.hypot(...shift)
    for (const [gain, offset] of [
      [1, 0],
      [0.5, 30],
    ] as const) {
      const { mean, used } = landmarkError(texture(128, shift, gain, offset), truth, landmarks, 44)
      t.equal(used, 15)
      t.ok(Math.abs(mean! * 44 - wanted) < 0.05, `${shift}: ${mean! * 44} px found, ${wanted} px made`)
    }
  }
})

t.test('large pictures give the same fraction', async (t) => {
  const enlarge = ({ data, width, height }: RgbImage) =>
    sharp(data, { raw: { width, height, channels: 3 } })
      .resize(512, 512, { kernel: 'cubic' })
      .png()
      .toBuffer()
  const [truth, shifted] = await Promise.all(
    [texture(128), texture(128, [2, 1])].map(async (small) => readRgb(await enlarge(small), 'test', 512)),
  )
  const large = landmarks.map(([x, y]): Point => [4 * x + 1.5, 4 * y + 1.5])
  const { mean, used } = landmarkError(shifted!, truth!, large, 176)
  t.equal(used, 15)
  t.ok(Math.abs(mean! * 44 - Math.hypot(2, 1)) < 0.05, `${mean! * 44}`)
})

t.test('patches that say nothing about a place are left out, and counted', async (t) => {
  const flat = { data: new Uint8Array(64 * 64 * 3).fill(90), width: 64, height: 64 }
  t.same(landmarkError(flat, flat, [[32, 32]], 24), { mean: null, used: 0, lost: 0, skipped: 1 })
  const edge = { ...flat, data: flat.data.map((_, i) => (Math.floor(i / 3) % 64 < 32 ? 40 : 200)) }
  t.same(
    landmarkError(edge, edge, [[32, 32]], 24),
    { mean: null, used: 0, lost: 0, skipped: 1 },
    'it could slide along the edge',
  )
  t.same(
    landmarkError(
      texture(64),
      texture(64),
      [
        [1, 32],
        [32, 32],
      ],
      24,
    ),
    { mean: 0, used: 1, lost: 0, skipped: 1 },
  )
})

t.test('structure that is gone counts as far away, not as right', async (t) => {
  const { mean } = landmarkError(picture(5, 128), texture(128), landmarks, 44)
  t.ok(mean! > 0.08, `${mean}`)
  for (const grey of [0, 128, 255]) {
    const flat = { data: new Uint8Array(128 * 128 * 3).fill(grey), width: 128, height: 128 }
    const found = landmarkError(flat, texture(128), landmarks, 44)
    t.match(found, { used: 15, lost: 15, skipped: 0 }, `all ${grey}`)
    t.ok(Math.abs(found.mean! - 0.2 * Math.SQRT2) < 1e-12, `${found.mean}`)
  }
})

t.test('no displacement is larger than 0.2 sqrt(2)', async (t) => {
  // With eyes 8 pixels apart, the search of whole pixels and the step between pixels reach further than that.
  let largest = 0
  for (let x = 12; x < 52; x++) {
    const { mean } = landmarkError(texture(64, [2.45, 2.45]), texture(64), [[x, 30]], 8)
    largest = Math.max(largest, mean ?? 0)
  }
  t.ok(Math.abs(largest - 0.2 * Math.SQRT2) < 1e-12, `${largest}`)
})

/** Grey pixels of a function of the place. */
function grey(side: number, value: (x: number, y: number) => number): RgbImage {
  const data = new Uint8ClampedArray(side * side * 3)
  for (let i = 0; i < side * side; i++) data.fill(value(i % side, Math.floor(i / side)), 3 * i, 3 * i + 3)
  return { data: new Uint8Array(data.buffer), width: side, height: side }
}

t.test('a patch needs 2 grey levels a pixel in its weakest direction', async (t) => {
  // Waves of 8 pixels: the root mean square of their central differences is half of the amplitude.
  const waves = (across: number, down: number) =>
    grey(64, (x, y) => 128 + across * Math.sin((Math.PI * x) / 4) + down * Math.sin((Math.PI * y) / 4))
  for (const [across, down, used] of [
    [4.6, 4.6, 1],
    [3.4, 3.4, 0],
    [40, 3.4, 0],
    [3.4, 40, 0],
    [40, 4.6, 1],
  ] as const)
    t.match(landmarkError(waves(across, down), waves(across, down), [[32, 32]], 50), { used, skipped: 1 - used })
})

t.test('a patch is 0.16 of the distance of the eyes to every side, and a pixel more for its slopes', async (t) => {
  const image = texture(64)
  for (const [place, used] of [
    [9, 1],
    [8, 0],
    [54, 1],
    [55, 0],
  ] as const)
    for (const point of [
      [place, 32],
      [32, place],
    ] as Point[])
      t.equal(landmarkError(image, image, [point], 50).used, used, `${point}`)
})

t.test('a landmark is lost below a correlation of 0.4', async (t) => {
  const noise = (seed: number) => {
    const { normal } = numbers(seed)
    return Float64Array.from({ length: 128 * 128 }, normal)
  }
  const [own, foreign] = [noise(1), noise(2)]
  const truth = grey(128, (x, y) => 128 + 25 * own[128 * y + x]!)
  /** What correlates with the truth by so much, wherever one looks. */
  const alike = (c: number) =>
    grey(128, (x, y) => 128 + 25 * (c * own[128 * y + x]! + Math.sqrt(1 - c * c) * foreign[128 * y + x]!))
  const lost = (c: number) => landmarkError(alike(c), truth, landmarks, 44).lost
  t.equal(lost(0.65), 0)
  t.ok(lost(0.45) < 8, `${lost(0.45)} of 15`)
  t.ok(lost(0.25) > 12, `${lost(0.25)} of 15`)
})

t.test('pictures whose eyes are more than 64 pixels apart are reduced', async (t) => {
  const truth = texture(160)
  // A chequerboard hides everything, and is gone where four pixels become one.
  const hidden = grey(160, (x, y) => truth.data[3 * (160 * y + x)]! * 0.5 + 64 + ((x + y) % 2 ? 60 : -60))
  const points: Point[] = [60, 80, 100].flatMap((x) => [60, 80, 100].map((y): Point => [x, y]))
  t.match(landmarkError(hidden, truth, points, 64), { used: 9, lost: 9 })
  const reduced = landmarkError(hidden, truth, points, 65)
  t.match(reduced, { used: 9, lost: 0 })
  t.ok(reduced.mean! < 0.01, `${reduced.mean}`)
})

t.test('means and their intervals', async (t) => {
  t.equal(estimate([]), null)
  t.same(estimate([3]), { n: 1, mean: 3, interval: null })
  // t(0.975, n - 1) from published tables
  for (const [n, quantile] of [
    [2, 12.706],
    [3, 4.303],
    [6, 2.571],
    [11, 2.228],
    [31, 2.042],
    [200, 1.972],
  ] as const) {
    const values = Array.from({ length: n }, (_, i) => (i * 37) % 11)
    const { mean, interval } = estimate(values)!
    const spread = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1))
    const half = (interval![1] - interval![0]) / 2
    t.ok(Math.abs(half / ((quantile * spread) / Math.sqrt(n)) - 1) < 1e-3, `n = ${n}`)
    t.ok(Math.abs((interval![0] + interval![1]) / 2 - mean) < 1e-12)
  }
  t.match(pairedDifference([3, null, 5, 9], [1, 2, null, 5]), { n: 2, mean: 3 })
  t.equal(pairedDifference([null], [1]), null)
  t.throws(() => pairedDifference([1], [1, 2]), { code: 'ERR_ICONFACE_INVALID_ARGUMENT' })
})
