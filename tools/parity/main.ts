#!/usr/bin/env node
/**
 * `npm run parity`: compares the library with golden files and prints a table.
 *
 * 0 every comparison is within its limit; 1 one is not, or nothing was compared; 2 wrong usage.
 */
import path from 'node:path'
import { parseArgs } from 'node:util'
import { IConFaceError, invalid, isIConFaceError } from '../../dist/errors.js'
import { loadAddon } from '../../dist/native.js'
import { compareFile, type CompareOptions, type FileReport, filesIn, referencePlaces } from './compare'
import { print, tell, watchStreams } from '../../dist/cli/output.js'
import { type Precision, tableOf } from './sheet'

const USAGE = `Usage: npm run parity -- [options] [file or folder ...]

Runs the networks and operations on golden files and compares what they give with what the files hold. What a file is
and all its sizes are read from the file. Without a file: everything in test/fixtures/reference, and in $ICONFACE_GOLDEN,
shared/golden or ../shared/golden where that is.

  --precision f32|bf16   only this one (default: both; what does not depend on it runs once)
  --isa NAME             instruction set; "all" for every one this machine runs (default: the best)
  --threads N            threads to compute with
  --verbose              intermediates too, to locate a difference
  --json                 for programs

Limits: float32 2e-5 relative L2 per network and 1e-4 from noise to picture, bf16 1.5e-2 per network
(docs/model-specification.md 9); exact or nearly so where nothing accumulates.
`

async function main(args: string[]): Promise<number> {
  const { values, positionals } = parse(args)
  if (values.help) return say(USAGE)
  const places = positionals.length > 0 ? positionals : referencePlaces()
  const files = filesIn(places)
  const reports: FileReport[] = []
  for (const options of choices(values)) {
    for (const file of files) {
      const report = await compareFile(file, options)
      reports.push(report)
      if (!values.json) print(textOf(report))
    }
  }
  print(values.json ? `${JSON.stringify(reports, null, 2)}\n` : summary(reports))
  const rows = reports.flatMap((report) => report.rows)
  const passed = rows.some(({ verdict }) => verdict === 'pass') && rows.every(({ verdict }) => verdict !== 'FAIL')
  return passed ? 0 : 1
}

function say(text: string): number {
  print(text)
  return 0
}

function parse(args: string[]) {
  const options = {
    precision: { type: 'string' },
    isa: { type: 'string' },
    threads: { type: 'string' },
    verbose: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  } as const
  try {
    return parseArgs({ args, options, allowPositionals: true })
  } catch (error) {
    throw new IConFaceError('ERR_ICONFACE_INVALID_ARGUMENT', (error as Error).message)
  }
}

/** One set of options per instruction set. */
function choices({ precision, isa, threads, verbose }: ReturnType<typeof parse>['values']): CompareOptions[] {
  if (precision !== undefined && precision !== 'f32' && precision !== 'bf16')
    throw invalid('--precision', 'f32 or bf16', precision)
  if (threads !== undefined && !/^[1-9]\d{0,3}$/.test(threads))
    throw invalid('--threads', 'a number of threads', threads)
  const known = loadAddon().info().isas
  if (isa !== undefined && isa !== 'all' && !known.includes(isa))
    throw invalid('--isa', `all, ${known.join(', ')}`, isa)
  const precisions: Precision[] = precision === undefined ? ['f32', 'bf16'] : [precision]
  const isas = isa === 'all' ? known : [isa]
  return isas.map((each) => ({
    precisions,
    isa: each,
    threads: threads === undefined ? undefined : Number(threads),
    verbose: verbose ?? false,
  }))
}

function textOf({ file, kind, isa, rows, skipped, seconds }: FileReport): string {
  const name = path.relative('', file)
  const title = `${name.startsWith('..') ? path.resolve(file) : name} (${kind}${isa === undefined ? '' : `, ${isa}`})`
  if (skipped !== undefined) return `${title}: skipped, ${skipped}\n`
  return `${title}, ${seconds.toFixed(1)} s\n${tableOf(rows)}`
}

function summary(reports: readonly FileReport[]): string {
  const rows = reports.flatMap((report) => report.rows)
  const count = (verdict: string) => rows.filter((row) => row.verdict === verdict).length
  const skipped = reports.filter(({ skipped: why }) => why !== undefined).length
  const failed = reports.filter((report) => report.rows.some(({ verdict }) => verdict === 'FAIL'))
  const total = count('pass') + count('FAIL')
  const lines = [
    `${reports.length} files, ${skipped} of them skipped: ${count('pass')} of ${total} comparisons within their limits`,
    ...(count('info') > 0 ? [`${count('info')} shown without a limit`] : []),
    ...(total === 0 ? ['nothing was compared'] : []),
    ...failed.map(({ file }) => `FAIL ${file}`),
  ]
  return `\n${lines.map((line) => `${line}\n`).join('')}`
}

if (require.main === module) {
  watchStreams()
  main(process.argv.slice(2)).then(
    (code) => {
      process.exitCode = code
    },
    (error: unknown) => {
      const usage = isIConFaceError(error) && error.code === 'ERR_ICONFACE_INVALID_ARGUMENT'
      tell(`parity: ${isIConFaceError(error) ? `${error.code}: ${error.message}` : String((error as Error).stack)}\n`)
      process.exitCode = usage ? 2 : 1
    },
  )
}
