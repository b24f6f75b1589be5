/**
 * `iconface synthesize`: a complete checkpoint with random weights.
 */

import { PRESET_NAMES, type PresetName, synthesizeCheckpoint } from '../prepare/synthesize'
import { invalid } from '../errors'
import { checkOneOf } from '../options'
import { type Command, numeric, parse } from './command'
import { print } from './output'
import { progressDisplay } from './terminal'
import { byteSize, duration } from '../util/figures'

export const command: Command = {
  summary: 'write a checkpoint with random weights, for trying out and measuring',
  usage: `Usage: iconface synthesize --out <folder> [options]

Writes every file of a model (or a text encoder) with random weights. It loads, runs and costs what a real one does, and restores nothing.

  --preset <name>   ${PRESET_NAMES.join(', ')} (default tiny; klein-4b has the
                    paper's sizes, 8.3 GB in bf16; qwen3-4b is a text encoder by itself, 8 GB)
  --out <folder>    where to; must be empty or absent
  --seed <n>        same seed, same bytes (default 0)
  --dtype <type>    bf16 or f32 (default bf16)
  --force           write into a folder that is not empty
`,
  async run(args, stop) {
    const { values, positionals } = parse(args, {
      preset: { type: 'string', default: 'tiny' },
      out: { type: 'string' },
      seed: { type: 'string' },
      dtype: { type: 'string', default: 'bf16' },
      force: { type: 'boolean', default: false },
    } as const)
    if (positionals.length > 0) throw invalid('the arguments', 'options only', positionals)
    if (!values.out) throw invalid('--out', 'a folder', values.out)
    checkOneOf('--preset', values.preset, PRESET_NAMES)
    checkOneOf('--dtype', values.dtype, ['bf16', 'f32'])
    const display = progressDisplay()
    const begun = performance.now()
    try {
      const { folder, bytes, parameters } = await synthesizeCheckpoint(values.preset as PresetName, values.out, {
        seed: numeric('seed', values.seed) ?? 0,
        dtype: values.dtype as 'bf16' | 'f32',
        force: values.force,
        signal: stop,
        onProgress: ({ bytes, totalBytes }) => display.show(writing(bytes, totalBytes, performance.now() - begun)),
      })
      display.end()
      const time = performance.now() - begun
      print(
        `${folder}: ${parameters} random weights, ${byteSize(bytes)} in ${duration(time)} ` +
          `(${byteSize((1000 * bytes) / time)}/s)\n`,
      )
    } finally {
      display.end()
    }
  },
}

/** Progress in MiB. */
function writing(bytes: number, totalBytes: number, elapsedMs: number) {
  const etaMs = (elapsedMs * (totalBytes - bytes)) / bytes
  return { stage: 'write', step: Math.floor(bytes / 2 ** 20), steps: Math.ceil(totalBytes / 2 ** 20), elapsedMs, etaMs }
}
