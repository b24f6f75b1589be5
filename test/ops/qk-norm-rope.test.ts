// RMSNorm of q and k with rotary embedding, against float64 and the original implementation.
import t from 'tap'
import { bf16, f32, OpContext, toFloat32 } from '../../dist/ops/index.js'
import { references } from '../fixtures/golden'
import { angles, rotated } from '../fixtures/heads'
import { elements, everyIsa, numbers, relativeError, sameBits, threadCounts } from '../fixtures/tensors'

const SHAPES = [
  [1, 1, 1, 2],
  [2, 1, 3, 6],
  [1, 13, 2, 16],
  [2, 7, 3, 48],
  [1, 29, 5, 128],
  [3, 5, 1, 250],
]

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const shape of SHAPES) {
      const [, tokens, , d] = shape as [number, number, number, number]
      const table = angles(random, tokens, d)
      for (const dtype of [f32, bf16]) {
        const [q, k] = [
          dtype(shape, random.tensor(shape).data as Float32Array),
          dtype(shape, random.tensor(shape, () => 3 * random.normal()).data as Float32Array),
        ]
        const [qScale, kScale] = [random.tensor([d]), bf16([d], random.tensor([d]).data as Float32Array)]
        const limit = dtype === bf16 ? 4e-3 : 3e-7
        for (const pairs of ['adjacent', 'halves'] as const) {
          const out = await ops.run('qk_norm_rope', { q, k, qScale, kScale, ...table }, { pairs })
          for (const [name, x, scale] of [
            ['q', q, qScale],
            ['k', k, kScale],
          ] as const) {
            t.equal(out[name].dtype, x.dtype)
            const expected = rotated(
              { shape: x.shape, values: toFloat32(x) },
              toFloat32(scale),
              table.cos,
              table.sin,
              pairs,
            )
            const error = relativeError(toFloat32(out[name]), expected)
            t.ok(error < limit, `${name} ${x.dtype} [${shape}] ${pairs}: ${error.toExponential(1)}`)
          }
        }
      }
    }
  })
}

t.test('q or k alone, with other numbers of heads', async (t) => {
  const random = numbers(2)
  const ops = new OpContext()
  const [q, k, scale] = [random.tensor([1, 4, 6, 8]), random.tensor([1, 4, 2, 8]), random.tensor([8])]
  const rest = { qScale: scale, kScale: scale, ...angles(random, 4, 8) }
  const both = await ops.run('qk_norm_rope', { q, k, ...rest })
  t.ok(sameBits((await ops.run('qk_norm_rope', { q, ...rest })).q, both.q))
  t.ok(sameBits((await ops.run('qk_norm_rope', { k, ...rest })).k, both.k))
})

t.test('any number of threads gives the same bits', async (t) => {
  const random = numbers(3)
  const [q, k, scale] = [random.tensor([2, 83, 4, 64]), random.tensor([2, 83, 4, 64]), random.tensor([64])]
  const tensors = { q, k, qScale: scale, kScale: scale, ...angles(random, 83, 64) }
  const results = await Promise.all(threadCounts().map((ops) => ops.run('qk_norm_rope', tensors)))
  for (const { q, k } of results) t.ok(sameBits(q, results[0]!.q) && sameBits(k, results[0]!.k))
})

for (const golden of references('flux/qk_rope.safetensors'))
  t.test(`as ${golden.source}: tables, norm and rotation`, async (t) => {
    const ops = new OpContext()
    const get = (name: string) => golden.tensors.get(name)!
    const [batch, heads, tokens, d] = get('input.q').shape as [number, number, number, number]
    const { axes_dim: axesDim } = JSON.parse(golden.metadata.config!) as { axes_dim: number[] }
    const scales = { q: get('weight.query_norm.scale'), k: get('weight.key_norm.scale') }
    for (let b = 0; b < batch; b++) {
      const item = (name: string) => {
        const { shape, data } = get(name)
        const size = elements(shape) / batch
        return (data as Float32Array).subarray(b * size, (b + 1) * size)
      }
      // [H, T, d] as the file has it, to and from [T, H, d].
      const tokensFirst = (x: Float32Array) =>
        f32(
          [1, tokens, heads, d],
          x.map((_, i) => x[((Math.floor(i / d) % heads) * tokens + Math.floor(i / (heads * d))) * d + (i % d)]!),
        )
      const ids = f32([tokens, 4], item('input.ids'))
      const table = await ops.run('rope_table', { ids }, { axesDim, theta: 2000 })
      t.ok(relativeError(toFloat32(table.cos), item('intermediate.rope_cos')) < 1e-7)
      t.ok(relativeError(toFloat32(table.sin), item('intermediate.rope_sin')) < 1e-7)
      const out = await ops.run('qk_norm_rope', {
        q: tokensFirst(item('input.q')),
        k: tokensFirst(item('input.k')),
        qScale: f32([d], scales.q.data as Float32Array),
        kScale: f32([d], scales.k.data as Float32Array),
        cos: table.cos,
        sin: table.sin,
      })
      for (const name of ['q', 'k'] as const) {
        const error = relativeError(toFloat32(out[name]), toFloat32(tokensFirst(item(`output.${name}_norm_rope`))))
        t.ok(error < 1e-6, `${name}: ${error.toExponential(1)}`)
      }
    }
  })

t.test('refusals', async (t) => {
  const random = numbers(4)
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const good = {
    q: random.tensor([1, 4, 2, 8]),
    qScale: random.tensor([8]),
    kScale: random.tensor([8]),
    ...angles(random, 4, 8),
  }
  await t.rejects(ops.run('qk_norm_rope', { ...good, q: undefined }), { code, message: /q or k must be given/ })
  await t.rejects(ops.run('qk_norm_rope', { ...good, cos: random.tensor([4, 3]) }), {
    code,
    message: /cos must be F32 \[4, 4\]/,
  })
  await t.rejects(ops.run('qk_norm_rope', { ...good, q: random.tensor([1, 4, 2, 7]) }), {
    code,
    message: /even, not 7/,
  })
  await t.rejects(ops.run('qk_norm_rope', { ...good, k: random.tensor([1, 5, 2, 8]) }), {
    code,
    message: /k must be .*\[\*, 4, \*, 8\]/,
  })
  await t.rejects(ops.run('qk_norm_rope', { ...good, qScale: random.tensor([4]) }), { code, message: /qScale/ })
  await t.rejects(ops.run('qk_norm_rope', good, { pairs: 'thirds' as 'halves' }), { code, message: /pairs .*thirds/ })
})
