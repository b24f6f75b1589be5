/**
 * Element types of safetensors files, and conversion of those that hold real numbers.
 */

/** Bits per element of every type the safetensors format knows. */
const DTYPE_BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  U8: 8,
  I8: 8,
  U16: 16,
  I16: 16,
  F16: 16,
  BF16: 16,
  U32: 32,
  I32: 32,
  F32: 32,
  U64: 64,
  I64: 64,
  F64: 64,
  C64: 64,
} as const

/** A safetensors element type, spelled as in the file. */
export type DType = keyof typeof DTYPE_BITS

/** The types weights may have; everything else is recognised, described and refused. */
export const WEIGHT_DTYPES: readonly DType[] = ['F32', 'BF16', 'F16']

export function isDType(name: string): name is DType {
  return Object.hasOwn(DTYPE_BITS, name)
}

export function dtypeBits(dtype: DType): number {
  return DTYPE_BITS[dtype]
}

/** Number of elements of `shape`, or `undefined` when it exceeds what a double counts exactly (2^53 - 1). */
export function elementCount(shape: readonly number[]): number | undefined {
  let count = 1
  for (const size of shape) {
    count *= size
    if (!Number.isSafeInteger(count)) return undefined
  }
  return count
}

/** Little-endian F32, BF16, F16 or F64 bytes as float32 values. */
export function toFloat32(bytes: Uint8Array, dtype: DType): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  switch (dtype) {
    case 'F32': {
      const values = new Float32Array(bytes.length / 4)
      for (let i = 0; i < values.length; i++) values[i] = view.getFloat32(i * 4, true)
      return values
    }
    case 'F64':
      return Float32Array.from({ length: bytes.length / 8 }, (_, i) => view.getFloat64(i * 8, true))
    case 'F16':
      return Float32Array.from({ length: bytes.length / 2 }, (_, i) => halfToNumber(view.getUint16(i * 2, true)))
    case 'BF16': {
      const bits = Uint32Array.from({ length: bytes.length / 2 }, (_, i) => view.getUint16(i * 2, true) << 16)
      return new Float32Array(bits.buffer)
    }
    default:
      throw new RangeError(`${dtype} values are not real numbers this package reads`)
  }
}

/** Readers of whole numbers, little-endian. */
const WHOLE: Partial<Record<DType, (view: DataView) => number>> = {
  I8: (view) => view.getInt8(0),
  U8: (view) => view.getUint8(0),
  I16: (view) => view.getInt16(0, true),
  U16: (view) => view.getUint16(0, true),
  I32: (view) => view.getInt32(0, true),
  U32: (view) => view.getUint32(0, true),
  I64: (view) => Number(view.getBigInt64(0, true)),
  U64: (view) => Number(view.getBigUint64(0, true)),
}

/** The types that {@link toNumber} reads. */
export const NUMBER_DTYPES: readonly DType[] = ['F64', ...WEIGHT_DTYPES, ...(Object.keys(WHOLE) as DType[])]

/** The first element, a real or whole number. */
export function toNumber(bytes: Uint8Array, dtype: DType): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (dtype === 'F64') return view.getFloat64(0, true)
  return WHOLE[dtype]?.(view) ?? toFloat32(bytes, dtype)[0]!
}

/** The value of an IEEE 754 binary16 bit pattern. */
function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25)
}

/** Rounds float32 values, given by their bits, to bfloat16 bits: to nearest, ties to even. Finite values only. */
export function roundToBFloat16(bits: Uint32Array, out: Uint16Array): void {
  for (let i = 0; i < out.length; i++) {
    const x = bits[i]!
    out[i] = (x + 0x7fff + ((x >>> 16) & 1)) >>> 16
  }
}
