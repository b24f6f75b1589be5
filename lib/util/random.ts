/**
 * The seeded generator that drawn portraits and degradations get all their randomness from: the same seed and purpose
 * give the same numbers on every machine.
 */

const TO_UNIT = 2 ** -32
const LOG_SQRT_2_PI = 0.9189385332046727

/** Chris Doty-Humphrey's sfc32 (PractRand): 128 bits of state, period of at least 2^32. */
export class Random {
  #a: number
  #b: number
  #c: number
  #counter = 1
  #spare: number | null = null

  /**
   * @param seed    A whole number from 0 to 2^53 - 1.
   * @param purpose What the numbers are for; those of different purposes are unrelated, so one seed serves for all.
   */
  constructor(seed: number, purpose: string) {
    this.#a = seed | 0 // the low 32 bits
    this.#b = Math.floor(seed / 2 ** 32) | 0
    this.#c = hash(purpose)
    for (let i = 0; i < 12; i++) this.bits()
  }

  /** 32 random bits, as an unsigned integer. */
  bits(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return sum >>> 0
  }

  /** Uniform in `[low, high)`. */
  uniform(low = 0, high = 1): number {
    return low + (high - low) * this.bits() * TO_UNIT
  }

  /** `true` with the given probability. */
  chance(probability: number): boolean {
    return this.uniform() < probability
  }

  /** A whole number from 0 to `n - 1`. */
  index(n: number): number {
    return Math.floor(this.uniform(0, n))
  }

  /** An index, each with the weight it is given. */
  weighted(weights: readonly number[]): number {
    let left = this.uniform() * weights.reduce((sum, weight) => sum + weight, 0)
    const chosen = weights.findIndex((weight) => (left -= weight) < 0)
    return chosen === -1 ? weights.length - 1 : chosen
  }

  /** One of the keys, each with the weight it is given. */
  pick<T extends string>(weights: Readonly<Record<T, number>>): T {
    const names = Object.keys(weights) as T[]
    return names[this.weighted(names.map((name) => weights[name]))]!
  }

  /** The items in random order (Fisher-Yates); `items` stays as it is. */
  shuffle<T>(items: readonly T[]): T[] {
    const order = [...items]
    for (let i = order.length - 1; i > 0; i--) {
      const j = this.index(i + 1)
      ;[order[i], order[j]] = [order[j]!, order[i]!]
    }
    return order
  }

  /** Bell-shaped around 0, within [-1, 1], with a standard deviation of about 0.41. */
  bell(): number {
    return this.uniform() + this.uniform() - 1
  }

  /** Standard normal (Marsaglia's polar method); never beyond 10: the uniform numbers have too few bits for more. */
  normal(): number {
    if (this.#spare !== null) {
      const spare = this.#spare
      this.#spare = null
      return spare
    }
    for (;;) {
      const x = this.bits() * (2 * TO_UNIT) - 1
      const y = this.bits() * (2 * TO_UNIT) - 1
      const square = x * x + y * y
      if (square >= 1 || square === 0) continue
      const factor = Math.sqrt((-2 * Math.log(square)) / square)
      this.#spare = y * factor
      return x * factor
    }
  }

  /** Poisson with the given mean, exactly: Knuth's product where the mean is small, otherwise Hörmann's PTRS (1993). */
  poisson(mean: number): number {
    if (mean < 12) {
      const limit = Math.exp(-mean)
      let count = 0
      for (let product = this.uniform(); product > limit; product *= this.uniform()) count++
      return count
    }
    const b = 0.931 + 2.53 * Math.sqrt(mean)
    const a = -0.059 + 0.02483 * b
    for (;;) {
      const u = this.uniform() - 0.5
      const v = this.uniform()
      const us = 0.5 - Math.abs(u)
      const k = Math.floor(((2 * a) / us + b) * u + mean + 0.43)
      if (us >= 0.07 && v <= 0.9277 - 3.6224 / (b - 2)) return k
      if (k < 0 || (us < 0.013 && v > us)) continue
      const inverseAlpha = 1.1239 + 1.1328 / (b - 3.4)
      const accepted = Math.log((v * inverseAlpha) / (a / (us * us) + b))
      if (accepted <= k * Math.log(mean) - mean - logFactorial(k)) return k
    }
  }

  /** A generator of its own, for work that draws an unknown number of times. */
  branch(): Random {
    return new Random((this.bits() >>> 11) * 2 ** 32 + this.bits(), 'branch')
  }
}

/** 32 bits of a name (as FNV-1a mixes them). */
function hash(name: string): number {
  let bits = 0x9e3779b9
  for (const character of name) bits = Math.imul(bits ^ character.charCodeAt(0), 0x01000193)
  return bits | 0
}

/** ln k!: Stirling's series for `k >= 10`, the plain sum below. */
function logFactorial(k: number): number {
  if (k >= 10) return (k + 0.5) * Math.log(k) - k + LOG_SQRT_2_PI + 1 / (12 * k) - 1 / (360 * k * k * k)
  let sum = 0
  for (let i = 2; i <= k; i++) sum += Math.log(i)
  return sum
}
