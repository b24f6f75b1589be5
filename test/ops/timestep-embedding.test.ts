// The sinusoids of a timestep.
import t from 'tap'
import { OpContext, toFloat32 } from '../../dist/ops/index.js'
import { references } from '../fixtures/golden'
import { everyIsa, largestError } from '../fixtures/tensors'

/** Cosines first, in float64. */
function reference(timestep: number, dim: number): number[] {
  const angle = Array.from({ length: dim / 2 }, (_, i) => 1000 * timestep * 10000 ** (-i / (dim / 2)))
  return [...angle.map(Math.cos), ...angle.map(Math.sin)]
}

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    for (const timestep of [0, 1, 0.731, 1e-4])
      for (const dim of [2, 14, 256]) {
        const { out } = await ops.run('timestep_embedding', {}, { timestep, dim })
        t.ok(largestError(toFloat32(out), reference(timestep, dim)) < 1e-7, `t ${timestep}, ${dim} wide`)
      }
  })
}

t.test('256 wide unless told', async (t) => {
  t.strictSame((await new OpContext().run('timestep_embedding', {}, { timestep: 0.5 })).out.shape, [256])
})

for (const golden of references('flux/flux2_transformer.safetensors'))
  t.test(`as ${golden.source}`, async (t) => {
    const ops = new OpContext()
    for (const run of ['refs', 'norefs']) {
      const timesteps = golden.tensors.get(`input.${run}.timesteps`)!.data as Float32Array
      const expected = golden.tensors.get(`intermediate.${run}.timestep_embedding`)!.data as Float32Array
      for (const [i, timestep] of timesteps.entries()) {
        const { out } = await ops.run('timestep_embedding', {}, { timestep })
        const error = largestError(toFloat32(out), expected.subarray(i * 256, (i + 1) * 256))
        t.ok(error < 1e-6, `t ${timestep}: ${error.toExponential(1)}`)
      }
    }
  })

t.test('refusals', async (t) => {
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  await t.rejects(ops.run('timestep_embedding', {}, { timestep: NaN }), { code, message: /timestep/ })
  await t.rejects(ops.run('timestep_embedding', {}, { timestep: 1, dim: 5 }), { code, message: /even/ })
  await t.rejects(ops.run('timestep_embedding', {}, { timestep: 1, dim: 0 }), { code, message: /dim/ })
})
