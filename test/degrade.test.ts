// Degradations: every operator against a plain reference, then what the pipelines promise.
import t, { type Test } from 'tap'
import { execFile } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import sharp from 'sharp'
import { blur, type Blur, kernelOf } from '../dist/degrade/blur.js'
import { Chain } from '../dist/degrade/chain.js'
import { compress } from '../dist/degrade/compress.js'
import { filter, mirrored, separate } from '../dist/degrade/filter.js'
import { degrade, type DegradeOptions, type RgbImage, strengthFor, trainingStrength } from '../dist/degrade/index.js'
import { besselJ1, gaussian, generalizedGaussian, type Kernel, plateau, sinc } from '../dist/degrade/kernels.js'
import { addNoise, NOISES } from '../dist/degrade/noise.js'
import { resize, RESIZE_FILTERS } from '../dist/degrade/resize.js'
import { rangesFor } from '../dist/degrade/strength.js'
import { Random } from '../dist/util/random.js'
import { sameBytes } from './fixtures/bytes'
import { plain, scratchFolder } from './fixtures/fake'
import { full } from './fixtures/tier'

const exec = promisify(execFile)
const MAIN = join(__dirname, '..', 'dist', 'cli', 'main.js')
const scratch = scratchFolder()

/** Soft shapes, edges and fine texture: something of everything a face has. */
function scene(width: number, height = width): RgbImage & { channels: 3 } {
  const data = new Uint8Array(width * height * 3)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [u, v] = [x / width - 0.5, y / height - 0.5]
      const inside = u * u * 1.5 + v * v < 0.12 ? 90 : 0
      const eye = Math.hypot(Math.abs(u) - 0.12, v + 0.08) < 0.035 ? -120 : 0
      const texture = 20 * Math.sin(60 * u) * Math.sin(45 * v)
      for (let c = 0; c < 3; c++) data[(y * width + x) * 3 + c] = 80 + 60 * u + inside + eye + texture + 12 * c
    }
  }
  return { data, width, height, channels: 3 }
}

function psnr(a: Uint8Array, b: Uint8Array): number {
  const square = a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0) / a.length
  return 10 * Math.log10(255 ** 2 / square)
}

function mean(values: ArrayLike<number>): number {
  return Array.from(values).reduce((sum, value) => sum + value, 0) / values.length
}

function deviation(values: ArrayLike<number>): number {
  const middle = mean(values)
  return Math.sqrt(mean(Array.from(values, (value) => (value - middle) ** 2)))
}

function near(t: Test, found: number, wanted: number, tolerance: number, what: string): void {
  t.ok(Math.abs(found - wanted) <= tolerance, `${what}: ${found} is near ${wanted}`)
}

const TILTED = { sigmaX: 2.4, sigmaY: 1.1, angle: 0.6 }
const KERNELS: Record<string, Kernel> = {
  isotropic: gaussian({ sigmaX: 1.5, sigmaY: 1.5, angle: 0 }),
  anisotropic: gaussian(TILTED),
  peaked: generalizedGaussian(TILTED, 0.6),
  flat: generalizedGaussian(TILTED, 3),
  plateau: plateau(TILTED, 1.3),
  sinc: sinc(1.4),
}

t.test('the generator: uniform, normal, Poisson, whole seeds', async (t) => {
  const random = new Random(5, 'test')
  const uniform = Array.from({ length: 20_000 }, () => random.uniform(2, 4))
  near(t, mean(uniform), 3, 0.02, 'uniform mean')
  near(t, deviation(uniform), 2 / Math.sqrt(12), 0.01, 'uniform deviation')
  const normal = Array.from({ length: 40_000 }, () => random.normal())
  near(t, mean(normal), 0, 0.02, 'normal mean')
  near(t, deviation(normal), 1, 0.015, 'normal deviation')
  near(t, mean(normal.map((x) => x ** 4)), 3, 0.2, 'normal kurtosis')
  for (const lambda of [0, 0.3, 4, 11.9, 12, 30, 900]) {
    const counts = Array.from({ length: 20_000 }, () => random.poisson(lambda))
    t.ok(counts.every((n) => Number.isInteger(n) && n >= 0))
    near(t, mean(counts), lambda, 0.03 * Math.sqrt(lambda), `Poisson mean of ${lambda}`)
    near(t, deviation(counts) ** 2, lambda, 0.05 * lambda, `Poisson variance of ${lambda}`)
  }
  const first = (seed: number, purpose = 'one') => new Random(seed, purpose).bits()
  t.equal(first(7), first(7))
  t.equal(new Set([first(0), first(1), first(2 ** 32), first(2 ** 32 + 1), first(0, 'two'), first(0, 'three')]).size, 6)
  t.same(random.shuffle([1, 2, 3, 4]).sort(), [1, 2, 3, 4])
  const picks = Array.from({ length: 4000 }, () => random.pick({ a: 3, b: 1, never: 0 }))
  near(t, picks.filter((name) => name === 'a').length / 4000, 0.75, 0.03, 'share of a')
  t.notOk(picks.includes('never'))
})

t.test('kernels: sum, symmetry, moments', async (t) => {
  for (const [name, { size, weights }] of Object.entries(KERNELS)) {
    t.equal(size % 2, 1, name)
    t.equal(weights.length, size * size)
    near(
      t,
      weights.reduce((a, b) => a + b, 0),
      1,
      1e-12,
      `${name} sum`,
    )
    t.ok(
      weights.every((weight, i) => Math.abs(weight - weights[weights.length - 1 - i]!) < 1e-15),
      `${name} mirrored`,
    )
  }
  // Covariance of the sampled bell against the formula R diag(sx^2, sy^2) R^T.
  const { size, weights } = gaussian({ ...TILTED, angle: 0.6 })
  const moment = (of: (x: number, y: number) => number) =>
    weights.reduce((sum, w, i) => sum + w * of((i % size) - (size - 1) / 2, Math.floor(i / size) - (size - 1) / 2), 0)
  const [cos, sin] = [Math.cos(0.6), Math.sin(0.6)]
  near(
    t,
    moment((x) => x * x),
    2.4 ** 2 * cos ** 2 + 1.1 ** 2 * sin ** 2,
    0.15,
    'variance along x',
  )
  near(
    t,
    moment((x, y) => x * y),
    (2.4 ** 2 - 1.1 ** 2) * sin * cos,
    0.15,
    'covariance',
  )
  // Profiles along a row, in standard deviations from the centre.
  const round = { sigmaX: 2, sigmaY: 2, angle: 0 }
  for (const [name, kernel, profile] of [
    ['Gaussian', gaussian(round), (d: number) => Math.exp(-0.5 * d * d)],
    ['generalized', generalizedGaussian(round, 0.6), (d: number) => Math.exp(-0.5 * d ** 1.2)],
    ['plateau', plateau(round, 1.3), (d: number) => 1 / (1 + d ** 2.6)],
  ] as const) {
    const centre = (kernel.weights.length - 1) / 2
    for (const pixels of [1, 2, 4, 6]) {
      near(t, kernel.weights[centre + pixels]! / kernel.weights[centre]!, profile(pixels / 2), 1e-12, name)
    }
  }
})

t.test('the sinc kernel passes what is below the cutoff, stops what is above, and rings', async (t) => {
  for (const [x, value] of [
    [0, 0],
    [1, 0.4400505857],
    [3.8317059702, 0],
    [10, 0.0434727462],
    [50, -0.0975118281],
  ])
    near(t, besselJ1(x!), value!, 1e-9, `J1(${x})`)
  const { size, weights } = sinc(1.4)
  const radius = (size - 1) / 2
  const response = (frequency: number) =>
    weights.reduce((sum, weight, i) => sum + weight * Math.cos(frequency * ((i % size) - radius)), 0)
  near(t, response(0.5), 1, 0.15, 'passed')
  near(t, response(2.4), 0, 0.15, 'stopped')
  t.ok(Math.min(...weights) < 0)
  t.same(sinc(Math.PI), { size: 1, weights: Float64Array.of(1) })
})

t.test('convolution: separable parts give the plain sum, borders mirror', async (t) => {
  t.same(
    [-3, -2, -1, 0, 1, 2, 3, 4, 5].map((i) => mirrored(i, 3)),
    [1, 2, 1, 0, 1, 2, 1, 0, 1],
  )
  t.equal(mirrored(-7, 1), 0)
  for (const [width, height] of [
    [13, 9],
    [3, 8],
    [1, 1],
  ]) {
    const image = scene(width!, height!)
    for (const [name, kernel] of Object.entries(KERNELS)) {
      const found = filter(image, kernel).data
      const wanted = plainConvolution(image, kernel)
      const worst = wanted.reduce((most, value, i) => Math.max(most, Math.abs(clamp(value) - found[i]!)), 0)
      t.ok(worst <= 1.01, `${name} ${width} x ${height}: off by ${worst}`)
    }
  }
  t.equal(separate(KERNELS.isotropic!).length, 1, 'a Gaussian along the axes is one product')
  t.ok(separate(KERNELS.anisotropic!).length > 1)
})

const clamp = (value: number) => Math.min(255, Math.max(0, value))

/** The definition, in float64. */
function plainConvolution({ data, width, height }: RgbImage, { size, weights }: Kernel): Float64Array {
  const radius = (size - 1) / 2
  return Float64Array.from(data, (_, i) => {
    const [x, y, c] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width), i % 3]
    return weights.reduce((sum, weight, k) => {
      const row = mirrored(y + Math.floor(k / size) - radius, height)
      const column = mirrored(x + (k % size) - radius, width)
      return sum + weight * data[(row * width + column) * 3 + c]!
    }, 0)
  })
}

t.test('a wide blur over a smaller copy is near the plain one', async (t) => {
  const image = scene(96)
  const wide: Blur = { kernel: 'anisotropic', sigma: 5, ratio: 2, angle: 0.5, shape: 1 }
  const direct = filter(image, kernelOf(wide)).data
  const difference = blur(image, wide).data.map((value, i) => Math.abs(value - direct[i]!))
  t.ok(mean(difference) < 1, `mean difference ${mean(difference)}`)
  t.equal(blur(image, { ...wide, sigma: 0.05 }), image, 'nothing to blur: the same picture')
})

t.test('noise: mean, deviation, equal over channels where grey', async (t) => {
  const flat = { ...plain(64, 64, 100), data: new Uint8Array(64 * 64 * 3).fill(100) }
  for (const kind of NOISES) {
    const { data } = addNoise(flat, kind, 10, new Random(3, 'test'))
    const [red, green, blue] = [0, 1, 2].map((c) => data.filter((_, i) => i % 3 === c)) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ]
    const sigma = kind.startsWith('poisson') ? 10 * Math.sqrt(100 / 255) : 10
    near(t, mean(data), 100, 0.6, `${kind} mean`)
    near(t, deviation(red), sigma, 0.4, `${kind} deviation`)
    const equal = red.every((value, i) => value === green[i] && value === blue[i])
    t.equal(equal, kind.endsWith('grey'), kind)
    t.ok(sameBytes(addNoise(flat, kind, 10, new Random(3, 'test')).data, data), 'same seed')
  }
  t.same(
    addNoise({ ...flat, data: flat.data.map(() => 0) }, 'poisson-colour', 20, new Random(1, 'test')).data.every(
      (v) => v === 0,
    ),
    true,
  )
})

t.test('resizing: filters keep plain colours, places and, for area, averages', async (t) => {
  for (const kind of RESIZE_FILTERS) {
    const flat = resize({ data: new Uint8Array(8 * 5 * 3).fill(77), width: 8, height: 5 }, 11, 3, kind)
    t.match(flat, { width: 11, height: 3 })
    t.ok(
      flat.data.every((value) => value === 77),
      kind,
    )
    for (const side of [20, 40, 96, 111]) {
      if (kind === 'nearest' && side === 20) continue // every third of 60: off by nature where the factor is even
      near(t, centroid(resize(spot(60), side, side, kind)) / side, 0.5, 0.003, `${kind} ${side}: centre`)
    }
  }
  const ramp = { data: Uint8Array.from([0, 10, 20, 30, 40, 50], (v) => v).slice(), width: 2, height: 1 }
  t.same([...resize(ramp, 1, 1, 'area').data], [15, 25, 35])
  const three = { data: Uint8Array.from([0, 0, 0, 60, 60, 60, 120, 120, 120]), width: 3, height: 1 }
  t.same([...resize(three, 2, 1, 'area').data.filter((_, i) => i % 3 === 0)], [20, 100])
  t.same([...resize(three, 6, 1, 'linear').data.filter((_, i) => i % 3 === 0)], [0, 15, 45, 75, 105, 120])
})

/** A bell of light in the middle. */
function spot(side: number): RgbImage {
  const middle = (side - 1) / 2
  const value = (i: number) =>
    200 * Math.exp(-(((Math.floor(i / 3) % side) - middle) ** 2 + (Math.floor(i / 3 / side) - middle) ** 2) / 40)
  return { data: Uint8Array.from({ length: side * side * 3 }, (_, i) => value(i)), width: side, height: side }
}

function centroid({ data, width }: RgbImage): number {
  const sum = data.reduce((a, b) => a + b, 0)
  return data.reduce((a, value, i) => a + value * ((Math.floor(i / 3) % width) + 0.5), 0) / sum
}

t.test('compression: worse with less quality', async (t) => {
  const image = scene(64, 48)
  for (const codec of ['jpeg', 'webp'] as const) {
    const qualities = await Promise.all(
      [95, 60, 20].map(async (q) => psnr((await compress(image, codec, q)).data, image.data)),
    )
    t.ok(qualities[0]! > qualities[1]! && qualities[1]! > qualities[2]!, `${codec} ${String(qualities)}`)
    t.match(await compress(image, codec, 50), { width: 64, height: 48 })
  }
})

t.test('strength: every range grows with it; severities are uniform within their bounds', async (t) => {
  for (const name of Object.keys(rangesFor(1)) as (keyof ReturnType<typeof rangesFor>)[]) {
    for (const end of [0, 1] as const) {
      const values = [0.5, 4, 8, 12, 16].map((strength) => rangesFor(strength)[name][end])
      const sorted = [...values].sort((a, b) => (name === 'quality' ? b - a : a - b))
      t.same(values, sorted, name)
    }
  }
  const seeds = Array.from({ length: 2000 }, (_, seed) => seed)
  for (const [severity, low, high] of [
    ['mild', 0, 3],
    ['moderate', 4, 8],
    ['severe', 9, 16],
  ] as const) {
    const strengths = seeds.map((seed) => strengthFor(severity, seed))
    t.ok(strengths.every((s) => s >= low && s < high))
    near(t, mean(strengths), (low + high) / 2, 0.15, severity)
  }
  const drawn = seeds.map(trainingStrength)
  near(t, drawn.filter((s) => s < 3).length / 2000, 0.5, 0.04, 'mild')
  near(t, drawn.filter((s) => s >= 9).length / 2000, 0.2, 0.03, 'severe')
  t.notOk(drawn.some((s) => (s > 3 && s < 4) || (s > 8 && s < 9)))
})

t.test('the same seed gives the same bytes, another one others; strength 0 changes nothing', async (t) => {
  const image = scene(48)
  for (const pipeline of ['real-esrgan', 'bsrgan'] as const) {
    const options = { strength: 7, seed: 2 ** 53 - 1, pipeline }
    const first = await degrade(image, options)
    t.ok(sameBytes((await degrade(image, options)).data, first.data))
    t.match(first, { width: 48, height: 48, channels: 3, pipeline })
    t.notOk(sameBytes((await degrade(image, { ...options, seed: 4 })).data, first.data))
    t.same(await degrade(image, { ...options, strength: 0 }), { ...image, pipeline, operations: [], warnings: [] })
    t.ok(psnr((await degrade(image, { ...options, strength: 0.01 })).data, image.data) > 40, 'next to nothing')
  }
  const chosen = await Promise.all(Array.from({ length: 60 }, (_, seed) => degrade(scene(8), { strength: 1, seed })))
  near(t, chosen.filter(({ pipeline }) => pipeline === 'bsrgan').length, 30, 12, 'half and half')
})

t.test('a strength too small to change a byte blurs nothing and adds no noise', async (t) => {
  const image = scene(16)
  for (const strength of [5e-324, 1e-320, 1e-160, 1e-20, 1e-3]) {
    for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
      const { data, operations } = await degrade(image, { strength, seed })
      const names = operations.map(({ name }) => name)
      t.notOk(names.includes('blur') || names.includes('noise'), `strength ${strength}, seed ${seed}: ${names.join()}`)
      t.ok(psnr(data, image.data) > 35, 'the same picture, but for its compression')
    }
  }
  for (const kind of NOISES) t.equal(addNoise(image, kind, 0.04, new Random(1, 'test')), image, kind)
  for (const kernel of ['isotropic', 'anisotropic', 'generalized', 'plateau', 'sinc'] as const) {
    for (const sigma of [0, 5e-324, 0.004, 0.006]) {
      t.equal(blur(image, { kernel, sigma, ratio: 4, angle: 1, shape: 1 }), image, `${kernel} ${sigma}`)
    }
  }
})

t.test('more strength, more damage, at every size', async (t) => {
  for (const side of full ? [64, 160] : [64]) {
    const image = scene(side)
    for (const pipeline of ['real-esrgan', 'bsrgan'] as const) {
      const quality: number[] = []
      for (const strength of [0.5, 2, 4, 8, 12, 16]) {
        const seeds = [1, 2, 3, 4, 5, 6]
        const results = await Promise.all(seeds.map((seed) => degrade(image, { strength, seed, pipeline })))
        quality.push(mean(results.map(({ data }) => psnr(data, image.data))))
      }
      const text = quality.map((q) => q.toFixed(1)).join(' ')
      t.ok(
        quality.every((q, i) => i === 0 || q < quality[i - 1]!),
        `${pipeline} ${side}: ${text} dB`,
      )
      t.ok(quality[0]! > 30 && quality.at(-1)! > 10, 'mild is mild, severe still a picture')
    }
  }
})

t.test('what was done is told in order, with numbers', async (t) => {
  const { operations } = await degrade(scene(128), { strength: 16, seed: 3, pipeline: 'real-esrgan' })
  const names = operations.map(({ name }) => name)
  t.ok(['blur', 'resize', 'noise'].every((name) => names.includes(name)))
  t.ok(names.includes('jpeg') || names.includes('webp'))
  t.match(operations.at(-1), { name: 'resize', width: 128, height: 128 })
  const { operations: shuffled } = await degrade(scene(128), { strength: 16, seed: 3, pipeline: 'bsrgan' })
  t.match(shuffled.at(-2), { name: 'jpeg', quality: Number })
  t.ok(
    shuffled.every((operation) => Object.values(operation).every((v) => typeof v === 'string' || Number.isFinite(v))),
  )
})

t.test('any picture: encoded, file, grey, alpha, tiny, long', async (t) => {
  const image = scene(40, 24)
  const options: DegradeOptions = { strength: 9, seed: 6 }
  const png = await sharp(image.data, { raw: image }).png().toBuffer()
  const path = join(scratch, 'scene.png')
  writeFileSync(path, png)
  const { data } = await degrade(image, options)
  t.ok(sameBytes((await degrade(png, options)).data, data))
  t.ok(sameBytes((await degrade(path, options)).data, data))
  const rgba = new Uint8Array(40 * 24 * 4)
  for (let i = 0; i < 40 * 24; i++) rgba.set([...image.data.subarray(3 * i, 3 * i + 3), 7], 4 * i)
  t.ok(sameBytes((await degrade({ data: rgba, width: 40, height: 24, channels: 4 }, options)).data, data))
  t.equal((await degrade({ data: new Uint8Array(64), width: 8, height: 8, channels: 1 }, options)).data.length, 192)
  const kept = image.data.slice()
  for (const pipeline of ['real-esrgan', 'bsrgan'] as const) {
    for (const [width, height] of [
      [8, 8],
      [1, 1],
      [3, 200],
      [200, 9],
    ]) {
      const result = await degrade(scene(width!, height!), { strength: 16, seed: 2, pipeline })
      t.match(result, { width, height })
      t.equal(result.data.length, width! * height! * 3)
    }
    await degrade(image, { ...options, pipeline })
  }
  t.ok(sameBytes(image.data, kept), 'the input stays as it was')
})

t.test('errors by code', async (t) => {
  const image = scene(8)
  const refuses = (options: unknown, message: RegExp, input: unknown = image) =>
    t.rejects(degrade(input as typeof image, options as DegradeOptions), { message })
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  await refuses({ strength: 17, seed: 1 }, /expected a number from 0 to 16 for strength but received 17/)
  await refuses({ strength: NaN, seed: 1 }, /strength but received NaN/)
  await refuses({ strength: '3', seed: 1 }, /strength but received "3"/)
  await refuses({ seed: 1 }, /strength but received undefined/)
  await refuses(undefined, /expected an object for options/)
  await refuses({ strength: 3, seed: -1 }, /seed but received -1/)
  await refuses({ strength: 3, seed: 2 ** 53 }, /seed but received 9007199254740992/)
  await refuses({ strength: 3, seed: 1, pipeline: 'esrgan' }, /'real-esrgan' or 'bsrgan' or 'auto' for pipeline/)
  await refuses({ strength: 3, seed: 1, strenght: 3 }, /unknown option 'strenght'.*'strength'/)
  await refuses({ strength: 3, seed: 1, signal: {} }, /an AbortSignal for signal/)
  await refuses({ strength: 3, seed: 1 }, /for input/, 5)
  await t.rejects(degrade(image, { strength: 17, seed: 1 }), { code })
  await t.rejects(degrade(Buffer.from('no picture'), { strength: 3, seed: 1 }), { code: 'ERR_ICONFACE_INVALID_IMAGE' })
  const huge = { data: new Uint8Array(4097 * 4096), width: 4097, height: 4096, channels: 1 as const }
  await t.rejects(degrade(huge, { strength: 3, seed: 1 }), { code: 'ERR_ICONFACE_INVALID_IMAGE' })
  await t.rejects(degrade('none.png', { strength: 3, seed: 1 }), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
  t.throws(() => strengthFor('hard' as 'mild', 1), { code })
  t.throws(() => strengthFor('mild', 0.5), { code })
  t.throws(() => trainingStrength(-1), { code })
})

t.test('sides: as long as WebP takes, whatever the seed, and never longer on the way', async (t) => {
  const code = 'ERR_ICONFACE_INVALID_IMAGE'
  for (const strength of [0, 4]) {
    const refused = degrade(scene(16384, 1), { strength, seed: 1 })
    await t.rejects(refused, { code, message: /of 16384 x 1 pixels one side is more than 16383/ })
  }
  await t.rejects(compress(scene(16384, 1), 'webp', 50), { code, message: /cannot compress 16384 x 1 pixels as webp/ })
  const chain = new Chain(scene(9000, 1), new Random(1, 'test'))
  await chain.shrinkTo(0.5)
  t.match(chain.image, { width: 16383, height: 2 })
  await chain.compress([50, 50], 'webp')
  t.match(await degrade(scene(16383, 1), { strength: 4, seed: 1 }), { width: 16383, height: 1 })
})

t.test('timers are heard between operations', async (t) => {
  const reason = new Error('enough')
  const stop = new AbortController()
  setTimeout(() => stop.abort(reason), 1)
  const chain = new Chain(scene(8), new Random(1, 'test'), stop.signal)
  const work = async () => {
    for (let i = 0; i < 10_000; i++) await chain.noise([5, 5], 'gaussian-colour')
  }
  await t.rejects(work(), { code: 'ERR_ICONFACE_ABORTED', cause: reason })
})

t.test('a signal stops it', async (t) => {
  const reason = new Error('enough')
  const signal = AbortSignal.abort(reason)
  const aborted = { code: 'ERR_ICONFACE_ABORTED', cause: reason }
  await t.rejects(degrade(scene(8), { strength: 0, seed: 1, signal }), aborted)
  const later = new AbortController()
  const running = degrade(scene(256), { strength: 16, seed: 1, signal: later.signal })
  later.abort(reason)
  await t.rejects(running, aborted)
})

t.test('the command writes the same picture and says what it did', async (t) => {
  const image = scene(32, 24)
  const [input, output] = [join(scratch, 'in.png'), join(scratch, 'out.png')]
  await sharp(image.data, { raw: image }).png().toFile(input)
  const run = (...args: string[]) => exec(process.execPath, [MAIN, 'degrade', ...args])
  const args = [input, '-o', output, '--strength', '6', '--seed', '5', '--pipeline', 'bsrgan']
  const { stdout } = await run(...args)
  const wanted = await degrade(input, { strength: 6, seed: 5, pipeline: 'bsrgan' })
  t.match(stdout, /^written +.*out\.png \(32 x 24, bsrgan, strength 6, seed 5\)\n/)
  t.match(stdout, /^jpeg +quality \d+$/m)
  t.ok(sameBytes(new Uint8Array(await sharp(readFileSync(output)).raw().toBuffer()), new Uint8Array(wanted.data)))
  const report = JSON.parse((await run(...args, '--json')).stdout) as object
  t.match(report, { strength: 6, seed: 5, pipeline: 'bsrgan', operations: wanted.operations })
  t.same(await run(...args, '-q'), { stdout: '', stderr: '' })
  const none = join(scratch, 'none.png')
  const fails = (stderr: RegExp, code: number, ...args: string[]) => t.rejects(run(...args), { code, stderr })
  await Promise.all([
    fails(/--strength is missing/, 2, input, '-o', none),
    fails(/-o is missing/, 2, input, '--strength', '3'),
    fails(/from 0 to 16 for strength but received 20/, 2, input, '-o', none, '--strength', '20'),
    fails(/one photo to degrade/, 2, '-o', none, '--strength', '3'),
    fails(/the extension of/, 2, input, '-o', join(scratch, 'none.bmp'), '--strength', '3'),
    fails(/FILE_NOT_FOUND/, 1, join(scratch, 'gone.png'), '-o', none, '--strength', '3'),
  ])
  t.notOk(existsSync(none))
})
