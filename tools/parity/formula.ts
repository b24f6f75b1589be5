/**
 * Weights that are computed instead of stored: SplitMix64 numbers seeded with a hash of the tensor's name
 * (golden/face/README.md, "Formula weights").
 *
 * 64-bit numbers are pairs of 32-bit halves: BigInt would take minutes for a network of 43 million weights, this
 * takes a second.
 */
import { SafetensorsWriter } from '../../dist/formats/safetensors-writer.js'

export interface FormulaTensor {
  name: string
  shape: number[]
  scale: number
  offset: number
}

export interface FormulaWeights {
  prefix: string
  tensors: FormulaTensor[]
}

/** Values made at a time: a network's largest matrix does not have to be in memory. */
const PIECE = 1 << 20

const FNV_OFFSET = 0xcbf29ce484222325n
const FNV_PRIME = 0x100000001b3n
const MASK = (1n << 64n) - 1n

/** FNV-1a, 64 bit, of the text's UTF-8 bytes. */
export function fnv1a64(text: string): bigint {
  let hash = FNV_OFFSET
  for (const byte of Buffer.from(text)) hash = ((hash ^ BigInt(byte)) * FNV_PRIME) & MASK
  return hash
}

/** The upper 32 bits of the product of two unsigned 32-bit numbers, the second in 16-bit halves. */
function upperProduct(a: number, bUpper: number, bLower: number): number {
  const aLower = a & 0xffff
  const aUpper = a >>> 16
  const middle = aUpper * bLower + ((aLower * bLower) >>> 16)
  const cross = aLower * bUpper + (middle & 0xffff)
  return aUpper * bUpper + Math.floor(middle / 65536) + Math.floor(cross / 65536)
}

/**
 * Numbers `first`, `first + 1`, ... of SplitMix64 seeded with `seed`.
 *
 * @param take  called with the upper and lower half of each, as signed 32-bit numbers, and its place
 */
export function splitMix64(
  seed: bigint,
  first: number,
  count: number,
  take: (upper: number, lower: number, i: number) => void,
): void {
  const start = (seed + BigInt(first) * 0x9e3779b97f4a7c15n) & MASK
  let stateUpper = Number(start >> 32n) | 0
  let stateLower = Number(start & 0xffffffffn) | 0
  for (let i = 0; i < count; i++) {
    // state += 0x9e3779b97f4a7c15
    const sum = (stateLower >>> 0) + 0x7f4a7c15
    stateLower = sum | 0
    stateUpper = (stateUpper + 0x9e3779b9 + (sum > 0xffffffff ? 1 : 0)) | 0
    // z = (state ^ state >> 30) * 0xbf58476d1ce4e5b9
    let upper = stateUpper ^ (stateUpper >>> 30)
    let lower = stateLower ^ ((stateLower >>> 30) | (stateUpper << 2))
    let carried = upperProduct(lower, 0x1ce4, 0xe5b9)
    upper = (carried + Math.imul(upper, 0x1ce4e5b9) + Math.imul(lower, 0xbf58476d)) | 0
    lower = Math.imul(lower, 0x1ce4e5b9)
    // z = (z ^ z >> 27) * 0x94d049bb133111eb
    const shifted = lower ^ ((lower >>> 27) | (upper << 5))
    upper ^= upper >>> 27
    lower = shifted
    carried = upperProduct(lower, 0x1331, 0x11eb)
    upper = (carried + Math.imul(upper, 0x133111eb) + Math.imul(lower, 0x94d049bb)) | 0
    lower = Math.imul(lower, 0x133111eb)
    // z ^= z >> 31
    take(upper ^ (upper >>> 31), lower ^ ((lower >>> 31) | (upper << 1)), i)
  }
}

/** A number in [-1, 1), a multiple of 2^-23, from the upper half of a 64-bit one. */
export function uniform(upper: number): number {
  return (upper >>> 8) / 2 ** 23 - 1
}

/** Values `first` to `first + out.length` of a tensor. */
export function formulaValues(
  prefix: string,
  { name, scale, offset }: FormulaTensor,
  first: number,
  out: Float32Array,
): void {
  splitMix64(fnv1a64(prefix + name), first, out.length, (upper, _, i) => {
    out[i] = uniform(upper) * scale + offset
  })
}

/** Writes all tensors to a safetensors file; `rename` gives their names in it. */
export async function writeFormulaWeights(
  file: string,
  { prefix, tensors }: FormulaWeights,
  rename: (name: string) => string,
): Promise<void> {
  const writer = await SafetensorsWriter.create(
    file,
    tensors.map(({ name, shape }) => ({ name: rename(name), dtype: 'F32', shape })),
  )
  try {
    for (const tensor of tensors) {
      const count = tensor.shape.reduce((a, b) => a * b, 1)
      for (let first = 0; first < count; first += PIECE) {
        const piece = new Float32Array(Math.min(PIECE, count - first))
        formulaValues(prefix, tensor, first, piece)
        await writer.write(piece)
      }
    }
    await writer.finish()
  } finally {
    await writer.abort()
  }
}
