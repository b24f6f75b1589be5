/**
 * The models that `restore` shares: one for each folder, device and precision, loaded at its first use and kept until
 * all are disposed.
 */

import { realpathSync } from 'node:fs'
import { resolve } from 'node:path'
import { IConFaceError, isIConFaceError } from './errors'
import { disposedError, IConFace } from './iconface'
import { loadAddon, native } from './native'
import { type CheckedLoad } from './options'
import { DEFAULT_PRECISION, type Precision } from './limits'

/** Calls with equal keys share a model. */
interface Key {
  /** Absolute, without symbolic links. */
  readonly folder: string
  readonly precision: Precision
  /** `auto` where it is not known before the load. */
  readonly device: string
  /** `undefined`: any. */
  readonly threads: number | undefined
  readonly isa: string | undefined
}

interface Shared {
  /** As asked for, until the model is loaded; then what it computes with. */
  key: Key
  /** The load chooses the device. */
  readonly auto: boolean
  readonly loading: Promise<IConFace>
  model: IConFace | null
}

type Wanted = Pick<CheckedLoad, 'device' | 'precision' | 'threads' | 'isa'>

const models: Shared[] = []
/** Counts calls of {@link disposeModels}: a load that began before one must not be shared after it. */
let generation = 0
let disposal: Promise<unknown> = Promise.resolve()

/** The model that {@link sharedModel} would resolve to, where it is loaded. */
export function loadedModel(folder: string, wanted: Wanted): IConFace | null {
  const key = keyOf(folder, wanted)
  return models.find((one) => fits(one, key))?.model ?? null
}

/**
 * A shared model, loaded at the first call. Simultaneous calls share one load, which goes on when one of them is
 * aborted.
 *
 * @throws {IConFaceError} as `IConFace.load`; a load that failed is not remembered. `ERR_ICONFACE_DISPOSED` when
 *         {@link disposeModels} is called meanwhile.
 */
export async function sharedModel(folder: string, wanted: Wanted): Promise<IConFace> {
  const key = keyOf(folder, wanted)
  const born = generation
  for (;;) {
    const known = models.find((one) => fits(one, key))
    if (known) return known.loading.catch(rethrowCopy)
    const unknown = models.find((one) => mayFit(one, key))
    if (!unknown) return load(folder, key, wanted).catch(rethrowCopy)
    await unknown.loading.catch(() => undefined)
    if (born !== generation) throw disposedError()
  }
}

/** Disposes all of them, those too that are still being loaded; resolves when their memory and threads are freed. */
export async function disposeModels(): Promise<void> {
  generation++
  const all = models.splice(0).map(async ({ loading }) => {
    const model = await loading.catch(() => undefined) // the caller that asked for it gets the error
    await model?.dispose()
  })
  disposal = Promise.all([disposal, ...all])
  await disposal
}

function load(folder: string, key: Key, { device, precision, threads, isa }: Wanted): Promise<IConFace> {
  const loading = IConFace.load(folder, { device, precision, threads, isa })
  const shared: Shared = { key, auto: key.device === 'auto', loading, model: null }
  models.push(shared)
  loading.then(
    (model) => {
      const { threads, isa } = model.info
      shared.key = { ...key, device: model.device, threads, isa }
      shared.model = model
    },
    () => {
      const place = models.indexOf(shared)
      if (place >= 0) models.splice(place, 1) // a later call loads again
    },
  )
  return loading
}

/** Every caller gets an error of its own, whose stack says where it called. */
function rethrowCopy(error: unknown): never {
  if (!isIConFaceError(error)) throw error
  throw new IConFaceError(error.code, error.message, 'cause' in error ? { cause: error.cause } : undefined)
}

function keyOf(folder: string, { device, precision, threads, isa }: Wanted): Key {
  return {
    folder: realPath(folder),
    precision: precision === 'auto' ? DEFAULT_PRECISION : precision,
    device: knownDevice(device),
    threads,
    isa,
  }
}

function realPath(folder: string): string {
  try {
    return realpathSync.native(folder)
  } catch {
    return resolve(folder) // loading it will throw the error
  }
}

/** What `device` means on this machine; `auto` where only a load can tell whether its GPU is used. */
function knownDevice(device: string): string {
  if (device === 'cuda') return 'cuda:0'
  if (device !== 'auto') return device.replace(/^cuda:0+(?=\d)/, 'cuda:')
  hasGpu ??= (native(() => loadAddon().info()).cuda?.devices.length ?? 0) > 0
  return hasGpu ? 'auto' : 'cpu'
}
let hasGpu: boolean | undefined

function fits({ key, auto, model }: Shared, wanted: Key): boolean {
  const firstGpu = model !== null && key.device === 'cuda:0' // `auto` means the first GPU, and this model shows that it can be used
  const device = key.device === wanted.device || (wanted.device === 'auto' && (auto || firstGpu))
  const threads = wanted.threads === undefined || key.threads === wanted.threads
  const isa = wanted.isa === undefined || key.isa === wanted.isa
  return isSameModel(key, wanted) && device && threads && isa
}

/** Whether a model that is still being loaded may turn out to be the one that is wanted. */
function mayFit({ key, model }: Shared, wanted: Key): boolean {
  if (model !== null || !isSameModel(key, wanted)) return false
  const device = key.device === wanted.device || key.device === 'auto' || wanted.device === 'auto'
  const threads = wanted.threads === undefined || key.threads === undefined || key.threads === wanted.threads
  const isa = wanted.isa === undefined || key.isa === undefined || key.isa === wanted.isa
  return device && threads && isa
}

function isSameModel(a: Key, b: Key): boolean {
  return a.folder === b.folder && a.precision === b.precision
}
