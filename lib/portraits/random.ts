/** Seeded randomness: the same seed gives the same portrait on every machine. */

/** A stream of random numbers (sfc32, seeded by 53 bits and the name of what it is for). */
export class Random {
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: number, purpose: string) {
    this.#a = seed >>> 0
    this.#b = Math.floor(seed / 2 ** 32) >>> 0
    this.#c = 0x9e3779b9
    for (const character of purpose) this.#c = Math.imul(this.#c ^ character.charCodeAt(0), 0x01000193) >>> 0
    for (let i = 0; i < 12; i++) this.#next()
  }

  #next(): number {
    const result = (this.#a + this.#b + this.#counter++) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + result
    return result >>> 0
  }

  /** Uniform in [min, max). */
  uniform(min = 0, max = 1): number {
    return min + (this.#next() / 2 ** 32) * (max - min)
  }

  /** Bell-shaped around 0, within [-1, 1], with a standard deviation of about 0.41. */
  bell(): number {
    return this.uniform() + this.uniform() - 1
  }

  chance(probability: number): boolean {
    return this.uniform() < probability
  }

  /** A whole number from 0 to n - 1. */
  index(n: number): number {
    return Math.floor(this.uniform() * n)
  }

  /** An index drawn in proportion to the weights. */
  weighted(weights: readonly number[]): number {
    let left = this.uniform() * weights.reduce((sum, weight) => sum + weight, 0)
    for (const [i, weight] of weights.entries()) if ((left -= weight) < 0) return i
    return weights.length - 1
  }
}

/** Side of {@link noiseTexture}. */
export const NOISE_SIZE = 256

let texture: Float32Array | undefined

/** Smooth noise in [-1, 1], 256 x 256, tileable: three octaves of interpolated lattice values. Made once. */
export function noiseTexture(): Float32Array {
  if (texture) return texture
  const random = new Random(20260131, 'noise')
  const result = new Float32Array(NOISE_SIZE * NOISE_SIZE)
  for (const [cells, weight] of [
    [32, 0.3],
    [64, 0.4],
    [128, 0.5],
  ] as const) {
    const lattice = Float32Array.from({ length: cells * cells }, () => random.uniform(-1, 1))
    const step = cells / NOISE_SIZE
    for (let y = 0; y < NOISE_SIZE; y++) {
      const v = y * step
      const row = Math.floor(v)
      const fv = smooth(v - row)
      for (let x = 0; x < NOISE_SIZE; x++) {
        const u = x * step
        const column = Math.floor(u)
        const fu = smooth(u - column)
        const at = (i: number, j: number) => lattice[(j % cells) * cells + (i % cells)]!
        const top = at(column, row) * (1 - fu) + at(column + 1, row) * fu
        const bottom = at(column, row + 1) * (1 - fu) + at(column + 1, row + 1) * fu
        result[y * NOISE_SIZE + x]! += weight * (top * (1 - fv) + bottom * fv)
      }
    }
  }
  return (texture = result)
}

/** The texture's value at (u, v), each in units of its pixels. */
export function noise(u: number, v: number): number {
  return noiseTexture()[((v & 255) << 8) | (u & 255)]!
}

function smooth(x: number): number {
  return x * x * (3 - 2 * x)
}
