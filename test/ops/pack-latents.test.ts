// VAE latents to normalised tokens and back: 2x2 space to depth in the order (channel, row, column).
import t from 'tap'
import { OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { references } from '../fixtures/golden'
import { everyIsa, numbers, relativeError } from '../fixtures/tensors'

const EPS = Math.fround(1e-4)

/** [H, W, >= C] to [H/2 * W/2, 4C], in float64. */
function reference(map: Tensor, mean: Tensor, variance: Tensor, channels: number): Float64Array {
  const [height, width, all] = map.shape as [number, number, number]
  const out = new Float64Array(height * width * channels)
  for (let h = 0; h < height; h++)
    for (let w = 0; w < width; w++)
      for (let c = 0; c < channels; c++) {
        const token = Math.floor(h / 2) * (width / 2) + Math.floor(w / 2)
        const k = c * 4 + (h % 2) * 2 + (w % 2)
        const value = toFloat32(map)[(h * width + w) * all + c]! - toFloat32(mean)[k]!
        out[token * channels * 4 + k] = value / Math.sqrt(toFloat32(variance)[k]! + EPS)
      }
  return out
}

// Height, width, packed channels, channels of the map (more: the mean half of the VAE's moments).
const CASES = [
  [2, 2, 1, 1],
  [4, 6, 32, 64],
  [34, 30, 32, 64],
  [6, 2, 3, 5],
] as const

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64, there and back: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const [height, width, channels, all] of CASES) {
      const map = random.tensor([height, width, all])
      const mean = random.tensor([4 * channels])
      const variance = random.tensor([4 * channels], () => 1e-5 + random.uniform() ** 4)
      const { tokens } = await ops.run('pack_latents', { map, mean, var: variance })
      t.strictSame(tokens.shape, [(height / 2) * (width / 2), 4 * channels])
      const error = relativeError(toFloat32(tokens), reference(map, mean, variance, channels))
      t.ok(error < 2e-7, `${height} x ${width} x ${channels}: ${error.toExponential(1)}`)

      const back = await ops.run('pack_latents', { tokens, mean, var: variance }, { inverse: true, height, width })
      t.strictSame(back.map.shape, [height, width, channels])
      const kept = toFloat32(map).filter((_, i) => i % all < channels)
      const difference = relativeError(toFloat32(back.map), kept)
      t.ok(difference < 4e-7, `and back: ${difference.toExponential(1)}`)
    }
  })
}

for (const golden of references('flux/vae.safetensors'))
  t.test(`as ${golden.source} encodes`, async (t) => {
    const get = (name: string) => golden.tensors.get(name)!
    const [, both, height, width] = get('intermediate.enc.moments').shape as [number, number, number, number]
    const moments = get('intermediate.enc.moments').data as Float32Array
    const map = numbers(0).tensor(
      [height, width, both],
      (i) => moments[(i % both) * height * width + Math.floor(i / both)]!,
    )
    const vector = (name: string): Tensor => ({
      dtype: 'f32',
      shape: get(name).shape,
      data: get(name).data as Float32Array,
    })
    const { tokens } = await new OpContext().run('pack_latents', {
      map,
      mean: vector('weight.bn.running_mean'),
      var: vector('weight.bn.running_var'),
    })
    const expected = get('output.encode').data as Float32Array // [1, 4C, H/2, W/2]
    const [count, packed] = tokens.shape as [number, number]
    const rows = Float32Array.from(expected, (_, i) => expected[(i % packed) * count + Math.floor(i / packed)]!)
    const error = relativeError(toFloat32(tokens), rows)
    t.ok(error < 1e-6, error.toExponential(1))
  })

t.test('refusals', async (t) => {
  const random = numbers(2)
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const [mean, variance] = [random.tensor([8]), random.tensor([8])]
  const run = (tensors: object, params?: object) => ops.run('pack_latents', { mean, var: variance, ...tensors }, params)
  await t.rejects(run({ map: random.tensor([3, 4, 2]) }), {
    code,
    message: /even height and width, but is F32 \[3, 4, 2\]/,
  })
  await t.rejects(run({ map: random.tensor([4, 4, 1]) }), { code, message: /tokens must have 4 channels/ })
  await t.rejects(run({ map: random.tensor([4, 4, 2]), var: random.tensor([4]) }), {
    code,
    message: /var must be F32 \[8\]/,
  })
  await t.rejects(run({}), { code, message: /'map' is missing/ })
  await t.rejects(run({ tokens: random.tensor([4, 8]) }, { inverse: true, height: 4 }), { code, message: /width/ })
  await t.rejects(run({ tokens: random.tensor([4, 8]) }, { inverse: true, height: 4, width: 6 }), {
    code,
    message: /tokens must be F32 \[6, \*\]/,
  })
})
