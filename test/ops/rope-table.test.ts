// Rotary tables of position ids.
import t from 'tap'
import { f32, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, largestError, sameBits } from '../fixtures/tensors'

/** Angles, in float64. */
function reference(ids: number[][], axesDim: number[], theta: number): number[] {
  return ids.flatMap((id) =>
    axesDim.flatMap((size, axis) => Array.from({ length: size / 2 }, (_, m) => id[axis]! / theta ** ((2 * m) / size))),
  )
}

const CASES = [
  { ids: [[0]], axesDim: [2], theta: 10000 },
  {
    ids: [
      [0, 0, 0, 511],
      [2, 63, 17, 0],
      [12, 127, 5, 0],
      [0, 1, 2, 3],
    ],
    axesDim: [32, 32, 32, 32],
    theta: 2000,
  },
  {
    ids: [
      [3, 1],
      [100000, -7],
      [5, 2],
    ],
    axesDim: [10, 6],
    theta: 2000,
  },
  // More tokens and columns than a block of the GPU's takes.
  { ids: Array.from({ length: 67 }, (_, i) => [i, 67 - i]), axesDim: [50, 40], theta: 2000 },
]

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    for (const { ids, axesDim, theta } of CASES) {
      const angle = reference(ids, axesDim, theta)
      const float = f32([ids.length, axesDim.length], ids.flat())
      const integer: Tensor = { dtype: 'i32', shape: float.shape, data: Int32Array.from(ids.flat()) }
      const { cos, sin } = await ops.run('rope_table', { ids: float }, { axesDim, theta })
      t.strictSame(cos.shape, [ids.length, axesDim.reduce((a, b) => a + b) / 2])
      t.ok(largestError(toFloat32(cos), angle.map(Math.cos)) < 1e-7)
      t.ok(largestError(toFloat32(sin), angle.map(Math.sin)) < 1e-7)
      const same = await ops.run('rope_table', { ids: integer }, { axesDim, theta })
      t.ok(sameBits(same.cos, cos) && sameBits(same.sin, sin), 'integer ids')
    }
  })
}

t.test('theta is 2000 unless it is given', async (t) => {
  const ops = new OpContext()
  const ids = f32([1, 1], [9])
  const plain = await ops.run('rope_table', { ids }, { axesDim: [8] })
  t.ok(sameBits(plain.cos, (await ops.run('rope_table', { ids }, { axesDim: [8], theta: 2000 })).cos))
})

t.test('refusals', async (t) => {
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const ids = f32([1, 2], [1, 2])
  await t.rejects(ops.run('rope_table', { ids }, { axesDim: [8] }), { code, message: /ids must be .*\[\*, 1\]/ })
  await t.rejects(ops.run('rope_table', { ids }, { axesDim: [8, 3] }), { code, message: /even/ })
  await t.rejects(ops.run('rope_table', { ids }, { axesDim: [] }), { code, message: /axesDim/ })
  await t.rejects(ops.run('rope_table', { ids }, { axesDim: [8, NaN] }), { code, message: /axesDim/ })
  await t.rejects(ops.run('rope_table', { ids }, { axesDim: [8, 8], theta: 0 }), { code, message: /theta/ })
})
