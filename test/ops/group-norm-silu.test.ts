// GroupNorm with affine and SiLU on feature maps: accuracy of the statistics, memory types, threads, refusals.
import t from 'tap'
import { bf16, f32, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { elements, everyIsa, numbers, relativeError, sameBits, threadCounts } from '../fixtures/tensors'

interface Options {
  groups: number
  eps: number
  silu: boolean
}

/** The definition, in float64. */
function reference(x: Tensor, weight: Tensor, bias: Tensor, { groups, eps, silu }: Options): Float64Array {
  const [batch, height, width, channels] = x.shape as [number, number, number, number]
  const values = toFloat32(x)
  const size = channels / groups
  const out = new Float64Array(values.length)
  for (let b = 0; b < batch; b++) {
    for (let g = 0; g < groups; g++) {
      const members: number[] = []
      for (let p = 0; p < height * width; p++)
        for (let c = g * size; c < (g + 1) * size; c++) members.push((b * height * width + p) * channels + c)
      const mean = members.reduce((sum, i) => sum + values[i]!, 0) / members.length
      const variance = members.reduce((sum, i) => sum + (values[i]! - mean) ** 2, 0) / members.length
      for (const i of members) {
        const c = i % channels
        const y = ((values[i]! - mean) / Math.sqrt(variance + eps)) * toFloat32(weight)[c]! + toFloat32(bias)[c]!
        out[i] = silu ? y / (1 + Math.exp(-y)) : y
      }
    }
  }
  return out
}

const SHAPES: [number[], number][] = [
  [[1, 1, 1, 32], 32], // one value a group: variance 0
  [[1, 1, 1, 8], 2],
  [[2, 3, 5, 7], 7],
  [[1, 17, 13, 128], 32],
  [[2, 23, 29, 40], 4],
  [[1, 5, 5, 512], 32],
  [[1, 71, 73, 33], 3], // several items of work, no whole vectors
  [[1, 1, 3, 9000], 30], // a pixel larger than a chunk
]

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const [shape, groups] of SHAPES) {
      const channels = shape[3]!
      for (const offset of [0, 1000]) {
        const means = Array.from({ length: groups }, () => offset * random.normal())
        const x = random.tensor(
          shape,
          (i) => means[Math.floor(((i % channels) * groups) / channels)]! + random.normal(),
        )
        const [weight, bias] = [random.tensor([channels]), random.tensor([channels])]
        for (const silu of [true, false]) {
          const options = { groups, eps: Math.fround(1e-6), silu }
          for (const [input, outDtype, limit] of [
            [x, 'f32', 1e-6],
            [x, 'bf16', 4e-3],
            [bf16(shape, toFloat32(x)), 'f32', 1e-6],
            [bf16(shape, toFloat32(x)), 'bf16', 4e-3],
          ] as const) {
            const { out } = await ops.run('group_norm_silu', { x: input, weight, bias }, { ...options, outDtype })
            t.equal(out.dtype, outDtype)
            t.strictSame(out.shape, shape)
            const error = relativeError(toFloat32(out), reference(input, weight, bias, options))
            t.ok(
              error < limit,
              `${input.dtype} -> ${outDtype} [${shape}] / ${groups}, mean ${offset}: ${error.toExponential(1)}`,
            )
          }
        }
      }
    }
  })
}

t.test('defaults: 32 groups, eps 1e-6, SiLU, f32', async (t) => {
  const random = numbers(2)
  const [x, weight, bias] = [random.tensor([1, 4, 4, 64]), random.tensor([64]), random.tensor([64])]
  const ops = new OpContext()
  const plain = await ops.run('group_norm_silu', { x, weight, bias })
  const full = await ops.run(
    'group_norm_silu',
    { x, weight, bias },
    { groups: 32, eps: 1e-6, silu: true, outDtype: 'f32' },
  )
  t.ok(sameBits(plain.out, full.out))
})

t.test('any number of threads gives the same bits', async (t) => {
  const random = numbers(3)
  const shape = [2, 67, 71, 96]
  const [x, weight, bias] = [random.tensor(shape), random.tensor([96]), random.tensor([96])]
  const results = await Promise.all(threadCounts().map((ops) => ops.run('group_norm_silu', { x, weight, bias })))
  for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
})

t.test('a constant map becomes the bias', async (t) => {
  const shape = [1, 9, 9, 64]
  const x = f32(shape, new Float64Array(elements(shape)).fill(12345.678))
  const bias = numbers(4).tensor([64])
  const weight = f32([64], new Float64Array(64).fill(3))
  const { out } = await new OpContext().run('group_norm_silu', { x, weight, bias }, { silu: false })
  t.ok(
    relativeError(
      toFloat32(out),
      toFloat32(out).map((_, i) => toFloat32(bias)[i % 64]!),
    ) < 1e-6,
  )
})

t.test('refusals', async (t) => {
  const random = numbers(5)
  const ops = new OpContext()
  const [x, weight, bias] = [random.tensor([1, 2, 2, 6]), random.tensor([6]), random.tensor([6])]
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const run = (tensors: object, params: object) => ops.run('group_norm_silu', { x, weight, bias, ...tensors }, params)
  await t.rejects(run({}, { groups: 4 }), { code, message: /groups must divide the 6 channels, but is 4/ })
  await t.rejects(run({}, { groups: 0 }), { code, message: /groups/ })
  await t.rejects(run({}, { groups: 2, eps: -1 }), { code, message: /eps/ })
  await t.rejects(run({ weight: random.tensor([5]) }, { groups: 2 }), {
    code,
    message: /weight must be F32 \[6\], not F32 \[5\]/,
  })
  await t.rejects(run({ x: random.tensor([2, 2, 6]) }, { groups: 2 }), {
    code,
    message: /x must be .* not F32 \[2, 2, 6\]/,
  })
  await t.rejects(run({ bias: undefined }, { groups: 2 }), { code, message: /bias/ })
})
