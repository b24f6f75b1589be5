/**
 * Measures of many cases, summarised by severity and number of references.
 */

import type { CaseResult, Estimates, SeveritySummary, SummaryRow } from './evaluation'
import { type Measures, METRIC_NAMES, METRICS, type MetricName } from './measure'
import { type Estimate, estimate, pairedDifference } from './statistics'

/** @param counts Numbers of references, in the order of the rows. */
export function summarise(results: readonly CaseResult[], counts: readonly number[]): SeveritySummary[] {
  return [...new Set(results.map(({ severity }) => severity))].map((severity) => {
    const cases = results.filter((result) => result.severity === severity)
    const degraded = cases.map((result) => result.degraded)
    const restored = (count: number) =>
      cases.map((result) => result.restored.find(({ references }) => references === count) ?? null)
    const bare = counts.includes(0) ? restored(0) : null
    const rows: SummaryRow[] = [
      { picture: 'degraded', values: estimates(degraded), gainOverDegraded: null, gainOverNoReferences: null },
      ...counts.map((count) => ({
        picture: count,
        values: estimates(restored(count)),
        gainOverDegraded: gains(restored(count), degraded),
        gainOverNoReferences: bare && count > 0 ? gains(restored(count), bare) : null,
      })),
    ]
    return { severity, cases: cases.length, rows }
  })
}

type Column = readonly (Measures | null)[]

function estimates(column: Column): Estimates {
  return each((metric) => estimate(values(column, metric).filter((value) => value !== null)))
}

function gains(column: Column, base: Column): Estimates {
  return each((metric) => pairedDifference(values(column, metric), values(base, metric)))
}

function values(column: Column, metric: MetricName): (number | null)[] {
  return column.map((measures) => measures && METRICS[metric].read(measures))
}

function each(of: (metric: MetricName) => Estimate | null): Estimates {
  return Object.fromEntries(METRIC_NAMES.map((metric) => [metric, of(metric)])) as Estimates
}
