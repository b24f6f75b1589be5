/**
 * `iconface restore`: one degraded face, its references, one restored picture.
 */

import { extname, resolve } from 'node:path'
import { invalid } from '../errors'
import { expectedOf, LIMITS, rangeOf } from '../limits'
import type { IConFace } from '../iconface'
import type { ModelInfo } from '../model-info'
import { capturePictures, checkPictureFile } from '../image'
import { checkRestoreOptions, checkOneOf, type RestoreOptions } from '../options'
import { sizeWarnings } from '../picture/size'
import { outputFormat, type Restoration } from '../restoration'
import { strip } from '../picture/strip'
import { checkThreadRoomOnce } from '../picture/thread-room'
import { checkWritable, writeWhole } from '../formats/whole-file'
import { type Command, missing, numeric, parse, warn } from './command'
import { MODEL_OPTIONS, MODEL_USAGE, openModel } from './model'
import { print } from './output'
import { PICTURE_OPTIONS, pictureLimits, pictureUsage } from './pictures'
import { progressDisplay, table } from './terminal'
import { duration } from '../util/figures'

const OPTIONS = {
  ref: { type: 'string', short: 'r', multiple: true, default: [] as string[] },
  output: { type: 'string', short: 'o' },
  ...MODEL_OPTIONS,
  steps: { type: 'string' },
  guidance: { type: 'string' },
  seed: { type: 'string' },
  size: { type: 'string' },
  rng: { type: 'string' },
  prompt: { type: 'string' },
  align: { type: 'string' },
  strip: { type: 'string' },
  ...PICTURE_OPTIONS,
  json: { type: 'boolean', default: false },
  quiet: { type: 'boolean', short: 'q', default: false },
} as const

export const command: Command = {
  summary: 'restore one face photo',
  usage: `Usage: iconface restore <photo> [--ref <photo>]... -o <file> [options]

  -r, --ref FILE       a photo of the same person; repeat for more
  -o, --output FILE    where to write the result: .png, .jpg, .webp, .tiff or .avif
${MODEL_USAGE}      --steps N        sampling steps, ${rangeOf(LIMITS.steps)} (default: the checkpoint's)
      --guidance X     guidance scale, ${rangeOf(LIMITS.guidance)} (default: the checkpoint's)
      --seed N         seed of the noise (default: 42)
      --size N         side of the result in pixels, ${expectedOf(LIMITS.size)} (default: the checkpoint's)
      --rng NAME       whose torch.randn the seed means: torch-cuda (default) or torch-cpu
      --prompt TEXT    what the picture shall be, in words (default: the checkpoint's; others need its text encoder)
      --align MODE     none (default): takes a picture's centre; auto: aligns pictures that are no crops; face: all
      --strip FILE     also write degraded, references and result side by side
${pictureUsage('100 million')}      --json           print the report as JSON
  -q, --quiet          print nothing but errors

Example: iconface restore blurred.jpg --ref me-2019.jpg --ref me-2021.jpg -o restored.png
`,
  run,
}

async function run(args: string[], stop: AbortSignal): Promise<void> {
  const { values, positionals } = parse(args, OPTIONS)
  const [input, ...extra] = positionals
  if (input === undefined || extra.length > 0) throw invalid('the arguments', 'one photo to restore', positionals)
  if (values.output === undefined) throw missing('-o', 'the file to write')
  const { maxPixels, strict } = pictureLimits(values)
  const restoreOptions = {
    strict,
    steps: numeric('steps', values.steps),
    guidance: numeric('guidance', values.guidance),
    seed: seed(values.seed),
    size: numeric('size', values.size),
    rng: values.rng as RestoreOptions['rng'],
    prompt: values.prompt,
    align: values.align as RestoreOptions['align'],
  }
  checkThreadRoomOnce() // checking files already uses libuv's threads
  await checkFiles([input, ...values.ref], values.output, values.strip)
  checkRestoreOptions(restoreOptions)

  await using model = await openModel(values, stop, maxPixels)
  const { defaults, warnings } = model.info
  // Printed before the restore: an unusual size may take long.
  const early = [...warnings, ...sizeWarnings(restoreOptions.size ?? defaults.size, defaults.size)]
  if (!values.quiet) warn(early)

  const display = values.quiet ? null : progressDisplay()
  let result: Restoration
  try {
    result = await model.restore(input, values.ref, { ...restoreOptions, signal: stop, onProgress: display?.show })
  } finally {
    display?.end()
  }
  if (!values.quiet) warn(result.warnings.filter(({ message }) => !early.some((said) => said.message === message)))
  // The strip is drawn first: the result may be written over one of its pictures.
  const comparison = values.strip === undefined ? null : await draw(input, values.ref, result, model.info)
  await result.toFile(values.output)
  if (comparison) await writeWhole(values.strip!, comparison)

  if (values.json) print(`${JSON.stringify(report(model, result, values.output), null, 2)}\n`)
  else if (!values.quiet) print(summary(result, values.output))
}

/** What can be wrong with the files is found before the model is loaded, which may take long. */
async function checkFiles(pictures: string[], output: string, strip: string | undefined): Promise<void> {
  for (const [i, picture] of pictures.entries()) await checkPictureFile(i === 0 ? 'input' : `reference ${i}`, picture)
  outputFormat(output)
  await checkWritable(output)
  if (strip === undefined) return
  checkOneOf('the extension of --strip', extname(strip).toLowerCase(), ['.png'])
  if (resolve(strip) === resolve(output)) throw invalid('--strip', 'another file than that of -o', strip)
  await checkWritable(strip)
}

/** Seeds beyond 2^53 are exact as bigint. */
function seed(text: string | undefined): number | bigint | undefined {
  const value = numeric('seed', text)
  return value === undefined || Number.isSafeInteger(value) || !/^\d+$/.test(text!) ? value : BigInt(text!)
}

/** Degraded, references and result side by side, as PNG. */
async function draw(
  input: string,
  references: string[],
  result: Restoration,
  { synthesized }: ModelInfo,
): Promise<Buffer> {
  const { before, after } = result.identity
  const labels = ['degraded', ...references.map((_, i) => `reference ${i + 1}`)]
  const images = [input, ...references].map((image, i) => ({ name: labels[i]!, image }))
  const pictures = await Promise.all(capturePictures(images, LIMITS.pixels.max).map((picture) => picture.read()))
  const columns = pictures.map((image, i) => ({ label: labels[i]!, note: i === 0 ? similarity(before) : '', image }))
  columns.push({ label: synthesized ? 'by random weights' : 'restored', note: similarity(after), image: result })
  return strip(columns, result.height)
}

function similarity(cosine: number | null): string {
  return cosine === null ? '' : `similarity ${cosine.toFixed(3)}`
}

function report(model: IConFace, result: Restoration, output: string) {
  const { source, norms, weights, before, after } = result.identity
  return {
    output,
    width: result.width,
    height: result.height,
    seed: typeof result.seed === 'bigint' ? result.seed.toString() : result.seed,
    identity: { source, norms: [...norms], weights: [...weights], before, after },
    timings: result.timings,
    model: model.info,
    device: model.device,
    precision: model.precision,
    warnings: result.warnings,
  }
}

const ANCHORS = {
  references: 'anchored by the references',
  degraded: 'anchored by the degraded face itself',
  none: 'not used',
} as const

function summary(result: Restoration, output: string): string {
  const { before, after, source } = result.identity
  const { total, ...stages } = result.timings
  const rows: [string, string][] = [['written', `${output} (${result.width} x ${result.height}, seed ${result.seed})`]]
  if (before !== null && after !== null) {
    rows.push(['identity', `similarity to the references ${before.toFixed(3)} before, ${after.toFixed(3)} after`])
  } else {
    rows.push(['identity', ANCHORS[source]])
  }
  const parts = Object.entries(stages).map(([stage, ms]) => `${stage} ${duration(ms)}`)
  rows.push(['time', `${duration(total ?? 0)} (${parts.join(', ')})`])
  return table(rows)
}
