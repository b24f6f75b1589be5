/**
 * Restoring in one call: the model is found, loaded once, and shared by all calls.
 */

import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { IConFaceError, invalid } from './errors'
import { IConFace, prepareRestore } from './iconface'
import type { ImageInput } from './image'
import { PACKAGE_ROOT } from './native'
import { ALL_OPTIONS, checkLoadOptions, known, type LoadOptions, type RestoreOptions } from './options'
import { abortable } from './abort'
import type { Restoration } from './restoration'

/** Models that {@link restore} has loaded, or is loading, by folder and options. */
const models = new Map<string, Promise<IConFace>>()

/**
 * Restores one face with a model that is loaded at the first call and kept for the next ones, as long as the process
 * lives; `IConFace.load` gives a model whose life you decide.
 *
 * @param input      The degraded face: path, encoded bytes or raw pixels. Aligned 512 px crops work best.
 * @param references Photos of the same person, best first; none is fine.
 * @param options    Those of `IConFace.load` and of `IConFace.restore`, and `model`, a folder. Without it the folder
 *                   named by the environment variable `ICONFACE_MODEL` is used, else the package's own small model,
 *                   `models/tiny`.
 * @throws {IConFaceError} as `IConFace.load` and `IConFace.restore`; `ERR_ICONFACE_FILE_NOT_FOUND` without any model.
 * @example
 * const face = await restore('blurred.jpg', ['me-2019.jpg', 'me-2021.jpg'], { model: 'models/iconface-4b' })
 * await face.toFile('restored.png')
 */
export async function restore(
  input: ImageInput,
  references: readonly ImageInput[] = [],
  options: LoadOptions & RestoreOptions & { model?: string } = {},
): Promise<Restoration> {
  known('options', options, ALL_OPTIONS)
  const {
    model: folder = findModel(),
    steps,
    guidance,
    seed,
    size,
    rng,
    prompt,
    variant,
    signal,
    onProgress,
    ...load
  } = options
  if (typeof folder !== 'string' || folder === '') throw invalid('model', 'the path of a model folder', folder)
  const request = prepareRestore(
    input,
    references,
    { steps, guidance, seed, size, rng, prompt, variant, signal, onProgress },
    checkLoadOptions(load),
  )
  const model = await abortable(shared(folder, load), signal)
  return model.submit(request)
}

/** Where a model is when none is named: `ICONFACE_MODEL`, else the package's own. */
export function findModel(): string {
  const named = process.env.ICONFACE_MODEL
  if (named) return named
  const own = join(PACKAGE_ROOT, 'models', 'tiny')
  if (existsSync(join(own, 'iconface.json'))) return own
  throw new IConFaceError(
    'ERR_ICONFACE_FILE_NOT_FOUND',
    `no model: ${own}, which comes with the package, is not there; name a checkpoint folder in the option model ` +
      '(--model) or in ICONFACE_MODEL. "npx iconface synthesize --out DIR" writes one with random weights',
  )
}

function shared(folder: string, options: LoadOptions): Promise<IConFace> {
  const key = JSON.stringify([resolve(folder), Object.entries(options).sort()])
  const known = models.get(key)
  if (known) return known
  const loading = IConFace.load(folder, options)
  models.set(key, loading)
  loading.catch(() => models.delete(key)) // the next call tries again
  return loading
}
