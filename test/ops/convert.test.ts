// convert: rounding between float types; all_finite: one value in any place that is not a number, or infinite.
import t from 'tap'
import { bf16, f32, OpContext, type Tensor, toFloat32 } from '../../dist/ops/index.js'
import { everyIsa, numbers, sameBits } from '../fixtures/tensors'

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

    for (const size of [1, 15, 16, 17, 100])
      for (const place of [0, size >> 1, size - 1]) {
        const value = async (bad?: number) => {
          const x = random.tensor([1, size])
          if (bad !== undefined) x.data[place] = bad
          return Number((await ops.run('all_finite', { x })).out.data[0])
        }
        t.equal(await value(), 1, `${size} finite values`)
        t.equal(await value(3.4e38), 1, 'large is finite')
        for (const bad of [NaN, Infinity, -Infinity]) t.equal(await value(bad), 0, `${bad} at ${place} of ${size}`)
      }
    await ops.dispose()
  })
}

t.test('refusals', async (t) => {
  await using ops = new OpContext()
  const x: Tensor = { dtype: 'i32', shape: [2], data: new Int32Array(2) }
  await t.rejects(ops.run('convert', { x }), { code: 'ERR_ICONFACE_INVALID_ARGUMENT', message: /x/ })
})
