/**
 * Restoring in one call: the model is found, loaded once, and shared by all calls.
 */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { abortable } from './util/abort'
import { showsCaller } from './util/caller'
import { IConFaceError, invalid } from './errors'
import type { ImageInput } from './image'
import { PACKAGE_ROOT } from './util/package'
import {
  ALL_OPTIONS,
  checkLoadOptions,
  checkKnown,
  LOAD_OPTIONS,
  type LoadOptions,
  RESTORE_OPTIONS,
  type RestoreOptions,
} from './options'
import { type PhotoOptions, PHOTO_OPTIONS, preparePhoto } from './photo/photo-options'
import type { PhotoRestoration } from './photo/photo-restoration'
import type { Restoration } from './restoration'
import { prepareRestore } from './restore-request'
import { disposeModels, loadedModel, sharedModel } from './shared-models'

/** Those of `IConFace.load` and of `IConFace.restore`, and the model's folder. */
export interface RestoreOnceOptions extends LoadOptions, RestoreOptions {
  /**
   * A model folder. Default: the one that the environment variable `ICONFACE_MODEL` names, else the package's own small
   * model, `models/tiny`.
   */
  model?: string | undefined
}

/** The function {@link restore}, and what frees the models that it keeps. */
export interface Restore {
  /**
   * Restores one face with a model that is loaded at the first call and kept for the next ones, until
   * `restore.dispose()`; `IConFace.load` gives a model whose life you decide.
   *
   * A folder is loaded once for each device and precision, whatever the other options: `maxPixels`, `maxReferences`,
   * `maxQueue` and `signal` are this call's alone. Without `threads` and `isa` a call takes the model as it is; with
   * them it needs one that computes so, and loads it where there is none, in memory of its own. `signal` gives up
   * waiting for a load; the load itself goes on for other calls.
   *
   * @param input      The degraded face: path, encoded bytes or raw pixels. Aligned 512 px crops work best.
   * @param references Photos of the same person, best first; none is fine.
   * @throws {IConFaceError} as `IConFace.load` and `IConFace.restore`; `ERR_ICONFACE_FILE_NOT_FOUND` without any model.
   * @example
   * const face = await restore('blurred.jpg', ['me-2019.jpg', 'me-2021.jpg'], { model: 'models/iconface-4b' })
   * await face.toFile('restored.png')
   */
  (input: ImageInput, references?: readonly ImageInput[], options?: RestoreOnceOptions): Promise<Restoration>

  /**
   * Frees the models that `restore` keeps, and stops what they do (`ERR_ICONFACE_DISPOSED`). Resolves when their memory
   * and threads are given back, of models too that were still being loaded. The next `restore` loads anew.
   *
   * @example
   * process.once('SIGTERM', () => restore.dispose())
   */
  dispose(): Promise<void>
}

/** Restores one face with a model that is shared by all calls; see {@link Restore}. */
export const restore: Restore = Object.assign(
  showsCaller(async function restore(
    input: ImageInput,
    references: readonly ImageInput[] = [],
    options: RestoreOnceOptions = {},
  ): Promise<Restoration> {
    checkKnown('options', options, ALL_OPTIONS)
    const { load, folder } = sharedOptions(options)
    const loaded = loadedModel(folder, load)
    loaded?.check(load.maxQueue) // a refused call must not detach the caller's buffers
    const request = prepareRestore(input, references, only(options, RESTORE_OPTIONS), load)
    const model = loaded ?? (await abortable(sharedModel(folder, load), load.signal))
    return model.submit(request, load.maxQueue)
  }),
  { dispose: showsCaller(disposeModels) },
)

/** Those of `IConFace.load` and of `IConFace.restorePhoto`, and the model's folder. */
export interface RestorePhotoOnceOptions extends LoadOptions, PhotoOptions {
  /** As in {@link RestoreOnceOptions}. */
  model?: string | undefined
}

const ALL_PHOTO_OPTIONS: readonly string[] = [...new Set([...LOAD_OPTIONS, ...PHOTO_OPTIONS]), 'model']

/**
 * Restores the faces of a whole photograph with a model that is shared by all calls, as {@link restore} shares it; see
 * `IConFace.restorePhoto`. `restore.dispose()` frees the models.
 *
 * @throws {IConFaceError} as `IConFace.load` and `IConFace.restorePhoto`; `ERR_ICONFACE_FILE_NOT_FOUND` without any model.
 * @example
 * const photo = await restorePhoto('wedding.jpg', ['me-2019.jpg'], { faces: 'largest' })
 * await photo.toFile('restored.jpg')
 */
export const restorePhoto = showsCaller(async function restorePhoto(
  photo: ImageInput,
  references: readonly ImageInput[] = [],
  options: RestorePhotoOnceOptions = {},
): Promise<PhotoRestoration> {
  checkKnown('options', options, ALL_PHOTO_OPTIONS)
  const { load, folder } = sharedOptions(options)
  const loaded = loadedModel(folder, load)
  loaded?.check(load.maxQueue) // a refused call must not detach the caller's buffers
  const request = preparePhoto(photo, references, only(options, PHOTO_OPTIONS), load)
  const model = loaded ?? (await abortable(sharedModel(folder, load), load.signal))
  return model.submitPhoto(request, load.maxQueue)
})

/** How a shared model is loaded, and its folder. */
function sharedOptions(options: LoadOptions & { model?: string | undefined }) {
  const { model: folder = findModel() } = options
  if (typeof folder !== 'string' || folder === '') throw invalid('model', 'the path of a model folder', folder)
  return { folder, load: checkLoadOptions(only(options, LOAD_OPTIONS)) }
}

/** The options among `names`. */
function only<T extends object, Name extends keyof T>(options: T, names: readonly Name[]): Pick<T, Name> {
  const entries = names.filter((name) => Object.hasOwn(options, name)).map((name) => [name, options[name]])
  return Object.fromEntries(entries) as Pick<T, Name>
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
