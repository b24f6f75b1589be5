/**
 * The native addon: the interface of its JavaScript side, and the only place that loads it.
 *
 * Nothing is loaded when the package is imported, only when the first model or operation is asked for: importing
 * works, and `iconface doctor` can say what is wrong, on machines where the addon cannot run.
 */

import { existsSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { addonsAreDisabled, loadDependency } from './util/dependency'
import type { Checkpoint } from './checkpoint/spec'
import type { Precision } from './limits'
import { ICONFACE_ERROR_CODES, IConFaceError, type IConFaceErrorCode, isIConFaceError } from './errors'
import { isThenable, messageOf } from './util/realm'
import { PACKAGE_ROOT } from './util/package'
import { describeMissing, missingVersions } from './util/system-libraries'
import { shortage } from './util/shortage'
import type { StageWork } from './util/pace'

const REPOSITORY = 'https://github.com/iconface/native'

/** What `require('iconface.node')` gives. */
export interface Addon {
  info(): NativeInfo
  Session: new (options: SessionOptions) => NativeSession
  /** Names an open file that has no name; 0, or the system's error number (`os.constants.errno`). */
  linkOpenFile(fd: number, path: string): number
  /**
   * Memory and threads that this machine and its control groups leave to this process; `why` names the limit where it
   * is one of theirs. `root` stands before every path that is read (tests: a folder with made-up files).
   */
  limits(root?: string): MachineLimits
  /** Whether the system would start so many threads just now. */
  canStartThreads(count: number): boolean
  /** Tests: the n-th allocation of the core from now on fails; 0 turns it off. */
  failAllocation(n: number): void
  /** Tests, builds with the emulator: its n-th CUDA call or launch from now on fails; 0 turns it off. */
  failCudaCall?(n: number): void
  /**
   * Tests, builds with the emulator: the n-th object that the addon makes with `new` (lists, strings, closures) fails;
   * 0 turns it off. Returns how far off the failure asked for before still was: 0 when it has happened.
   */
  failNew?(n: number): number
  /** Tests, builds with the emulator: runs a kernel with a planted bug (native/emulator/planted.cu). */
  runPlanted?(name: string): void
}

/** Bytes that a restore needs; the model's `estimate` says more. */
export interface MemoryEstimate {
  /** The sum of the other entries. */
  total: number
  /** What the restore computes in; on a GPU in its memory. */
  workspace: number
  /** Weights that are read where the files lie, on the CPU. */
  mappedWeights?: number
  /** Weights that were derived from those, on the CPU. */
  privateWeights?: number
  /** Weights on a GPU, those of the blocks' matrices half with `fp8`. */
  deviceWeights?: number
}

/** What {@link Addon.limits} finds. */
export interface MachineLimits {
  totalBytes: number
  availableBytes: number
  /** The limit that leaves the least room, or `totalBytes`. */
  limitBytes: number
  /** `" (/sys/fs/cgroup/…/memory.max allows 400.0 MiB, 310.2 MiB of them are used)"`; empty without such a limit. */
  why: string
  /** What `threads` is when nothing is said. */
  threads: number
}

/** What the addon knows about itself and this machine. */
export interface NativeInfo {
  version: string
  /** Instruction sets that this binary holds and this CPU runs, best first. */
  isas: string[]
  /** The default. */
  isa: string
  /** CPU features found, as /proc/cpuinfo names them. */
  features: string[]
  threads: number
  /** `null` in a binary built without CUDA. */
  cuda: { driverVersion: string | null; error: string | null; devices: CudaDevice[] } | null
  /** Whether this build holds the device `cuda-emulated`. */
  emulator: boolean
  /**
   * Of the machine and of the core: `deviceHeldBytes` lie on GPUs, `keptBytes` wait for the next job. `graphs` is the
   * number of stages that have run on a GPU and may be replayed as CUDA graphs.
   */
  memory: {
    totalBytes: number
    availableBytes: number
    limitBytes: number
    heldBytes: number
    deviceHeldBytes: number
    keptBytes: number
    graphs: number
  }
  /** Operations and networks that `NativeSession.run` can do. */
  kinds: string[]
}

export interface CudaDevice {
  name: string
  capability: string
  totalBytes: number
  freeBytes: number
}

export interface SessionOptions {
  threads?: number
  isa?: string
  /** `cpu` (default), `auto`, `cuda`, `cuda:<n>` or `cuda-emulated`. */
  device?: string
  precision?: Precision
  checkpoint?: Checkpoint
}

/** 8-bit pixels, row by row. The native side reads `data` while the job runs: it must neither move nor shrink. */
export interface Pixels {
  data: Uint8Array
  width: number
  height: number
  channels: 3 | 4
}

/** A tensor as it crosses into the addon. bf16 travels as the upper halves of float32 in a Uint16Array. */
export interface NativeTensor {
  dtype: string
  shape: number[]
  data: ArrayBufferView
}

/** Which parts of the model take part; everything that the checkpoint holds when nothing is said. */
export interface NativeVariant {
  identity: boolean
  structure: 'full' | 'one-route' | 'residual' | 'none'
  references: boolean
}

export interface RestoreJob {
  /** The degraded picture first, then the references. */
  pixels: Pixels[]
  steps: number
  guidance: number
  seed: bigint
  rng: 'torch-cuda' | 'torch-cpu'
  size: number
  variant: NativeVariant
  /** Prompt embeddings [text, context], f32 or bf16, instead of the checkpoint's own. */
  prompt?: NativeTensor | undefined
  /** Longest time between two reports. Default 1000. */
  reportEveryMs?: number
  /** Tests: starting noise [channels, rows, columns], f32, instead of the seed's. */
  noise?: NativeTensor
  /** Tests: what passes on the way is in the answer's `trace`, under the names of `ctx.note` in native/src. */
  trace?: boolean
  /** The result, `size * size * 3` bytes of RGB; nobody else sees it before the job is done. */
  out: Uint8Array
}

/** How the identity pathway saw the pictures. */
export interface IdentityReport {
  /** Whose face anchors the identity: the references', the degraded input's own, or nobody's. */
  source: 'references' | 'degraded' | 'none'
  /** The unit vector `[512]` that anchors the identity; `null` when the source is `none`. */
  anchor: Float32Array | null
  /** Norm of each reference's embedding, in the order given: how recognisable the face encoder finds it. */
  norms: Float32Array
  /** Weight of each reference in the anchor; they sum to 1. */
  weights: Float32Array
  /** Cosine between the input's embedding and the references' anchor; `null` without encoder or references. */
  before: number | null
  /** Cosine between the result's embedding and the references' anchor; `null` without encoder or references. */
  after: number | null
}

export interface NativeRestoration {
  identity: IdentityReport
  /** Raw, [pictures, 512] in the order of `RestoreJob.pixels`; empty without a face encoder. */
  embeddings: Float32Array
  /** Milliseconds by stage. */
  timings: Record<string, number>
  trace?: Record<string, NativeTensor>
}

/**
 * Called on the JavaScript thread when a stage begins, after each of its steps, and within what lasts longer. `done`
 * are the operations of the stage that are done; `plan`, those of every stage, comes with the first call.
 */
export type NativeProgress = (
  stage: string,
  step: number,
  steps: number,
  elapsedMs: number,
  done: number,
  plan?: StageWork,
) => void

/** One model, or none, with a thread of its own. Jobs run one after the other. */
export interface NativeSession {
  load(): Promise<{
    /** Where it computes: `cpu`, `cuda:<n>`, `cuda-emulated`. */
    device: string
    /** Name of the device. On the CPU: why `auto` chose it; empty if the CPU was asked for. */
    deviceText: string
    precision: Precision
    isa: string
    threads: number
    bytes: number
  }>
  run(
    kind: string,
    tensors: Record<string, NativeTensor>,
    params: Record<string, unknown>,
  ): Promise<Record<string, NativeTensor>>
  restore(job: RestoreJob, onProgress: NativeProgress): { promise: Promise<NativeRestoration>; cancel(): void }
  /** The raw output of the face encoder for an aligned face, fitted to `size` x `size` as a restore does it. */
  embed(pixels: Pixels, size: number): Promise<Float32Array>
  estimate(job: { references: number; size: number; steps: number; guidance: number; variant: NativeVariant }): {
    bytes: Omit<MemoryEstimate, 'total'>
    operations: StageWork
  }
  /** Cuts a face out of a photograph. All memory is read and written in place. */
  cropFace(job: CropJob): { promise: Promise<void>; cancel(): void }
  /** Pastes a face into a photograph, in place. Once it writes, it is not stopped any more. */
  pasteFace(job: PasteJob): { promise: Promise<void>; cancel(): void }
  dispose(): Promise<void>
}

/** Pixels of a photograph or a face, 8 or 16 bits, that native threads work on while JavaScript goes on. */
export interface NativePhoto {
  data: Uint8Array | Uint16Array
  width: number
  height: number
  channels: number
}

export interface CropJob {
  photo: NativePhoto
  /** 2x3, row-major: pixel of the crop -> pixel of the photograph. */
  matrix: number[]
  border: 'constant' | 'reflect' | 'reflect101'
  /** A square of the photograph's colours and bits, without alpha. */
  out: NativePhoto
}

export interface PasteJob {
  photo: NativePhoto
  /** A square of the photograph's colours and bits, without alpha. */
  restored: NativePhoto
  /** 2x3, row-major: pixel of the photograph -> pixel of the crop. */
  matrix: number[]
  /** Side of the crop. */
  size: number
  softness: number
  beyond: 'photograph' | 'black'
  /** A part of the photograph that holds all that is touched; `data` receives the restored face's share in each pixel. */
  mask: { left: number; top: number; width: number; height: number; data: Uint8Array | Float32Array }
}

let loaded: Addon | undefined

/**
 * The addon, loaded at the first call.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_ADDON_NOT_FOUND` with the places searched; `ERR_ICONFACE_UNSUPPORTED` when the
 *         file is there but the system cannot load it.
 */
export function loadAddon(): Addon {
  return (loaded ??= open(findAddon()))
}

/** The file that {@link loadAddon} loads: `ICONFACE_BINARY`, a local build, or the prebuilt one for this platform. */
export function findAddon(): string {
  const override = process.env.ICONFACE_BINARY
  if (override) {
    if (existsSync(override)) return resolve(override)
    const message = `ICONFACE_BINARY names ${override}, which does not exist; unset it, or name an iconface.node`
    throw new IConFaceError('ERR_ICONFACE_ADDON_NOT_FOUND', message)
  }
  const { path: find } = loadDependency('node-gyp-build') as { path(root: string): string }
  try {
    return find(PACKAGE_ROOT)
  } catch (cause) {
    const message = `no native addon for ${process.platform}-${process.arch}; looked in ${addonPlaces().join(', ')}. `
    throw new IConFaceError('ERR_ICONFACE_ADDON_NOT_FOUND', message + howToGetOne(), { cause })
  }
}

const fromClone = `git clone ${REPOSITORY}, npm ci, and name its build/Release/iconface.node in ICONFACE_BINARY`

/** In a clone the addon is built; an installed package has nothing to build it with, and its addons beside it. */
function howToGetOne(): string {
  if (existsSync(join(PACKAGE_ROOT, 'binding.gyp'))) {
    return `Build it with "npm run build:native" in ${PACKAGE_ROOT} (needs CMake and a C++20 compiler)`
  }
  const prebuilds = join(PACKAGE_ROOT, 'prebuilds')
  const platforms = existsSync(prebuilds) ? readdirSync(prebuilds).join(', ') : 'none'
  return (
    `The package has addons for: ${platforms}. Install it again if one of them should be there, and keep ` +
    `@iconface/native external if a bundler moved it; for another platform build one from a clone: ${fromClone}`
  )
}

/** Where {@link findAddon} looks, first to last. */
export function addonPlaces(): string[] {
  if (process.env.ICONFACE_BINARY) return [process.env.ICONFACE_BINARY]
  const prebuilds = join('prebuilds', `${process.platform}-${process.arch}`)
  const places = [join(PACKAGE_ROOT, prebuilds), join(process.execPath, '..', prebuilds)]
  return process.env.PREBUILDS_ONLY ? places : [join(PACKAGE_ROOT, 'build', 'Release'), ...places]
}

function open(path: string): Addon {
  try {
    return require(path) as Addon
  } catch (cause) {
    const message = `cannot load ${path}: ${messageOf(cause).replace(/\.$/, '')}${loadHint(path, cause)}`
    throw new IConFaceError('ERR_ICONFACE_UNSUPPORTED', message, { cause })
  }
}

/** Why the system does not load an addon, where that can be found out, and what to do. */
function loadHint(path: string, cause: unknown): string {
  if (addonsAreDisabled(cause)) return '. Start Node without --no-addons'
  const missing = missingVersions(path)
  if (missing.length === 0) return ''
  const what = missing.map(describeMissing).join('; ')
  return `. It needs ${what}. Use a newer system (or container image), or build it on this one from a clone: ${fromClone}`
}

/** Calls into the addon; what it throws or rejects with leaves as an {@link IConFaceError}. */
export function native<T>(call: () => Promise<T>): Promise<T>
export function native<T>(call: () => T): T
export function native(call: () => unknown): unknown {
  try {
    const result = call()
    return isThenable(result) ? Promise.resolve(result).catch(rethrow) : result
  } catch (error) {
    return rethrow(error)
  }
}

/**
 * Frees a session that `error` made useless, then throws that error, whatever freeing gives.
 */
export async function abandon(session: NativeSession, error: unknown): Promise<never> {
  try {
    await session.dispose()
  } catch {
    // What the caller must know is why it was to be freed.
  }
  throw error
}

function rethrow(error: unknown): never {
  if (isIConFaceError(error)) throw error
  const { code, message } = error as { code?: string; message?: string }
  // Node-API's C++ wrapper has no memory for its own objects.
  if (message === 'std::bad_alloc') throw new IConFaceError('ERR_ICONFACE_OUT_OF_MEMORY', 'out of memory')
  const known = ICONFACE_ERROR_CODES.includes(code as IConFaceErrorCode)
  if (known) throw new IConFaceError(code as IConFaceErrorCode, message ?? '', { cause: error })
  throw shortage(error) ?? new IConFaceError('ERR_ICONFACE_INTERNAL', message ?? String(error), { cause: error })
}
