// RMSNorm of rows, against float64.
import t from 'tap'
import { bf16, f32, OpContext, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, numbers, relativeError, sameBits, threadCounts } from '../fixtures/tensors'

/** The definition, in float64. */
function reference(x: Float32Array, weight: Float32Array): Float64Array {
  const D = weight.length
  const out = new Float64Array(x.length)
  for (let row = 0; row < x.length; row += D) {
    let squares = 0
    for (let i = 0; i < D; i++) squares += x[row + i]! ** 2
    for (let i = 0; i < D; i++) out[row + i] = (x[row + i]! / Math.sqrt(squares / D + 1e-6)) * weight[i]!
  }
  return out
}

const SHAPES = [[1], [7], [1, 1], [3, 37], [2, 5, 64], [31, 250], [1, 13, 2560]]

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const shape of SHAPES)
      for (const dtype of [f32, bf16])
        for (const outDtype of ['f32', 'bf16'] as const) {
          const x = dtype(shape, random.tensor(shape, () => 3 * random.normal() + 1).data as Float32Array)
          const weight = dtype([shape.at(-1)!], random.tensor([shape.at(-1)!]).data as Float32Array)
          const { out } = await ops.run('rms_norm', { x, weight }, { outDtype })
          t.strictSame([out.dtype, out.shape], [outDtype, shape])
          const error = relativeError(toFloat32(out), reference(toFloat32(x), toFloat32(weight)))
          t.ok(error < (outDtype === 'bf16' ? 4e-3 : 3e-7), `${x.dtype} [${shape}] -> ${outDtype}: ${error}`)
        }
  })
}

t.test(
  'zeros stay zeros; tiny rows are lifted no further than the epsilon allows; a NaN stays in its row',
  async (t) => {
    const x = f32([3, 2], [0, 0, 1e-9, -1e-9, NaN, 1])
    const { out } = await new OpContext().run('rms_norm', { x, weight: f32([2], [1, 2]) })
    const values = [...toFloat32(out)]
    t.strictSame(values.slice(0, 2), [0, 0])
    t.ok(relativeError(values.slice(2, 4), [1e-6, -2e-6]) < 1e-5)
    t.ok(values.slice(4).every(Number.isNaN))
  },
)

t.test('any number of threads gives the same bits', async (t) => {
  const random = numbers(2)
  const tensors = { x: random.tensor([257, 96]), weight: random.tensor([96]) }
  const results = await Promise.all(threadCounts().map((ops) => ops.run('rms_norm', tensors)))
  for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
})

t.test('refusals', async (t) => {
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const x = f32([2, 3], new Float32Array(6))
  await t.rejects(ops.run('rms_norm', { x, weight: f32([2], [1, 1]) }), { code, message: /weight must be .*\[3\]/ })
  await t.rejects(ops.run('rms_norm', { x: f32([2, 0], []), weight: f32([0], []) }), { code, message: /x must be/ })
  const ids = { dtype: 'i32', shape: [3], data: new Int32Array(3) } as const
  await t.rejects(ops.run('rms_norm', { x: { ...ids, shape: [3] }, weight: f32([3], [1, 1, 1]) }), {
    code,
    message: /x/,
  })
})
