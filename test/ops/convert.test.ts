// convert: rounding between float types, bit by bit; refusals.
import t from 'tap'
import { bf16, f32, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, numbers, sameBits, threadCounts } from '../fixtures/tensors'

/** The value of binary16 bits. */
function half(bits: number): number {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >>> 10) & 31, bits & 1023]
  if (exponent === 31) return fraction ? NaN : sign * Infinity
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15))
}

const SHAPES = [[1], [7, 1], [3, 17], [2, 3, 64], [1, 1000]]

for (const { isa, ops } of everyIsa()) {
  t.test(isa, async (t) => {
    const random = numbers(3)
    for (const shape of SHAPES) {
      const wide = random.tensor(shape, (i) => (i % 5 === 0 ? 1 + 2 ** -8 + (i % 3) * 2 ** -7 : random.normal()))
      const narrow = bf16(shape, toFloat32(wide))
      const what = `[${shape}]`
      t.ok(sameBits((await ops.run('convert', { x: wide }, { outDtype: 'bf16' })).out, narrow), `${what} ties to even`)
      const widened = (await ops.run('convert', { x: narrow }, { outDtype: 'f32' })).out
      t.ok(sameBits(widened, f32(shape, toFloat32(narrow))), `${what} bf16 to f32 is exact`)

      const bits = Uint16Array.from(
        toFloat32(wide),
        () => (random.uniform() * 0x7c00) | (random.uniform() < 0.5 ? 0x8000 : 0),
      )
      const x: Tensor = { dtype: 'f16', shape, data: bits }
      const halves = (await ops.run('convert', { x }, { outDtype: 'f32' })).out
      t.ok(sameBits(halves, f32(shape, [...bits].map(half))), `${what} f16 to f32 is exact, subnormals too`)
    }
    await ops.dispose()
  })
}

t.test('any number of threads gives the same bits', async (t) => {
  const x = numbers(4).tensor([7, 30_011])
  const results = await Promise.all(threadCounts().map((ops) => ops.run('convert', { x }, { outDtype: 'bf16' })))
  for (const { out } of results) t.ok(sameBits(out, results[0]!.out))
})

t.test('refusals', async (t) => {
  await using ops = new OpContext()
  const x: Tensor = { dtype: 'i32', shape: [2], data: new Int32Array(2) }
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  await t.rejects(ops.run('convert', { x }), { code, message: /x must be F32, BF16 or F16, not I32 \[2\]/ })
  const eight: Tensor = { dtype: 'f8_e4m3', shape: [2], data: new Uint8Array(2) }
  await t.rejects(ops.run('convert', { x: eight }), { code, message: /not F8_E4M3/ })
  await t.rejects(ops.run('convert', { x: f32([1], [1]) }, { outDtype: 'f16' as 'f32' }), {
    code,
    message: /'f32' or 'bf16'.*f16/,
  })
})
