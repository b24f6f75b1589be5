// What a degradation's seed means is frozen: every operation by itself on a small picture, the draws of both pipelines,
// and what a strength is. An implementation of its own in Python gave the same bytes, but for single ties of rounding.
// What sharp's encoders do belongs to its version and is only bounded.
import t from 'tap'
import { createHash } from 'node:crypto'
import { type Blur, blur } from '../dist/degrade/blur.js'
import { Chain } from '../dist/degrade/chain.js'
import { compress } from '../dist/degrade/compress.js'
import { degrade, type RgbImage, strengthFor, trainingStrength } from '../dist/degrade/index.js'
import { addNoise, NOISES } from '../dist/degrade/noise.js'
import { resize, RESIZE_FILTERS } from '../dist/degrade/resize.js'
import { rangesFor } from '../dist/degrade/strength.js'
import { Random } from '../dist/util/random.js'

/** Whole numbers, so the same on every machine. */
function scene(width: number, height: number): RgbImage & { channels: 3 } {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)]
    return (x * 23 + y * 41 + (i % 3) * 67 + ((x * x * 5 + y * y * 3) % 50)) % 256
  })
  return { data, width, height, channels: 3 }
}

/** Six bytes of the first row for readers, and the beginning of the SHA-256 of all. */
const digest = ({ data }: RgbImage) =>
  `${data.subarray(30, 36).join(' ')}; ${createHash('sha256').update(data).digest('hex').slice(0, 16)}`

const image = scene(11, 7)

t.test('blurs', async (t) => {
  const common = { sigma: 1.2, ratio: 2.5, angle: 0.7, shape: 1 }
  const frozen: [Partial<Blur> & Pick<Blur, 'kernel'>, string][] = [
    [{ kernel: 'isotropic' }, '111 68 132 84 143 147; d7731ec564d4641d'],
    [{ kernel: 'anisotropic' }, '116 69 136 93 140 143; f8082e75d50c259f'],
    [{ kernel: 'generalized', shape: 0.7 }, '121 86 142 109 139 132; 51a872e342de53d2'],
    [{ kernel: 'plateau', shape: 1.6 }, '119 76 134 95 136 139; f5f997e4434cdd28'],
    [{ kernel: 'sinc' }, '72 70 183 80 179 151; 42bcb4bdffa91471'],
  ]
  for (const [what, expected] of frozen) t.equal(digest(blur(image, { ...common, ...what })), expected, what.kernel)
})

t.test('wide blurs, over a copy of half or a third of the size', async (t) => {
  const blocks = { ...scene(60, 48) }
  for (let i = 0; i < blocks.data.length; i++) {
    const [x, y] = [Math.floor(i / 3) % 60, Math.floor(i / 180)]
    blocks.data[i] = (((x >> 4) + (y >> 4)) % 2 ? 220 : 30) - 10 * (i % 3)
  }
  const wide = (kernel: Blur['kernel'], sigma: number, shape = 1) =>
    digest(blur(blocks, { kernel, sigma, ratio: 2, angle: 0.5, shape }))
  t.equal(wide('isotropic', 5), '56 46 36 65 55 45; ff412fdc5d4cc7d0')
  t.equal(wide('anisotropic', 5), '67 57 47 76 66 56; d473f020ff20b1fa')
  t.equal(wide('generalized', 7, 0.7), '97 87 77 101 91 81; 34868c0fdaea6865')
  t.equal(wide('sinc', 5), '48 38 28 71 61 51; c923f8aec07f820c')
})

t.test('resizes', async (t) => {
  const frozen: Record<string, [shrunk: string, enlarged: string]> = {
    nearest: ['190 1 68 20 87 154; aa804967040bfbd8', '168 235 46 206 17 84; 447813eb627982fd'],
    area: ['180 77 78 123 64 131; 3f0ca48d3a803298', '175 195 53 206 17 84; 2131a1aaed72c113'],
    linear: ['175 76 85 117 69 130; 1d04ff8c475da618', '179 171 57 204 30 82; d801a7820d0ad73f'],
    cubic: ['186 75 74 120 57 128; 5c9b410973d5924b', '176 195 54 201 22 79; 9109df354093eb67'],
    mitchell: ['176 80 82 121 67 128; ab0c050fc42740ea', '179 177 57 202 36 80; 4a5670f2673b9f6e'],
    lanczos3: ['191 75 68 122 48 127; 72044379d46a06f9', '170 203 55 200 23 78; 00031abf9df1756c'],
  }
  t.same(Object.keys(frozen), RESIZE_FILTERS)
  for (const filter of RESIZE_FILTERS) {
    const both = [resize(image, 5, 4, filter), resize(image, 17, 12, filter)]
    t.same(both.map(digest), frozen[filter], filter)
  }
})

t.test('noises', async (t) => {
  const frozen: Record<string, string> = {
    'gaussian-colour': '222 24 89 63 111 171; 9d5073320538d3c2',
    'gaussian-grey': '228 39 106 34 101 168; 069ffa81e12d4bad',
    'poisson-colour': '228 47 106 42 114 183; 2a31e1faf329bbb4',
    'poisson-grey': '232 43 110 38 105 172; b07f5255095f090b',
  }
  t.same(Object.keys(frozen), NOISES)
  for (const kind of NOISES) t.equal(digest(addNoise(image, kind, 9, new Random(3, 'frozen'))), frozen[kind], kind)
})

t.test('compression: of the quality asked for, with colours at half size', async (t) => {
  // Stripes of two pixels' width in colour alone: what half of the resolution cannot hold.
  const side = 32
  const stripes: RgbImage = { data: new Uint8Array(side * side * 3), width: side, height: side }
  for (let i = 0; i < side * side; i++) stripes.data.set(i % 2 ? [200, 60, 60] : [20, 137, 60], 3 * i)
  const contrast = ({ data }: RgbImage) => Math.abs(data[3 * (5 * side + 10)]! - data[3 * (5 * side + 11)]!)
  for (const codec of ['jpeg', 'webp'] as const) {
    t.ok(contrast(await compress(stripes, codec, 100)) < 60, `${codec}: stripes of colour are mixed`)
    const original = scene(64, 48)
    const error = async (quality: number) => {
      const { data } = await compress(original, codec, quality)
      return Math.sqrt(data.reduce((sum, v, i) => sum + (v - original.data[i]!) ** 2, 0) / data.length)
    }
    const errors = [await error(100), await error(75), await error(30), await error(5)]
    t.ok(
      errors.every((e, i) => i === 0 || e > errors[i - 1]!),
      `${codec}: ${errors}`,
    )
  }
})

t.test('draws of both pipelines', async (t) => {
  const operations = async (pipeline: 'real-esrgan' | 'bsrgan') =>
    (await degrade(scene(96, 64), { strength: 9, seed: 5, pipeline })).operations
  t.same(await operations('real-esrgan'), [
    { name: 'blur', kernel: 'isotropic', sigma: 0.464 },
    { name: 'resize', filter: 'area', width: 97, height: 65 },
    { name: 'noise', kind: 'poisson-grey', sigma: 3.365 },
    { name: 'jpeg', quality: 63 },
    { name: 'resize', filter: 'area', width: 61, height: 41 },
    { name: 'noise', kind: 'gaussian-colour', sigma: 4.412 },
    { name: 'webp', quality: 58 },
    { name: 'resize', filter: 'mitchell', width: 96, height: 64 },
  ])
  t.same(await operations('bsrgan'), [
    { name: 'blur', kernel: 'generalized', sigma: 0.811, ratio: 3.898, angle: -1.002, shape: 2.099 },
    { name: 'resize', filter: 'linear', width: 78, height: 52 },
    { name: 'noise', kind: 'poisson-grey', sigma: 0.936 },
    { name: 'noise', kind: 'gaussian-grey', sigma: 10.786 },
    { name: 'resize', filter: 'area', width: 61, height: 41 },
    { name: 'jpeg', quality: 73 },
    { name: 'jpeg', quality: 58 },
    { name: 'resize', filter: 'mitchell', width: 96, height: 64 },
  ])
  // Of forty seeds each, which the implementation in Python drew alike.
  for (const [pipeline, expected] of [
    ['real-esrgan', '4260e3a048517605'],
    ['bsrgan', '6dc2eb6c5a90389d'],
  ] as const) {
    const all = []
    for (let seed = 0; seed < 40; seed++)
      all.push((await degrade(scene(64, 48), { strength: 8, seed, pipeline })).operations)
    t.equal(createHash('sha256').update(JSON.stringify(all)).digest('hex').slice(0, 16), expected, pipeline)
  }
  const pipelines = [0, 1, 2, 3, 4, 5].map(async (seed) => (await degrade(scene(8, 8), { strength: 0, seed })).pipeline)
  t.same(await Promise.all(pipelines), ['real-esrgan', 'bsrgan', 'bsrgan', 'real-esrgan', 'bsrgan', 'bsrgan'])
})

t.test('blurs and shrinking are relative to the shorter side, noise and quality are not', async (t) => {
  for (const [width, height, sigma] of [
    [512, 64, 1],
    [64, 512, 1],
    [128, 128, 2],
    [256, 300, 4],
  ] as const) {
    const chain = new Chain(scene(width, height), new Random(2, 'relative'))
    await chain.blur([8, 8], 0)
    t.match(chain.operations, [{ name: 'blur', sigma }], `${width} x ${height}`)
    await chain.noise([6, 6], 'gaussian-colour')
    await chain.compress([50, 50], 'jpeg')
    t.match(chain.operations.slice(1), [{ sigma: 6 }, { quality: 50 }])
  }
  const shrink = (width: number, height: number, factor: number) =>
    new Chain(scene(width, height), new Random(2, 'relative')).drawShrink([factor, factor])
  const near = (found: number, wanted: number, what: string) =>
    t.ok(Math.abs(found - wanted) < 1e-9, `${what}: ${found}`)
  near(shrink(256, 256, 8), 4, 'half the side, half the factor')
  near(shrink(128, 512, 8), 2, 'the shorter side')
  near(shrink(512, 128, 8), 2, 'the shorter side')
  near(shrink(64, 64, 4), 1, 'never enlarged')
  near(shrink(512, 512, 100), 64, '8 pixels are left')
  // After a resize, the blur is relative to the picture as it then is.
  const chain = new Chain(scene(128, 96), new Random(2, 'relative'))
  await chain.shrinkTo(2)
  await chain.blur([16, 16], 0)
  t.match(chain.operations, [{ width: 64, height: 48 }, { sigma: 1.5 }])
})

t.test('strengths', async (t) => {
  t.match(rangesFor(0), {
    blur: [0, 0],
    secondBlur: [0, 0],
    rings: [0, 0],
    shrink: [1, 1],
    noise: [0, 0],
    secondNoise: [0, 0],
    quality: [100, 100],
  })
  t.match(rangesFor(16), {
    blur: [2, 14],
    secondBlur: [1, 6],
    rings: [0, 1],
    shrink: [12, 30],
    noise: [2, 24],
    secondNoise: [1, 16],
    quality: [25, 60],
  })
  t.match(rangesFor(8), { blur: [1, 7], secondBlur: [0.5, 3], rings: [0, 0.5], noise: [1, 12], secondNoise: [0.5, 8] })
  t.same(
    rangesFor(8).shrink.map((v) => v.toFixed(4)),
    ['5.7880', '13.6230'],
  )
  t.same(
    rangesFor(8).quality.map((v) => v.toFixed(4)),
    ['56.9238', '77.0260'],
  )
  const rounded = (values: number[]) => values.map((v) => Number(v.toFixed(6)))
  t.same(rounded([0, 1, 2].map((seed) => strengthFor('mild', seed))), [1.761599, 0.697129, 1.403994])
  t.same(rounded([0, 1, 2].map((seed) => strengthFor('moderate', seed))), [6.348798, 4.929505, 5.871992])
  t.same(rounded([0, 1, 2].map((seed) => strengthFor('severe', seed))), [13.110397, 10.626634, 12.275986])
  t.same(
    rounded([0, 1, 2, 3, 4, 5].map(trainingStrength)),
    [13.110397, 10.626634, 5.871992, 5.128979, 1.704503, 4.277489],
  )
})
