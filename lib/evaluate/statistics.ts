/**
 * Means with their confidence intervals.
 */

import { invalid } from '../errors'

/** A mean over cases, with its 95 % confidence interval. */
export interface Estimate {
  /** How many values. */
  n: number
  mean: number
  /** Student's t interval; `null` for a single value, which says nothing about others. */
  interval: [low: number, high: number] | null
}

/**
 * Mean of `values` with Student's 95 % confidence interval, `mean ± t(0.975, n - 1) s / sqrt(n)`.
 *
 * @returns `null` without any value.
 */
export function estimate(values: readonly number[]): Estimate | null {
  const n = values.length
  if (n === 0) return null
  const mean = values.reduce((a, b) => a + b) / n
  if (n === 1 || !Number.isFinite(mean)) return { n, mean, interval: null }
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1)
  const half = studentQuantile(n - 1) * Math.sqrt(variance / n)
  return { n, mean, interval: [mean - half, mean + half] }
}

/**
 * {@link estimate} of the differences `a[i] - b[i]` of values that belong together; pairs with a `null` are left out.
 */
export function pairedDifference(a: readonly (number | null)[], b: readonly (number | null)[]): Estimate | null {
  if (a.length !== b.length) throw invalid('the paired values', `${a.length} on either side`, b.length)
  return estimate(a.flatMap((value, i) => (value === null || b[i]! === null ? [] : [value - b[i]!])))
}

/** Exact values where the series below is off by more than 0.1 %. */
const FEW = [12.7062, 4.3027, 3.1824, 2.7764]

/** The 0.975 quantile of Student's distribution (Abramowitz and Stegun 26.7.5 from five degrees of freedom on). */
function studentQuantile(freedom: number): number {
  const exact = FEW[freedom - 1]
  if (exact !== undefined) return exact
  const z = 1.959964
  const terms = [
    z,
    (z ** 3 + z) / 4,
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96,
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384,
    (79 * z ** 9 + 776 * z ** 7 + 1482 * z ** 5 - 1920 * z ** 3 - 945 * z) / 92160,
  ]
  return terms.reduce((sum, term, i) => sum + term / freedom ** i, 0)
}
