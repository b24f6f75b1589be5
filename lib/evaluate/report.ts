/**
 * An evaluation for people to read on a terminal.
 */

import type { Evaluation } from './evaluation'
import { METRIC_NAMES, METRICS, type MetricName } from './measure'
import type { SeveritySummary, SummaryRow } from './evaluation'
import type { Estimate } from './statistics'

/** What it was, a table for every severity, and what the references gain. */
export function reportText(evaluation: Evaluation): string {
  const names = measured(evaluation)
  const tables = evaluation.summary.map((severity) => severityText(severity, names))
  return `${headLine(evaluation)}\n\n${tables.join('\n')}\n${notes(evaluation).join('\n')}\n`
}

/** The metrics that were measured anywhere. */
export function measured({ summary }: Evaluation): MetricName[] {
  return METRIC_NAMES.filter((name) => summary.some(({ rows }) => rows.some(({ values }) => values[name] !== null)))
}

export function headLine({ model, settings }: Evaluation): string {
  const { size, steps, guidance, seed, precision } = settings
  return `${model.name}, ${model.variant}, ${size} px, ${steps} ${steps === 1 ? 'step' : 'steps'}, guidance ${guidance}, seed ${seed}, ${precision}`
}

/** What a reader has to know about the numbers. */
export function notes(evaluation: Evaluation): string[] {
  const names = measured(evaluation)
  const all = [
    'Means with the half width of their 95 % confidence interval (Student); gains are means of differences case by case.',
  ]
  if (names.includes('landmarks')) all.push('Landmark errors are fractions of the distance between the eyes.')
  const { lost, used } = landmarkCounts(evaluation)
  if (lost > 0)
    all.push(
      `${lost} of ${used} landmarks were lost: nothing near resembles them; each counts as the largest error, 0.28.`,
    )
  if (!names.includes('identityTruth')) all.push('Identity was not measured: this checkpoint has no face encoder.')
  else if (!names.includes('identityReference')) all.push('Identity of references was not measured: no case has any.')
  if (names.includes('identityTruth')) all.push("Identity is the cosine of the checkpoint's own face encoder.")
  const { failures, cases } = evaluation
  if (failures.length > 0) {
    const names = failures.map(({ name, code }) => `${name} (${code})`)
    all.push(`${names.length} of ${names.length + cases.length} cases could not be evaluated: ${names.join(', ')}.`)
  }
  if (evaluation.model.synthesized) all.push('The weights are random: the results mean nothing.')
  return all
}

/** Over all pictures that were judged. */
function landmarkCounts({ cases }: Evaluation): { lost: number; used: number } {
  const found = cases.flatMap(({ degraded, restored }) => [degraded, ...restored].map(({ landmarks }) => landmarks))
  const sum = (name: 'lost' | 'used') => found.reduce((total, one) => total + (one?.[name] ?? 0), 0)
  return { lost: sum('lost'), used: sum('used') }
}

/** What a row shows: `degraded`, `no references`, `3 references`. */
export function pictureName(picture: SummaryRow['picture']): string {
  if (picture === 'degraded') return 'degraded'
  if (picture === 0) return 'no references'
  return picture === 1 ? '1 reference' : `${picture} references`
}

/** `24.10 ± 0.52`; a sign before gains. */
function estimateText(value: Estimate | null, digits: number, signed = false): string {
  if (value === null) return '-'
  const { mean, interval } = value
  const rounded = mean.toFixed(digits).replace(/^-(0\.0*)$/, '$1') // no -0.00
  const text = signed && !rounded.startsWith('-') ? `+${rounded}` : rounded
  return interval === null ? text : `${text} ± ${((interval[1] - interval[0]) / 2).toFixed(digits)}`
}

/** One table of a severity: its heading, and rows of name and one estimate for each metric. */
interface SeverityTable {
  heading: string
  rows: { name: string; values: string[]; gain: boolean }[]
}

export function severityTable({ severity, cases, rows }: SeveritySummary, names: readonly MetricName[]): SeverityTable {
  const values = (estimates: SummaryRow['values'], signed: boolean) =>
    names.map((name) => estimateText(estimates[name], METRICS[name].digits, signed))
  const gain = (name: string, estimates: SummaryRow['values'] | null) =>
    estimates === null ? [] : [{ name, values: values(estimates, true), gain: true }]
  return {
    heading: `${severity}, ${cases} ${cases === 1 ? 'case' : 'cases'}`,
    rows: [
      ...rows.map((row) => ({ name: rowName(row, cases), values: values(row.values, false), gain: false })),
      ...rows.flatMap((row) => gain(`${pictureName(row.picture)} - degraded`, row.gainOverDegraded)),
      ...rows.flatMap((row) => gain(`${pictureName(row.picture)} - none`, row.gainOverNoReferences)),
    ],
  }
}

/** The picture's name, and how many cases where that is not all of them. */
function rowName({ picture, values }: SummaryRow, cases: number): string {
  const n = values.psnr?.n ?? 0
  return n === cases ? pictureName(picture) : `${pictureName(picture)} (${n} cases)`
}

function severityText(summary: SeveritySummary, names: readonly MetricName[]): string {
  const { heading, rows } = severityTable(summary, names)
  const header = names.map((name) => METRICS[name].label)
  const lines = [{ name: heading, values: header }, ...rows]
  const first = Math.max(...lines.map(({ name }) => name.length))
  const widths = header.map((_, i) => Math.max(...lines.map(({ values }) => values[i]!.length)))
  return lines
    .map(({ name, values }) => `${name.padEnd(first)}  ${values.map((v, i) => v.padStart(widths[i]!)).join('  ')}\n`)
    .join('')
}
