// tensor_to_image: numbers in [-1, 1] to the bytes of a picture, exactly; what lies outside, and NaN; refusals.
import t from 'tap'
import { bf16, f32, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { references } from '../fixtures/golden'
import { everyIsa, numbers, sameBits, threadCounts } from '../fixtures/tensors'

const u8 = (shape: number[], data: ArrayLike<number>): Tensor => ({ dtype: 'u8', shape, data: Uint8Array.from(data) })

/** The definition: clamped, (x + 1) * 127.5 with both steps rounded to f32, truncated. */
const reference = (x: Tensor): Tensor =>
  u8(
    x.shape,
    toFloat32(x).map((v) => Math.trunc(Math.fround(Math.fround(Math.min(1, Math.max(-1, v)) + 1) * 127.5))),
  )

/** Values at every limit of something, and the bytes that they become. */
const EDGES: [value: number, byte: number][] = [
  [NaN, 0],
  [Infinity, 255],
  [-Infinity, 0],
  [-1, 0],
  [1, 255],
  [0, 127],
  [-0, 127],
  [1.0000001, 255],
  [-1.0000001, 0],
  [0.9999999, 254],
  [5e-39, 127],
  [3e38, 255],
  [-3e38, 0],
  [1 / 3, 170],
  [-2 / 3, 42],
]

for (const { isa, ops } of everyIsa()) {
  t.test(`exact: ${isa}`, async (t) => {
    const edges = f32(
      [5, 1, 3],
      EDGES.map(([value]) => value),
    )
    const special = (await ops.run('tensor_to_image', { x: edges })).pixels
    t.strictSame(
      [...(special.data as Uint8Array)],
      EDGES.map(([, byte]) => byte),
    )
    for (const [height, width] of [
      [1, 1],
      [7, 5],
      [131, 77],
    ] as const) {
      const x = numbers(height).tensor([height, width, 3])
      const { pixels } = await ops.run('tensor_to_image', { x })
      t.ok(sameBits(pixels, reference(x)), `${height} x ${width}`)
    }
    await ops.dispose()
  })
}

t.test('any number of threads gives the same bits', async (t) => {
  const x = numbers(3).tensor([150, 151, 3])
  const results = await Promise.all(threadCounts().map((ops) => ops.run('tensor_to_image', { x })))
  for (const { pixels } of results) t.ok(sameBits(pixels, results[0]!.pixels))
})

for (const golden of references('flux/preprocess.safetensors'))
  t.test(`as ${golden.source} writes pictures`, async (t) => {
    await using ops = new OpContext()
    for (const name of ['ramp', 'roundtrip']) {
      const { shape, data } = golden.tensors.get(`input.${name}.values`)! // [3, height, width]
      const [channels, height, width] = shape as [number, number, number]
      const values = Float32Array.from(data as Float32Array, (_, i) =>
        Number(data[(i % channels) * height * width + Math.floor(i / channels)]),
      )
      const { pixels } = await ops.run('tensor_to_image', { x: f32([height, width, channels], values) })
      const expected = golden.tensors.get(`output.${name}.u8`)!
      t.ok(sameBits(pixels, u8(expected.shape, expected.data as Uint8Array)), name)
    }
  })

t.test('refusals', async (t) => {
  await using ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const message = /x must be F32 \[\*, \*, 3\]/
  await t.rejects(ops.run('tensor_to_image', { x: numbers(4).tensor([4, 4, 4]) }), { code, message })
  await t.rejects(ops.run('tensor_to_image', { x: bf16([1, 1, 3], [1, 2, 3]) }), { code, message })
})
