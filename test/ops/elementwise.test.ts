// SiLU, sums and transposition of f32 tensors.
import t from 'tap'
import { f32, OpContext, toFloat32 } from '../../dist/ops/index.js'
import { elements, everyIsa, largestError, numbers, relativeError, sameBits, threadCounts } from '../fixtures/tensors'

const SHAPES = [[1], [7], [3, 5], [1, 31, 33], [20011]]

for (const { isa, ops } of everyIsa()) {
  t.test(`against float64: ${isa}`, async (t) => {
    const random = numbers(1)
    for (const shape of SHAPES) {
      const [a, b] = [random.tensor(shape, () => 10 * random.normal()), random.tensor(shape)]
      const [x, y] = [toFloat32(a), toFloat32(b)]
      const silu = await ops.run('silu', { x: a })
      const expected = Float64Array.from(x, (v) => v / (1 + Math.exp(-v)))
      t.ok(relativeError(toFloat32(silu.out), expected) < 3e-7, `silu [${shape}]`)
      const { out } = await ops.run('add', { a, b })
      t.strictSame(
        toFloat32(out),
        x.map((v, i) => v + y[i]!),
        `add [${shape}]`,
      )
      t.strictSame(out.shape, shape)
    }
    for (const [channels, tokens] of [
      [1, 1],
      [3, 17],
      [128, 35],
      [50, 16],
      [5, 1031],
    ] as const) {
      const x = random.tensor([channels, tokens])
      const { out } = await ops.run('transpose', { x })
      t.strictSame(out.shape, [tokens, channels])
      const from = toFloat32(x)
      t.strictSame(
        toFloat32(out),
        from.map((_, i) => from[(i % channels) * tokens + Math.floor(i / channels)]!),
      )
    }
  })

  t.test(`SiLU far from zero: ${isa}`, async (t) => {
    const { out } = await ops.run('silu', { x: f32([6], [-200, -88, 88, 1e30, Infinity, NaN]) })
    const [low, lower, high, huge, infinite, nan] = toFloat32(out)
    t.ok(Math.abs(low!) < 1e-30 && Math.abs(lower!) < 1e-30)
    t.ok(largestError([high!, huge! / 1e30], [88, 1]) < 1e-5)
    t.equal(infinite, Infinity)
    t.ok(Number.isNaN(nan))
  })
}

t.test('any number of threads gives the same bits', async (t) => {
  const shape = [3, 20011]
  const x = numbers(2).tensor(shape)
  const results = await Promise.all(
    threadCounts().map(async (ops) => [await ops.run('silu', { x }), await ops.run('transpose', { x })] as const),
  )
  for (const [silu, transpose] of results) {
    t.equal(toFloat32(silu.out).length, elements(shape))
    t.ok(sameBits(silu.out, results[0]![0].out) && sameBits(transpose.out, results[0]![1].out))
  }
})

t.test('refusals', async (t) => {
  const random = numbers(3)
  const ops = new OpContext()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  await t.rejects(ops.run('add', { a: random.tensor([2, 3]), b: random.tensor([3, 2]) }), {
    code,
    message: /b must have the shape of a/,
  })
  await t.rejects(ops.run('silu', { x: { dtype: 'i32', shape: [1], data: new Int32Array(1) } }), {
    code,
    message: /F32/,
  })
  await t.rejects(ops.run('transpose', { x: random.tensor([2, 3, 4]) }), { code, message: /x must be \[C, tokens\]/ })
})
