/**
 * `iconface demo`: what the model does, on a few drawn faces it has never seen.
 */

import { mkdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileError, invalid } from '../errors'
import { evaluate } from '../evaluate/evaluate'
import { type CaseResult, type Evaluation, type ResultPictures } from '../evaluate/evaluation'
import type { Measures } from '../evaluate/measure'
import type { RgbImage } from '../evaluate/pixels'
import { pictureName, reportText } from '../evaluate/report'
import { syntheticCases } from '../evaluate/synthetic'
import { checkInteger } from '../options'
import { type Column, strips } from '../picture/strip'
import { checkWritable, checkWritableFolder, writeWhole } from '../formats/whole-file'
import { caseWarnings, checkFailures } from './cases'
import { type Command, numeric, parse, warn } from './command'
import { MODEL_OPTIONS, MODEL_USAGE, openModel } from './model'
import { print } from './output'
import { progressDisplay } from './terminal'
import { duration } from '../util/figures'

const NAME = 'demo.png'
const SEVERITIES = ['moderate', 'severe'] as const
const REFERENCES = [0, 1, 3]

export const command: Command = {
  summary: 'degrade and restore a few drawn faces, and show them side by side',
  usage: `Usage: iconface demo [options]

Draws faces of people that no training has seen, degrades each moderately and severely, restores them without
references, with one and with three, and writes one picture: a row for every degraded face, with the references, the
results and the truth; the numbers are identity similarities to the truth. Prints all measures.

      --out FOLDER     where ${NAME} goes, made if need be (default: .)
      --faces N        how many people, 1 to 20 (default: 3)
      --seed N         other states, degradations and noise of the same people (default: 0)
${MODEL_USAGE}  -q, --quiet          print nothing but errors
`,
  run,
}

async function run(args: string[], stop: AbortSignal): Promise<void> {
  const { values, positionals } = parse(args, {
    out: { type: 'string', default: '.' },
    faces: { type: 'string' },
    seed: { type: 'string' },
    ...MODEL_OPTIONS,
    quiet: { type: 'boolean', short: 'q', default: false },
  } as const)
  if (positionals.length > 0) throw invalid('the arguments', 'options only', positionals)
  const count = numeric('faces', values.faces) ?? 3
  checkInteger('--faces', count, 1, 20)
  const seed = numeric('seed', values.seed) ?? 0
  const cases = syntheticCases({ count, seed, severities: SEVERITIES, references: Math.max(...REFERENCES) })
  await checkFolder(values.out)

  await using model = await openModel(values, stop)
  if (!values.quiet) warn(model.info.warnings)
  const began = performance.now()
  const rows: Column[][] = []
  const display = values.quiet ? null : progressDisplay()
  let evaluation: Evaluation
  try {
    evaluation = await evaluate(model, cases, {
      references: REFERENCES,
      seed,
      signal: stop,
      onProgress: display?.show,
      onCase: (result, pictures) => void rows.push(row(result, pictures)),
    })
  } finally {
    display?.end()
  }

  const time = performance.now() - began
  const file = join(values.out, NAME)
  await mkdir(values.out, { recursive: true }).catch((cause: unknown) => {
    throw fileError('make', values.out, cause)
  })
  await checkWritable(file)
  await writeWhole(file, await strips(rows, Math.max(160, evaluation.settings.size)))
  checkFailures(evaluation)
  if (values.quiet) return
  warn(caseWarnings(evaluation))
  const spent = `${duration(time)}, ${duration(time / count)} a person`
  print(`${reportText(evaluation)}\nwritten  ${file} (${spent})\n`)
}

/** Refuses a folder that cannot be made or written into, before the work. */
async function checkFolder(folder: string): Promise<void> {
  if (folder === '') throw invalid('--out', 'the name of a folder', folder)
  const existing = await nearestExisting(folder)
  if (!existing.isFolder) throw invalid('--out', 'a folder, not a file,', existing.path)
  if (existing.path === folder) await checkWritable(join(folder, NAME))
  else await checkWritableFolder(existing.path)
}

/** `path`, or what is nearest above it. */
async function nearestExisting(path: string): Promise<{ path: string; isFolder: boolean }> {
  try {
    return { path, isFolder: (await stat(path)).isDirectory() }
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if ((code === 'ENOENT' || code === 'ENOTDIR') && dirname(path) !== path) return nearestExisting(dirname(path))
    throw fileError('find', path, cause)
  }
}

/** Degraded, references, results, truth. */
function row(result: CaseResult, pictures: ResultPictures): Column[] {
  const columns: [string, string, RgbImage][] = [
    [result.severity, similarity(result.degraded), pictures.input],
    ...pictures.references.map((image, i): [string, string, RgbImage] => [`reference ${i + 1}`, '', image]),
    ...pictures.restored.map((image, i): [string, string, RgbImage] => {
      const restored = result.restored[i]!
      return [pictureName(restored.references), similarity(restored), image]
    }),
    ['truth', '', pictures.truth],
  ]
  return columns.map(([label, note, image]) => ({ label, note, image }))
}

/** To the truth. */
function similarity({ identity }: Measures): string {
  return identity ? `identity ${identity.truth.toFixed(2)}` : ''
}
