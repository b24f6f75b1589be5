/**
 * Measures of error, the limits that judge an implementation (model-specification.md 9 and the golden files' own
 * notes), and the rows of the table they make.
 */

export type Precision = 'f32' | 'bf16'

/** What a difference may be at most; every bound that is given holds. */
export interface Limit {
  /** |actual - expected| / |expected|, Frobenius. */
  readonly relative?: number
  /** The largest |actual - expected|. */
  readonly absolute?: number
  /** The share of values that may differ at all. */
  readonly share?: number
}

/** One output of one case. */
export interface Row {
  readonly output: string
  /** `exact` where nothing depends on the precision. */
  readonly precision: Precision | 'exact'
  readonly relative: number | null
  readonly absolute: number | null
  readonly limit: Limit | null
  /** `info`: shown, but nothing judges it. */
  readonly verdict: 'pass' | 'FAIL' | 'info'
  readonly note?: string
}

export const LIMITS = {
  network: { f32: { relative: 2e-5 }, bf16: { relative: 1.5e-2 } },
  /** From noise to picture. bf16 has no limit here: guidance multiplies the rounding of every step. */
  endToEnd: { f32: { relative: 1e-4 }, bf16: null },
  /** By restore itself, whose schedule is not the float32 one that such cases were made with. */
  restored: { f32: { relative: 2e-4 }, bf16: null },
  /** One block alone; normalised q and k: nothing accumulates. */
  block: { f32: { relative: 3e-6 }, bf16: { relative: 1.5e-2 } },
  qkNorm: { relative: 1e-6 },
  attention: { relative: 2e-5 },
  ropeTable: { absolute: 1e-4 },
  timestepEmbedding: { absolute: 1e-4 },
  /** In float64, and as the authors' float32 gives it. */
  schedule: { absolute: 1e-12 },
  scheduleFloat32: { absolute: 1e-6 },
  matrix: { absolute: 1e-9 },
  noise: { relative: 2e-5 },
  anchor: { absolute: 1e-6 },
  embedding: { absolute: 1e-5 },
  embeddingNorm: { relative: 1e-5 },
  /** The face detector's raw results, and what lies before them; where its weights are computed, not stored. */
  detector: { absolute: 2e-4 },
  detectorMaps: { absolute: 5e-4 },
  detectorFormula: { absolute: 2e-5 },
  detectedPixels: { absolute: 0.01 },
  detectedScores: { absolute: 1e-4 },
  /** Matrices of faces; their shifts are pixels. */
  alignment: { relative: 1e-6, absolute: 1e-4 },
  pasteMask: { absolute: 5e-6 },
  pastedPixels: { absolute: 1, share: 1e-4 },
  image: { absolute: 1e-6 },
  pixels: { absolute: 1, share: 0.005 },
  exact: { absolute: 0 },
} as const satisfies Record<string, Limit | Record<Precision, Limit | null>>

export interface Difference {
  readonly relative: number
  readonly absolute: number
  /** Share of values that differ. */
  readonly share: number
}

/** Differences of two lists of values; a NaN on either side, or another length, is infinitely wrong. */
export function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): Difference {
  const wrong = { relative: Infinity, absolute: Infinity, share: 1 }
  if (actual.length !== expected.length) return wrong
  let square = 0
  let size = 0
  let absolute = 0
  let differing = 0
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!)
    if (Number.isNaN(error)) return wrong
    if (error > absolute) absolute = error
    if (error > 0) differing++
    square += error * error
    size += expected[i]! * expected[i]!
  }
  const relative = square === 0 ? 0 : Math.sqrt(square / size)
  return { relative, absolute, share: differing / Math.max(1, expected.length) }
}

export function judge(found: Difference, limit: Limit | null): Row['verdict'] {
  if (limit === null) return Number.isFinite(found.absolute) ? 'info' : 'FAIL'
  const within = (value: number, bound: number | undefined) => bound === undefined || value <= bound
  const passes =
    Number.isFinite(found.absolute) &&
    within(found.relative, limit.relative) &&
    within(found.absolute, limit.absolute) &&
    within(found.share, limit.share)
  return passes ? 'pass' : 'FAIL'
}

/** Lines of a table, aligned. */
export function tableOf(rows: readonly Row[]): string {
  const cells = rows.map(({ precision, output, relative, absolute, limit, verdict, note }) => [
    precision,
    output,
    exponent(relative),
    limitText(limit),
    exponent(absolute),
    verdict + (note === undefined ? '' : `  ${note}`),
  ])
  const head = ['', 'output', 'rel L2', 'limit', 'max abs', '']
  const width = head.map((title, i) => Math.max(title.length, ...cells.map((row) => row[i]!.length)))
  const line = (row: string[]) => `  ${row.map((cell, i) => cell.padEnd(width[i]!)).join('  ')}`.trimEnd()
  return [head, ...cells].map((row) => `${line(row)}\n`).join('')
}

function exponent(value: number | null): string {
  return value === null ? '-' : value === 0 ? '0' : value.toExponential(1)
}

function limitText(limit: Limit | null): string {
  if (limit === null) return '-'
  const parts = [
    limit.relative === undefined ? '' : `${limit.relative}`,
    limit.absolute === undefined ? '' : limit.absolute === 0 ? 'exact' : `abs ${limit.absolute}`,
    limit.share === undefined ? '' : `${limit.share * 100} %`,
  ]
  return parts.filter((part) => part !== '').join(', ')
}
