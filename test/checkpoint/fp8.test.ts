// Values of the two 8-bit types, every one, by their definitions; times one scale or one a row; in every type they go
// to.
import t from 'tap'
import { toFloat32 } from '../../dist/formats/dtype.js'
import { dequantise, type Fp8 } from '../../dist/checkpoint/fp8.js'

/** By IEEE's rule for a sign, some exponent and some fraction; the largest exponent is left to the types. */
function value(bits: number, fractionBits: number, bias: number): number {
  const exponent = (bits & 0x7f) >> fractionBits
  const fraction = (bits & ((1 << fractionBits) - 1)) / (1 << fractionBits)
  const size = exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias)
  return bits & 0x80 ? -size : size
}

const DEFINITIONS: Record<Fp8, (bits: number) => number> = {
  // No infinity, and one NaN of each sign.
  F8_E4M3: (bits) => ((bits & 0x7f) === 0x7f ? NaN : value(bits, 3, 7)),
  // As binary16's upper half: the largest exponent is infinity, or NaN.
  F8_E5M2: (bits) => {
    if ((bits & 0x7c) !== 0x7c) return value(bits, 2, 15)
    return bits & 3 ? NaN : bits & 0x80 ? -Infinity : Infinity
  },
}

const all = Uint8Array.from({ length: 256 }, (_, bits) => bits)

for (const dtype of ['F8_E4M3', 'F8_E5M2'] as const) {
  const expected = [...all].map(DEFINITIONS[dtype])

  t.test(`${dtype}: all 256`, async (t) => {
    for (const to of ['F32', 'BF16', 'F16'] as const)
      t.same([...toFloat32(dequantise(all, dtype, Float32Array.of(1), 1, to, 'w'), to)], expected, to)
  })

  t.test(`${dtype}: scales`, async (t) => {
    const rows = Float32Array.of(0.5, 2 ** -9, 3, -1)
    for (const to of ['F32', 'BF16'] as const) {
      const one = toFloat32(dequantise(all, dtype, Float32Array.of(2 ** -6), 4, to, 'w'), to)
      t.same(
        [...one],
        expected.map((v) => v / 64),
        `${to}: one`,
      )
      const each = toFloat32(dequantise(all, dtype, rows, 4, to, 'w'), to)
      t.same(
        [...each],
        expected.map((v, i) => v * rows[i >> 6]!),
        `${to}: one a row`,
      )
    }
  })
}

t.test('known values', async (t) => {
  const of = (dtype: Fp8, bits: number) =>
    toFloat32(dequantise(Uint8Array.of(bits), dtype, Float32Array.of(1), 1, 'F32', 'w'), 'F32')[0]
  t.equal(of('F8_E4M3', 0x7e), 448, 'the largest')
  t.equal(of('F8_E4M3', 0x01), 2 ** -9, 'the smallest')
  t.equal(of('F8_E4M3', 0x38), 1)
  t.equal(of('F8_E5M2', 0x7b), 57344, 'the largest')
  t.equal(of('F8_E5M2', 0x01), 2 ** -16, 'the smallest')
  t.equal(of('F8_E5M2', 0x3c), 1)
})
