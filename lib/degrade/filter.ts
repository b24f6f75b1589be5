/**
 * Two-dimensional convolution with reflecting borders, as a sum of separable filters.
 *
 * A kernel of n x n weights costs n^2 products a pixel. Any kernel is a sum of outer products of a column and a row,
 * each of which costs 2n; smooth ones, as all blurs are, need one (Gaussians along the axes) to a handful of them.
 */

import type { Kernel } from './kernels'
import type { RgbImage } from '../image'

/** One separable part of a kernel: weight (y, x) is `column[y] * row[x]`. */
interface Separable {
  column: Float64Array
  row: Float64Array
}

/** The remainder of a kernel may weigh this much in all: at most half of one 8-bit level. */
const TOLERANCE = 2e-3

/** `image` convolved with `kernel`. Beyond the border it goes on mirrored, the border pixel not repeated. */
export function filter(image: RgbImage, kernel: Kernel): RgbImage {
  const { width, height } = image
  const radius = (kernel.size - 1) / 2
  if (isIdentity(kernel)) return image
  const line = 3 * width
  const padded = pad(image, radius)
  const between = new Float64Array((height + 2 * radius) * line)
  const sums = new Float64Array(height * line)
  for (const { column, row } of separate(kernel)) {
    between.fill(0)
    for (let y = 0; y < height + 2 * radius; y++) {
      correlate(between, y * line, padded, y * (line + 6 * radius), 3, row, line)
    }
    for (let y = 0; y < height; y++) correlate(sums, y * line, between, y * line, line, column, line)
  }
  // A clamped array rounds to the nearest and keeps to 0..255, which sharp sees as plain bytes.
  return { data: new Uint8Array(new Uint8ClampedArray(sums).buffer), width, height }
}

/** Whether all weight that can change an 8-bit value is on the centre. */
function isIdentity({ size, weights }: Kernel): boolean {
  const centre = (size * size - 1) / 2
  return weights.every((weight, i) => i === centre || Math.abs(weight) * size * size < TOLERANCE)
}

/** `out[i] += sum over k of weights[k] * from[i + k * step]`, for `length` values from the given places. */
function correlate(
  out: Float64Array,
  outAt: number,
  from: Float64Array,
  fromAt: number,
  step: number,
  weights: Float64Array,
  length: number,
): void {
  let k = 0
  for (; k + 4 <= weights.length; k += 4) {
    // Four weights at a time: the sums are loaded and stored a quarter as often.
    const w0 = weights[k]!
    const w1 = weights[k + 1]!
    const w2 = weights[k + 2]!
    const w3 = weights[k + 3]!
    let at = fromAt + k * step
    for (let i = outAt; i < outAt + length; i++, at++) {
      out[i]! += w0 * from[at]! + w1 * from[at + step]! + w2 * from[at + 2 * step]! + w3 * from[at + 3 * step]!
    }
  }
  for (; k < weights.length; k++) {
    const weight = weights[k]!
    let at = fromAt + k * step
    for (let i = outAt; i < outAt + length; i++, at++) out[i]! += weight * from[at]!
  }
}

/** The picture with `radius` mirrored pixels on every side. */
function pad({ data, width, height }: RgbImage, radius: number): Float64Array {
  const wide = width + 2 * radius
  const padded = new Float64Array((height + 2 * radius) * wide * 3)
  const columns = Int32Array.from({ length: wide }, (_, x) => 3 * mirrored(x - radius, width))
  let at = 0
  for (let y = -radius; y < height + radius; y++) {
    const row = mirrored(y, height) * width * 3
    for (let x = 0; x < wide; x++) {
      const from = row + columns[x]!
      padded[at++] = data[from]!
      padded[at++] = data[from + 1]!
      padded[at++] = data[from + 2]!
    }
  }
  return padded
}

/** The index within `0..length-1` that `index` mirrors, however far outside it is. */
export function mirrored(index: number, length: number): number {
  if (length === 1) return 0
  const period = 2 * length - 2
  const within = ((index % period) + period) % period
  return within < length ? within : period - within
}

/**
 * Separable filters whose sum is the kernel, but for {@link TOLERANCE}. Each takes the direction in which the rest is
 * largest (power iteration) and leaves a rest of one rank less, so at most `size` of them are needed.
 */
export function separate({ size, weights }: Kernel): Separable[] {
  const rest = Float64Array.from(weights)
  const parts: Separable[] = []
  while (parts.length < size && rest.reduce((sum, weight) => sum + Math.abs(weight), 0) > TOLERANCE) {
    const part = largestPart(rest, size)
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) rest[y * size + x]! -= part.column[y]! * part.row[x]!
    }
    parts.push(part)
  }
  return parts
}

function largestPart(matrix: Float64Array, size: number): Separable {
  let row = rowOfMost(matrix, size)
  let column = row
  for (let iteration = 0; iteration < 12; iteration++) {
    column = unit(product(matrix, row, size, 1, size))
    row = product(matrix, column, size, size, 1)
  }
  return { column, row }
}

/** The matrix's row of the largest norm: never orthogonal to the singular vector that is searched. */
function rowOfMost(matrix: Float64Array, size: number): Float64Array {
  const rows = Array.from({ length: size }, (_, y) => matrix.slice(y * size, (y + 1) * size))
  return rows.reduce((most, row) => (norm(row) > norm(most) ? row : most))
}

/**
 * The matrix times a vector; its transpose with `inner` and `outer` exchanged: the steps within and between the sums.
 */
function product(matrix: Float64Array, vector: Float64Array, size: number, inner: number, outer: number): Float64Array {
  const out = new Float64Array(size)
  for (let i = 0; i < size; i++) {
    let sum = 0
    for (let j = 0; j < size; j++) sum += matrix[i * outer + j * inner]! * vector[j]!
    out[i] = sum
  }
  return out
}

function unit(vector: Float64Array): Float64Array {
  const length = norm(vector)
  return vector.map((value) => value / length)
}

function norm(vector: Float64Array): number {
  return Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0))
}
