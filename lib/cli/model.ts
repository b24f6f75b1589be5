/**
 * The command-line options that choose and load a model.
 */

import { IConFace } from '../iconface'
import type { LoadOptions } from '../options'
import { findModel } from '../restore'
import { numeric } from './command'

/** For `parse`. */
export const MODEL_OPTIONS = {
  model: { type: 'string', short: 'm' },
  device: { type: 'string' },
  precision: { type: 'string' },
  threads: { type: 'string' },
} as const

/** For the commands' help. */
export const MODEL_USAGE = `  -m, --model FOLDER   checkpoint folder (default: ICONFACE_MODEL, else the package's own small model)
      --device NAME    auto, cpu, cuda or cuda:<n>
      --precision P    auto (bf16), f32, bf16, or fp8: approximate, half the weights' memory, GPUs from sm_89 on
      --threads N      threads to compute with
`

type Values = { [Name in keyof typeof MODEL_OPTIONS]?: string }

/** Loads the model that the options name, or the default. */
export function openModel(values: Values, signal: AbortSignal, maxPixels?: number): Promise<IConFace> {
  const { device, threads } = values
  const precision = values.precision as LoadOptions['precision']
  const options = { device, precision, threads: numeric('threads', threads), maxPixels, signal }
  return IConFace.load(values.model ?? findModel(), options)
}
