// Rounding to narrower types: against every half, and against double arithmetic.
import t from 'tap'
import { toFloat32 } from '../../dist/formats/dtype.js'
import { roundTensor, type RoundedDType } from '../../dist/formats/round.js'
import { floats } from '../fixtures/pickle'
import { numbers } from '../fixtures/tensors'

const round = (values: Buffer | number[], to: RoundedDType, from: 'F32' | 'F64' = 'F32') =>
  roundTensor(
    Array.isArray(values)
      ? from === 'F32'
        ? floats(...values)
        : Buffer.from(Float64Array.from(values).buffer)
      : values,
    from,
    to,
    'w',
  )
const values = (...args: Parameters<typeof round>) => [...toFloat32(round(...args), args[1])]

t.test('every half and every bfloat16 survives the way to F32 and back', async (t) => {
  const all = Uint16Array.from({ length: 1 << 16 }, (_, i) => i)
  for (const [dtype, infinity] of [
    ['F16', 0x7c00],
    ['BF16', 0x7f80],
  ] as const) {
    const back = new Uint16Array(
      roundTensor(roundTensor(new Uint8Array(all.buffer), dtype, 'F32', 'w'), 'F32', dtype, 'w').buffer,
    )
    const isNaN = (bits: number) => (bits & 0x7fff) > infinity
    t.same(
      all.filter((bits) => (isNaN(bits) ? !isNaN(back[bits]!) : back[bits] !== bits)),
      new Uint16Array(0),
      dtype,
    )
  }
})

t.test('to the nearest, ties to even', async (t) => {
  t.same(values([1 + 2 ** -11, 1 + 3 * 2 ** -11, 65519, 2 ** -25, 3 * 2 ** -25, 2 ** -26], 'F16'), [
    1,
    1 + 2 ** -9,
    65504,
    0,
    2 ** -23,
    0,
  ])
  t.same(values([1 + 2 ** -8, 1 + 3 * 2 ** -8, -1 - 2 ** -7], 'BF16'), [1, 1 + 2 ** -6, -1 - 2 ** -7])
  t.same(values([0.1, 1e-320], 'F32', 'F64'), [Math.fround(0.1), 0])
  const { normal, uniform } = numbers(3)
  for (const [to, digits, smallest] of [
    ['F16', 10, -14],
    ['BF16', 7, -126],
  ] as const) {
    const given = Float32Array.from({ length: 5000 }, () => normal() * 10 ** (uniform() * 9 - 6))
    const worst = values([...given], to).reduce((worst, rounded, i) => {
      const step = 2 ** (Math.max(smallest, Math.floor(Math.log2(Math.abs(given[i]!)))) - digits)
      return Math.max(worst, Math.abs(rounded - given[i]!) / step)
    }, 0)
    t.ok(worst <= 0.5, `${to}: ${worst} steps`)
  }
})

t.test('infinities and NaN stay; what overflows is an error that names it', async (t) => {
  for (const to of ['F16', 'BF16'] as const) {
    t.same(values([Infinity, -Infinity, NaN, -0], to), [Infinity, -Infinity, NaN, -0])
  }
  const code = 'ERR_ICONFACE_NUMERICAL'
  t.throws(() => round([1, 65520], 'F16'), {
    code,
    message: 'tensor "w" holds 65520, too large for F16; BF16 or F32 holds it',
  })
  t.throws(() => round([3.4e38], 'BF16'), { code, message: /BF16; F32 holds it/ })
  t.throws(() => round([1e300], 'F32', 'F64'), { code, message: /holds 1e\+300, too large for F32/ })
  t.throws(() => round([1e300], 'F16', 'F64'), { code, message: /1e\+300/ })
})
