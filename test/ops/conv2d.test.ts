// conv2d: against float64 with awkward sizes, strides, paddings and epilogues, threads, refusals.
import t from 'tap'
import { bf16, f32, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { elements, everyIsa, numbers, relativeError, sameBits, threadCounts } from '../fixtures/tensors'

type Named = Record<string, Tensor>

interface Case {
  x: [number, number, number, number] // [B, H, W, C]
  o: number
  kernel: [number, number]
  stride?: number
  pad?: [number, number, number, number] // top, left, bottom, right
  upsample?: 1 | 2
  bias?: boolean
  slope?: boolean
  residual?: boolean
}
const CASES: Case[] = [
  { x: [1, 1, 1, 1], o: 1, kernel: [1, 1] },
  { x: [1, 5, 7, 3], o: 33, kernel: [3, 3], pad: [1, 1, 1, 1], bias: true },
  { x: [2, 6, 5, 5], o: 7, kernel: [3, 3], pad: [0, 0, 1, 1], stride: 2, bias: true }, // the autoencoder's downsampling
  { x: [1, 9, 17, 8], o: 16, kernel: [3, 3], pad: [1, 1, 1, 1], upsample: 2 },
  { x: [1, 3, 29, 7], o: 65, kernel: [1, 1], bias: true, residual: true },
  { x: [1, 7, 7, 64], o: 40, kernel: [3, 3], pad: [1, 1, 1, 1], slope: true, bias: true },
  { x: [2, 4, 4, 130], o: 70, kernel: [3, 3], pad: [1, 1, 1, 1], residual: true },
  { x: [1, 11, 13, 4], o: 3, kernel: [2, 5], pad: [2, 0, 0, 3], stride: 3 },
  { x: [1, 14, 14, 16], o: 32, kernel: [3, 3], pad: [1, 1, 1, 1], stride: 2, slope: true, residual: true },
  { x: [1, 7, 7, 20], o: 50, kernel: [7, 7] }, // one pixel left
]

const random = (seed: number, shape: number[]) => {
  const { normal } = numbers(seed)
  return Float64Array.from({ length: elements(shape) }, normal)
}
const values = (tensor: Tensor) => Float64Array.from(toFloat32(tensor))

function outShape({ x, o, kernel, stride = 1, pad = [0, 0, 0, 0], upsample = 1 }: Case): number[] {
  const size = (axis: 0 | 1) =>
    Math.floor((x[axis + 1]! * upsample + pad[axis]! + pad[axis + 2]! - kernel[axis]) / stride) + 1
  return [x[0], size(0), size(1), o]
}

function make(one: Case, dtype: typeof f32, weightType: typeof f32) {
  const { x, o, kernel, stride, pad, upsample } = one
  const shape = outShape(one)
  const tensors: Named = {
    x: dtype(x, random(1, x)),
    weight: weightType([o, ...kernel, x[3]], random(2, [o, ...kernel, x[3]])),
  }
  if (one.bias) tensors.bias = f32([o], random(3, [o]))
  if (one.slope) tensors.slope = f32([o], random(4, [o]))
  if (one.residual) tensors.residual = f32(shape, random(5, shape))
  return { tensors, params: { stride, pad, upsample } }
}

/** The definition, in float64. */
function reference(one: Case, tensors: Named): Float64Array {
  const { stride = 1, pad = [0, 0, 0, 0], upsample = 1, kernel } = one
  const [, H, W, C] = one.x
  const [B, height, width, O] = outShape(one) as [number, number, number, number]
  const [x, weight] = [values(tensors.x!), values(tensors.weight!)]
  const [bias, slope, residual] = ['bias', 'slope', 'residual'].map((name) => tensors[name] && values(tensors[name]))
  const out = new Float64Array(B * height * width * O)
  for (let at = 0; at < out.length; at++) {
    const o = at % O
    const column = Math.floor(at / O) % width
    const row = Math.floor(at / O / width) % height
    const b = Math.floor(at / O / width / height)
    let sum = bias?.[o] ?? 0
    for (let i = 0; i < kernel[0]; i++)
      for (let j = 0; j < kernel[1]; j++) {
        const y = Math.floor((row * stride - pad[0] + i) / upsample)
        const z = Math.floor((column * stride - pad[1] + j) / upsample)
        if (y < 0 || z < 0 || y >= H || z >= W) continue
        for (let c = 0; c < C; c++)
          sum += x[((b * H + y) * W + z) * C + c]! * weight[((o * kernel[0] + i) * kernel[1] + j) * C + c]!
      }
    if (slope && sum < 0) sum *= slope[o]!
    out[at] = sum + (residual?.[at] ?? 0)
  }
  return out
}

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    for (const one of CASES)
      for (const dtype of [f32, bf16])
        for (const weightType of [f32, bf16]) {
          const { tensors, params } = make(one, dtype, weightType)
          const expected = reference(one, tensors)
          for (const compute of ['f32', 'bf16'] as const)
            for (const outDtype of ['f32', 'bf16'] as const) {
              const { out } = await ops.run('conv2d', tensors as never, { ...params, compute, outDtype })
              const error = relativeError(toFloat32(out), expected)
              const exact = outDtype === 'f32' && (compute === 'f32' || (dtype === bf16 && weightType === bf16))
              const what = `${JSON.stringify(one)} ${dtype.name} x ${weightType.name}, ${compute} -> ${outDtype}`
              t.ok(error < (exact ? 3e-6 : 1.2e-2), `${what}: ${error.toExponential(1)}`)
              t.strictSame(out.shape, outShape(one))
            }
        }
  })
}

t.test('any number of threads gives the same bits', async (t) => {
  for (const one of [
    { x: [1, 4, 4, 512], o: 96, kernel: [3, 3], pad: [1, 1, 1, 1] },
    { x: [1, 64, 48, 16], o: 33, kernel: [3, 3], pad: [1, 1, 1, 1] },
  ] as Case[])
    for (const compute of ['f32', 'bf16'] as const) {
      const { tensors, params } = make(one, f32, f32)
      const all = threadCounts().map((ops) => ops.run('conv2d', tensors as never, { ...params, compute }))
      const results = await Promise.all(all)
      for (const { out } of results) t.ok(sameBits(out, results[0]!.out), `${JSON.stringify(one.x)} ${compute}`)
    }
})

t.test('refusals', async (t) => {
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const x = f32([1, 4, 4, 2], random(1, [32]))
  const weight = f32([3, 3, 3, 2], random(2, [54]))
  const run = (tensors: Named, params = {}) => ops.run('conv2d', tensors as never, params)
  await t.rejects(run({ x }), { code, message: /weight/ })
  await t.rejects(run({ x, weight: f32([3, 3, 3, 1], random(2, [27])) }), { code, message: /weight must be/ })
  await t.rejects(run({ x: f32([4, 4, 2], random(1, [32])), weight }), { code, message: /x must be/ })
  await t.rejects(run({ x, weight }, { stride: 0 }), { code, message: /stride/ })
  await t.rejects(run({ x, weight }, { pad: [1, 1] }), { code, message: /pad/ })
  await t.rejects(run({ x, weight }, { pad: [-1, 0, 0, 0] }), { code, message: /pad/ })
  await t.rejects(run({ x, weight }, { compute: 'f16' }), { code, message: /compute/ })
  await t.rejects(run({ x, weight: f32([1, 5, 5, 2], random(2, [50])) }), { code, message: /larger than the padded/ })
  await t.rejects(run({ x, weight, bias: f32([2], [1, 2]) }), { code, message: /bias must be/ })
  await t.rejects(run({ x, weight, residual: f32([1, 4, 4, 3], random(3, [48])) }), { code, message: /residual/ })
})
