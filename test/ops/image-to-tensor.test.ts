// image_to_tensor: pictures to tensors, bit-exact with Pillow's 8-bit bicubic; refusals.
import t from 'tap'
import { f32, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { references } from '../fixtures/golden'
import { everyIsa, largestError, numbers, sameBits, threadCounts } from '../fixtures/tensors'

const u8 = (shape: number[], data: ArrayLike<number>): Tensor => ({ dtype: 'u8', shape, data: Uint8Array.from(data) })

// ---- the same resize, written as plainly as possible ----------------------------------------------------------------

function cubic(x: number): number {
  const d = Math.abs(x)
  if (d < 1) return 1.5 * d ** 3 - 2.5 * d ** 2 + 1
  return d < 2 ? -0.5 * d ** 3 + 2.5 * d ** 2 - 4 * d + 2 : 0
}

/** For each of `to` results: the weight of every one of `from` pixels, in units of 2^-22. */
function weightMatrix(from: number, to: number): number[][] {
  const scale = from / to
  const widening = Math.max(scale, 1)
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale
    const first = Math.max(0, Math.trunc(centre - 2 * widening + 0.5))
    const end = Math.min(from, Math.trunc(centre + 2 * widening + 0.5))
    const raw = Array.from({ length: from }, (_, p) =>
      p < first || p >= end ? 0 : cubic((p + 0.5 - centre) / widening),
    )
    const total = raw.reduce((a, b) => a + b, 0)
    return raw.map((w) => Math.trunc((w / total) * 2 ** 22 + Math.sign(w) * 0.5))
  })
}

/** Applies a weight matrix to one line of values, rounding to 8 bits. */
function filter(matrix: number[][], value: (index: number) => number): number[] {
  return matrix.map((weights) => {
    let sum = 2 ** 21
    for (let p = 0; p < weights.length; p++) if (weights[p] !== 0) sum += weights[p]! * value(p)
    return Math.min(255, Math.max(0, Math.floor(sum / 2 ** 22)))
  })
}

function roundHalfToEven(x: number): number {
  const down = Math.floor(x)
  if (x - down !== 0.5) return Math.round(x)
  return down % 2 === 0 ? down : down + 1
}

function reference(pixels: Tensor, size: number): Tensor {
  const [height, width, channels] = pixels.shape as [number, number, number]
  const short = Math.min(height, width)
  const [tall, wide] = [Math.floor((height * size) / short), Math.floor((width * size) / short)]
  const [top, left] = [roundHalfToEven((tall - size) / 2), roundHalfToEven((wide - size) / 2)]
  const across = weightMatrix(width, wide).slice(left, left + size)
  const down = weightMatrix(height, tall).slice(top, top + size)
  const out = new Uint8Array(size * size * 3)
  for (let c = 0; c < 3; c++) {
    const narrowed = Array.from({ length: height }, (_, y) =>
      filter(across, (x) => pixels.data[(y * width + x) * channels + c] as number),
    )
    for (let x = 0; x < size; x++)
      filter(down, (y) => narrowed[y]![x]!).forEach((v, y) => (out[(y * size + x) * 3 + c] = v))
  }
  return u8([size, size, 3], out)
}

const normalised = (levels: Tensor) =>
  Float32Array.from(levels.data as Uint8Array, (v) => Math.fround(Math.fround(Math.fround(v / 255) - 0.5) / 0.5))

// ---- tests ----------------------------------------------------------------------------------------------------------

// Height, width, size.
const CASES = [
  [1, 1, 1],
  [1, 1, 17],
  [2, 1, 5],
  [1, 9, 3],
  [3, 200, 7],
  [37, 53, 37], // an axis that keeps its length
  [53, 37, 37],
  [16, 16, 16],
  [101, 67, 64],
  [67, 101, 23],
  [150, 133, 31],
  [300, 3, 3], // rows shorter than a vector
  [3, 300, 8],
  [5, 7, 130],
  [200, 201, 3], // wide kernels
] as const

for (const { isa, ops } of everyIsa()) {
  t.test(`every bit of the plain resize: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const [height, width, size] of CASES)
      for (const channels of [3, 4]) {
        const pixels = random.picture(height, width, channels)
        // Black and white make the filter overshoot, which the 8 bits cut off.
        if (size % 2 === 1) pixels.data = Uint8Array.from(pixels.data as Uint8Array, (v) => (v > 127 ? 255 : 0))
        const expected = reference(pixels, size)
        const levels = (await ops.run('image_to_tensor', { pixels }, { size, outDtype: 'u8' })).out
        t.ok(sameBits(levels, expected), `${height} x ${width} x ${channels} to ${size}`)
        const { out } = await ops.run('image_to_tensor', { pixels }, { size })
        t.strictSame(out.shape, [size, size, 3])
        t.ok(sameBits(out, { ...out, data: normalised(expected) }), 'and in f32')
      }
  })
}

t.test('a plain picture stays plain', async (t) => {
  const ops = new OpContext()
  for (const level of [0, 1, 127, 254, 255]) {
    const { out } = await ops.run(
      'image_to_tensor',
      { pixels: u8([61, 45, 3], new Uint8Array(61 * 45 * 3).fill(level)) },
      { size: 32, outDtype: 'u8' },
    )
    t.ok(
      (out.data as Uint8Array).every((v) => v === level),
      `level ${level}`,
    )
  }
})

t.test('alpha is dropped, not composited', async (t) => {
  const ops = new OpContext()
  const rgb = numbers(3).picture(40, 50, 3)
  const rgba = u8(
    [40, 50, 4],
    Uint8Array.from({ length: 8000 }, (_, i) => (i % 4 === 3 ? i % 251 : (rgb.data[(i >> 2) * 3 + (i % 4)] as number))),
  )
  const [a, b] = [
    await ops.run('image_to_tensor', { pixels: rgb }, { size: 24 }),
    await ops.run('image_to_tensor', { pixels: rgba }, { size: 24 }),
  ]
  t.ok(sameBits(a.out, b.out))
})

t.test('any number of threads gives the same bits', async (t) => {
  const pixels = numbers(4).picture(211, 307, 3)
  const results = await Promise.all(threadCounts().map((ops) => ops.run('image_to_tensor', { pixels }, { size: 97 })))
  for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
})

for (const golden of references('flux/preprocess.safetensors'))
  t.test(`as ${golden.source} preprocesses`, async (t) => {
    const { tensors, metadata } = golden
    const ops = new OpContext()
    const images = JSON.parse(metadata.images!) as Record<
      string,
      { geometry: Record<string, { crop_left: number; crop_top: number }> }
    >
    const channelsLast = (name: string): Tensor => {
      const { shape, data } = tensors.get(name)!
      const [channels, height, width] = shape as [number, number, number]
      const at = (i: number) => Number(data[(i % channels) * height * width + Math.floor(i / channels)])
      return f32(
        [height, width, channels],
        Float64Array.from({ length: data.length }, (_, i) => at(i)),
      )
    }
    for (const [name, { geometry }] of Object.entries(images))
      for (const [resolution, { crop_left: left, crop_top: top }] of Object.entries(geometry)) {
        const size = Number(resolution)
        const source = tensors.get(`input.${name}.pixels_u8`)!
        const pixels = u8(source.shape, source.data as Uint8Array)
        const resized = tensors.get(`intermediate.${name}.r${size}.resized_u8`)!
        const wide = resized.shape[1]!
        const crop = Array.from({ length: size }, (_, y) =>
          (resized.data as Uint8Array).subarray(((top + y) * wide + left) * 3, ((top + y) * wide + left + size) * 3),
        )
        const levels = (await ops.run('image_to_tensor', { pixels }, { size, outDtype: 'u8' })).out
        t.ok(sameBits(levels, u8([size, size, 3], Buffer.concat(crop))), `${name} at ${size}`)
        const { out } = await ops.run('image_to_tensor', { pixels }, { size })
        t.equal(largestError(toFloat32(out), toFloat32(channelsLast(`output.${name}.r${size}`))), 0, 'and in f32')
      }
  })

t.test('refusals', async (t) => {
  const random = numbers(5)
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const resize = (pixels: Tensor, params: object) => ops.run('image_to_tensor', { pixels }, { size: 8, ...params })
  await t.rejects(resize(random.picture(4, 4, 2), {}), { code, message: /RGB or RGBA, not U8 \[4, 4, 2\]/ })
  await t.rejects(resize(random.picture(4, 4, 3), { size: 0 }), { code, message: /size/ })
  await t.rejects(resize(random.picture(4, 4, 3), { size: NaN }), { code, message: /size/ })
  await t.rejects(resize(random.picture(4, 4, 3), { outDtype: 'bf16' }), { code, message: /'f32' or 'u8'/ })
  await t.rejects(resize(random.tensor([4, 4, 3]), {}), { code, message: /pixels must be U8/ })
})
