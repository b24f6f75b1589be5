/**
 * `iconface degrade`: one picture, damaged the way restoration is trained and tested on.
 */

import type { Operation } from '../degrade/chain'
import { checkDegradeOptions, degrade, type DegradeOptions } from '../degrade/degrade'
import { invalid } from '../errors'
import { expectedOf, LIMITS } from '../limits'
import { checkPictureFile, toSharp } from '../image'
import { encode, outputFormat } from '../restoration'
import { checkWritable, writeWhole } from '../formats/whole-file'
import type { IConFaceWarning } from '../warning'
import { type Command, missing, numeric, parse, warn } from './command'
import { print } from './output'
import { PICTURE_OPTIONS, pictureLimits, pictureUsage } from './pictures'
import { table } from './terminal'

export const command: Command = {
  summary: 'damage a photo: blur, noise, small size, compression',
  usage: `Usage: iconface degrade <photo> -o <file> --strength <s> [options]

  -o, --output FILE    where to write the result: .png, .jpg, .webp, .tiff or .avif (.png keeps every pixel)
      --strength S     how much, 0 (nothing) to ${LIMITS.strength.max}; mild 0 to 3, moderate 4 to 8, severe 9 to 16
      --seed N         which kind of damage (default: 0)
      --pipeline P     real-esrgan, bsrgan or auto (default: auto, the seed's choice)
${pictureUsage('2^24')}      --json           print what was done as JSON
  -q, --quiet          print nothing but errors

Example: iconface degrade face.png -o blurred.png --strength 8 --seed 1
`,
  async run(args, stop) {
    const { values, positionals } = parse(args, {
      output: { type: 'string', short: 'o' },
      strength: { type: 'string' },
      seed: { type: 'string', default: '0' },
      pipeline: { type: 'string', default: 'auto' },
      ...PICTURE_OPTIONS,
      json: { type: 'boolean', default: false },
      quiet: { type: 'boolean', short: 'q', default: false },
    } as const)
    const [input, ...extra] = positionals
    if (input === undefined || extra.length > 0) throw invalid('the arguments', 'one photo to degrade', positionals)
    if (values.output === undefined) throw missing('-o', 'the file to write')
    if (values.strength === undefined) throw missing('--strength', expectedOf(LIMITS.strength))
    const options: DegradeOptions = {
      strength: numeric('strength', values.strength)!,
      seed: numeric('seed', values.seed)!,
      pipeline: values.pipeline as DegradeOptions['pipeline'],
      ...pictureLimits(values),
      signal: stop,
    }
    checkDegradeOptions(options)
    const format = outputFormat(values.output)
    await checkPictureFile('input', input)
    await checkWritable(values.output)

    const result = await degrade(input, options)
    await writeWhole(values.output, await encode(toSharp(result), format))

    if (!values.quiet) warn(result.warnings)

    const { width, height, pipeline, operations, warnings } = result
    const { strength, seed } = options
    const report = { output: values.output, width, height, strength, seed, pipeline, operations, warnings }
    if (values.json) print(`${JSON.stringify(report, null, 2)}\n`)
    else if (!values.quiet) print(summary(report))
  },
}

interface Report {
  output: string
  width: number
  height: number
  strength: number
  seed: number
  pipeline: string
  operations: Operation[]
  warnings: readonly IConFaceWarning[]
}

function summary({ output, width, height, strength, seed, pipeline, operations }: Report): string {
  const numbers = ({ name: _, ...parameters }: Operation) =>
    Object.entries(parameters).map(([parameter, value]) => `${parameter} ${value}`)
  return table([
    ['written', `${output} (${width} x ${height}, ${pipeline}, strength ${strength}, seed ${seed})`],
    ...operations.map((operation) => [operation.name, numbers(operation).join(', ')] as const),
  ])
}
