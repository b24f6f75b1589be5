/**
 * `iconface evaluate`: how good a model is, on faces whose truth is known.
 */

import { extname, resolve } from 'node:path'
import { invalid } from '../errors'
import { checkWithin, LIMITS, rangeOf } from '../limits'
import type { EvaluationCase } from '../evaluate/case'
import { checkCounts, evaluate, type EvaluateOptions } from '../evaluate/evaluate'
import { type Evaluation } from '../evaluate/evaluation'
import { caseWarnings, checkFailures } from './cases'
import { EvaluationPage } from '../evaluate/page'
import { pairedCases } from '../evaluate/pairs'
import { reportText } from '../evaluate/report'
import { syntheticCases } from '../evaluate/synthetic'
import { checkRestoreOptions, checkOneOf } from '../options'
import { checkWritable, writeWhole } from '../formats/whole-file'
import { type Command, numeric, parse, warn } from './command'
import { MODEL_OPTIONS, MODEL_USAGE, openModel } from './model'
import { print } from './output'
import { PICTURE_OPTIONS, pictureLimits, pictureUsage } from './pictures'
import { progressDisplay } from './terminal'

const OPTIONS = {
  pairs: { type: 'string' },
  synthetic: { type: 'string' },
  severity: { type: 'string' },
  references: { type: 'string' },
  ...MODEL_OPTIONS,
  seed: { type: 'string' },
  steps: { type: 'string' },
  guidance: { type: 'string' },
  json: { type: 'string' },
  html: { type: 'string' },
  ...PICTURE_OPTIONS,
  quiet: { type: 'boolean', short: 'q', default: false },
} as const

export const command: Command = {
  summary: 'measure how good a model is, on faces whose truth is known',
  usage: `Usage: iconface evaluate --synthetic N | --pairs DIR [options]

Restores every face with different numbers of references and measures PSNR, SSIM, identity similarity to the first
reference and to the truth (with the checkpoint's own face encoder) and, where landmarks are known, their error.

      --synthetic N    N drawn faces that no training has seen, degraded here
      --pairs DIR      your photos: DIR/<name>/input.jpg, truth.png, ref1.jpg ...
                       or DIR/input/<name>.jpg, DIR/truth/<name>.png, DIR/references/<name>/*.jpg
      --severity LIST  how badly the drawn faces are degraded: mild, moderate, severe (default: moderate,severe)
      --references L   numbers of references to restore with (default: 0,1,3)
${MODEL_USAGE}      --seed N         other states, degradations and noise (default: 0)
      --steps N        sampling steps, ${rangeOf(LIMITS.steps)} (default: the checkpoint's)
      --guidance X     guidance scale, ${rangeOf(LIMITS.guidance)} (default: the checkpoint's)
${pictureUsage('100 million')}      --json FILE      write every number as JSON; - writes them to standard output instead of the table
      --html FILE      write a page with tables and picture strips
  -q, --quiet          print nothing but errors

Files are written anew whenever a case is done. A case with a picture that cannot be used is listed, the others go on, and
the exit code is 1.

Example: iconface evaluate --synthetic 20 --html evaluation.html
`,
  run,
}

async function run(args: string[], stop: AbortSignal): Promise<void> {
  const { values, positionals } = parse(args, OPTIONS)
  if (positionals.length > 0) throw invalid('the arguments', 'options only', positionals)
  const { json, html, quiet } = values
  const options = {
    references: list('references', values.references)?.map((count) => numeric('references', count)!),
    seed: numeric('seed', values.seed) ?? 0,
    steps: numeric('steps', values.steps),
    guidance: numeric('guidance', values.guidance),
    ...pictureLimits(values),
  }
  checkRestoreOptions({ steps: options.steps, guidance: options.guidance })
  if (options.references) checkCounts(options.references)
  await checkOutputs(json, html)
  const cases = await chosenCases(values, options)

  await using model = await openModel(values, stop, options.maxPixels)
  if (!quiet) warn(model.info.warnings)
  const page = html === undefined ? null : new EvaluationPage()
  const display = quiet ? null : progressDisplay()
  let soFar: Evaluation | undefined
  const onCase: EvaluateOptions['onCase'] = async (result, pictures, evaluation) => {
    soFar = evaluation
    await page?.add(result, pictures)
    await writeFiles(evaluation, json, html, page)
  }
  const show = (evaluation: Evaluation) => {
    if (!quiet) warn(caseWarnings(evaluation))
    if (json === '-') print(numbersOf(evaluation))
    else if (!quiet) print(reportText(evaluation))
  }
  let evaluation: Evaluation
  try {
    evaluation = await evaluate(model, cases, { ...options, signal: stop, onProgress: display?.show, onCase })
  } catch (error) {
    display?.end()
    if (soFar) show(soFar)
    throw error
  }
  display?.end()
  await writeFiles(evaluation, json, html, page)
  show(evaluation)
  checkFailures(evaluation)
}

function numbersOf(evaluation: Evaluation): string {
  return `${JSON.stringify(evaluation, null, 2)}\n`
}

async function writeFiles(
  evaluation: Evaluation,
  json: string | undefined,
  html: string | undefined,
  page: EvaluationPage | null,
): Promise<void> {
  if (json !== undefined && json !== '-') await writeWhole(json, Buffer.from(numbersOf(evaluation)))
  if (page) await writeWhole(html!, Buffer.from(page.html(evaluation)))
}

/** The values of an option that takes several, by commas. */
function list(name: string, text: string | undefined): string[] | undefined {
  const items = text?.split(',').map((item) => item.trim())
  if (items?.includes('')) throw invalid(`--${name}`, 'values separated by commas', text)
  return items
}

async function checkOutputs(json: string | undefined, html: string | undefined): Promise<void> {
  if (json !== undefined && json !== '-') await checkWritable(json)
  if (html === undefined) return
  checkOneOf('the extension of --html', extname(html).toLowerCase(), ['.html', '.htm'])
  if (json !== undefined && resolve(html) === resolve(json))
    throw invalid('--html', 'another file than that of --json', html)
  await checkWritable(html)
}

type Values = { pairs?: string; synthetic?: string; severity?: string }

async function chosenCases(
  values: Values,
  { references, seed }: { references?: number[]; seed: number },
): Promise<EvaluationCase[]> {
  const { pairs, synthetic, severity } = values
  if ((pairs === undefined) === (synthetic === undefined)) {
    throw invalid('the arguments', 'either --synthetic N or --pairs DIR', { pairs, synthetic })
  }
  if (pairs !== undefined) {
    if (severity !== undefined)
      throw invalid('--severity', 'nothing beside --pairs, whose inputs are degraded already', severity)
    return pairedCases(pairs)
  }
  const count = numeric('synthetic', synthetic)
  checkWithin('--synthetic', count, LIMITS.people)
  const severities = list('severity', severity)
  return syntheticCases({
    count,
    seed,
    severities: severities as never,
    references: Math.max(1, ...(references ?? [3])),
  })
}
