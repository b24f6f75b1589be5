/** Files to rows: which files there are, what each is, and what comparing it gives. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import path from 'node:path'
import { invalid } from '../../dist/errors.js'
import { PACKAGE_ROOT } from '../../dist/util/package.js'
import { messageOf } from '../../dist/util/realm.js'
import { type Decision, decide } from './kinds'
import { Run, type RunOptions } from './run'
import type { Precision, Row } from './sheet'

/** What became of one file. */
export interface FileReport {
  readonly file: string
  readonly kind: string
  readonly isa: string | undefined
  readonly rows: readonly Row[]
  /** Why nothing was compared. */
  readonly skipped?: string
  readonly seconds: number
}

export interface CompareOptions extends RunOptions {
  precisions: readonly Precision[]
}

/** The folder of golden files: `ICONFACE_GOLDEN` if it is set, else `shared/golden` in the package or beside it. */
export function goldenFolder(): string | undefined {
  if (process.env.ICONFACE_GOLDEN) return process.env.ICONFACE_GOLDEN
  const places = [path.join(PACKAGE_ROOT, 'shared', 'golden'), path.join(PACKAGE_ROOT, '..', 'shared', 'golden')]
  return places.find((place) => existsSync(place))
}

/** This package's own small reference tensors, in its repository: small networks in float64. */
const OWN = path.join(PACKAGE_ROOT, 'test', 'fixtures', 'reference')

/** What is compared when nothing is named: the package's own files, and the golden ones where they are. */
export function referencePlaces(): string[] {
  return [OWN, goldenFolder()].filter((place) => place !== undefined && existsSync(place)) as string[]
}

/** The files themselves, and all safetensors and JSON files in folders, sorted. Pictures are read with their cases. */
export function filesIn(places: readonly string[]): string[] {
  return places.flatMap((place) => {
    const found = statSync(place, { throwIfNoEntry: false })
    if (!found) throw invalid('the arguments', 'files and folders that exist', place)
    if (!found.isDirectory()) return [place]
    const inside = readdirSync(place, { recursive: true, encoding: 'utf8' }).filter((file) =>
      /\.(safetensors|json)$/.test(file),
    )
    return inside.sort().map((file) => path.join(place, file))
  })
}

/** Compares one file. An error on the way is a row that fails: it must not hide the other files. */
export async function compareFile(file: string, options: CompareOptions): Promise<FileReport> {
  const began = performance.now()
  const report = (decision: Pick<Decision, 'kind'>, rest: Pick<FileReport, 'rows' | 'skipped'>): FileReport => {
    return { file, kind: decision.kind, isa: options.isa, seconds: (performance.now() - began) / 1000, ...rest }
  }
  let decision: Decision
  try {
    decision = decide(file)
  } catch (error) {
    return report({ kind: 'unreadable' }, { rows: [failure('(reading)', 'exact', error)] })
  }
  if ('skipped' in decision) return report(decision, { rows: [], skipped: decision.skipped })
  const rows: Row[] = []
  for (const precision of decision.precisions ? options.precisions : [undefined]) {
    const run = new Run(precision, options)
    try {
      await decision.compare(file, run)
    } catch (error) {
      run.rows.push(failure('(running)', precision ?? 'exact', error))
    } finally {
      await run.dispose()
    }
    if (run.rows.length === 0) run.rows.push(failure('(outputs)', precision ?? 'exact', 'it holds nothing to compare'))
    rows.push(...run.rows)
  }
  return report(decision, { rows })
}

function failure(output: string, precision: Row['precision'], error: unknown): Row {
  const note = messageOf(error)
  return { output, precision, relative: null, absolute: null, limit: null, verdict: 'FAIL', note }
}
