/**
 * Options, checked once, where they enter the package; inside, the types guarantee them.
 */

import { closest } from './util/closest'
import { describeValue, IConFaceError, invalid, shortened } from './errors'
import {
  checkWithin,
  expectedOf,
  isWithin,
  LIMITS,
  MAX_PROMPT,
  type Precision,
  PRECISIONS,
  RNGS,
  type Rng,
} from './limits'
import type { NativeVariant } from './native'
import { isRecord } from './util/realm'

/** Most pixels of a picture where nobody says. */
export const DEFAULT_MAX_PIXELS = 100e6

/** The stages of a restore, in their order. */
export const STAGES = [
  /** Other jobs come first; its steps are those that were before this one when it was asked for. */
  'queued',
  /** Pictures are read and decoded, a step each. */
  'read',
  /** Faces are looked for, a step for each picture that may need aligning. */
  'detect',
  /** The text encoder encodes a prompt that is new. */
  'prompt',
  'prepare',
  'identity',
  /** The autoencoder encodes the pictures, a step each. */
  'encode',
  'condition',
  /** The sampler's steps. */
  'sample',
  'decode',
  'compare',
] as const

/** A name of a stage of a restore. */
export type Stage = (typeof STAGES)[number]

/** How far a job is; said when a stage begins, after each of its steps, and every second within what lasts longer. */
export interface Progress {
  /** `queued` while it waits, `read`, `prompt` (only when one is encoded), then those of `Restoration.timings`. */
  stage: Stage
  /** Steps done within this stage, of `steps`. */
  step: number
  steps: number
  /** How many jobs of the model are before this one; 0 once it runs. */
  position: number
  /** Milliseconds since the job began (waiting in the queue not counted). */
  elapsedMs: number
  /** Part of the model's operations that is done, 0 to 1; 0 while it is not known how many there are. */
  done: number
  /** Estimated milliseconds to the end of the job; `null` while unknown. */
  etaMs: number | null
}

/** Parts of the model to leave out, as the paper's ablations do (Table 3). Everything takes part by default. */
export interface Variant {
  /** `false`: no identity anchor. */
  identity?: boolean | undefined
  /** `false`: neither residual nor memory; `'residual'`: no memory; `'one-route'`: memory without its detail route. */
  structure?: boolean | 'one-route' | 'residual' | undefined
  /** `false`: as if no references were given. */
  references?: boolean | undefined
}

/** What becomes of pictures that are no aligned crops of a face; see `RestoreOptions.align`. */
export type Align = (typeof ALIGN_MODES)[number]
export const ALIGN_MODES = ['auto', 'face', 'none'] as const
export const DEFAULT_ALIGN: Align = 'none'

/** How a picture is restored. */
export interface RestoreOptions {
  /** Sampling steps, 1 to 1000. Default: the checkpoint's, 12 in the paper. */
  steps?: number | undefined
  /** Classifier-free guidance, 0 to 100; 1 needs half the work. Default: the checkpoint's, 4 in the paper. */
  guidance?: number | undefined
  /** Seed of the noise: a safe integer, or a bigint below 2^64. Default: the checkpoint's, 42. */
  seed?: number | bigint | undefined
  /** Side of the result in pixels, a multiple of 16 from 16 to 4096. Default: the checkpoint's, 512 in the paper. */
  size?: number | undefined
  /** Whose `torch.randn` the seed means: `torch-cuda` or `torch-cpu`. Default: the checkpoint's, `torch-cuda`. */
  rng?: Rng | undefined
  /**
   * What the picture shall be, in words. Default: the checkpoint's own prompt. Another one needs a model with a text
   * encoder (`textEncoder` in its iconface.json); it is encoded once, then kept beside the model.
   */
  prompt?: string | undefined
  variant?: Variant | undefined
  /**
   * What becomes of pictures that are no aligned crops of a face. `none` (default): nothing is looked for, the centre is
   * taken. `auto`: a picture is left as it is where its face fits the template, where it is square and shows no face, and
   * where it is smaller than 64 px; any other is aligned to its largest face. `face`: every picture is aligned to its face.
   */
  align?: Align | undefined
  /**
   * Refuses pictures that the decoder complains about. Default `false`: what can be decoded is, and its words are a
   * warning; a picture whose rows are missing is an error either way.
   */
  strict?: boolean | undefined
  /** Stops the job; the promise then rejects with `ERR_ICONFACE_ABORTED` and the signal's reason as `cause`. */
  signal?: AbortSignal | undefined
  /**
   * Called on the way. What it throws, or a promise of it rejects with before the job ends, stops the job and is what
   * the restore rejects with.
   */
  onProgress?: ((progress: Progress) => void | Promise<void>) | undefined
}

/** How a model is loaded. */
export interface LoadOptions {
  /** `auto` (default), `cpu`, `cuda` or `cuda:<n>`. Only `auto` may choose for itself. */
  device?: string | undefined
  /**
   * What matrix products read. `f32` is twice the work and memory. `fp8` is approximate: the linears of the
   * transformer's blocks multiply in 8 bits (e4m3, a scale for every row), everything else is as in bf16, and those
   * weights take half the memory; only on GPUs of compute capability 8.9 or later. Default `auto`: bf16.
   */
  precision?: 'auto' | Precision | undefined
  /** Threads to compute with, 1 to 1024. Default: one per core this process may use. */
  threads?: number | undefined
  /** Instruction set, one of those `iconface doctor` lists. Default: the best. */
  isa?: string | undefined
  /** A file of RetinaFace's weights that finds faces, as `FaceDetector.load` takes it. Default: the package's own. */
  detector?: string | undefined
  /** Largest picture accepted, in pixels (width x height), 1 to 16383². Default 100 million. */
  maxPixels?: number | undefined
  /** Most references per restore, 0 to 64. Default 8. */
  maxReferences?: number | undefined
  /** Most restores waiting for their turn, 0 to 1 million. Default 64. */
  maxQueue?: number | undefined
  /** Stops the loading. */
  signal?: AbortSignal | undefined
}

/** The names of the options of a type, all of them: the compiler refuses one too few. */
export function namesOf<T>(names: { readonly [Name in keyof Required<T>]: true }): readonly (keyof T & string)[] {
  return Object.keys(names) as (keyof T & string)[]
}

export const LOAD_OPTIONS = namesOf<LoadOptions>({
  device: true,
  precision: true,
  threads: true,
  isa: true,
  detector: true,
  maxPixels: true,
  maxReferences: true,
  maxQueue: true,
  signal: true,
})

/**
 * What each option of a restore must be, where it is given. A new option is added here and to {@link RestoreOptions}.
 */
const RESTORE_CHECKS: { readonly [Name in keyof Required<RestoreOptions>]: (value: unknown) => void } = {
  steps: (value) => checkWithin('steps', value, LIMITS.steps),
  guidance: (value) => checkWithin('guidance', value, LIMITS.guidance),
  seed: checkTorchSeed,
  size: checkSize,
  rng: (value) => checkOneOf('rng', value, RNGS),
  prompt: checkPromptText,
  variant: (value) => void checkVariant(value as Variant),
  align: (value) => checkOneOf('align', value, ALIGN_MODES),
  strict: (value) => checkBoolean('strict', value),
  signal: checkSignal,
  onProgress: (value) => {
    if (typeof value !== 'function') throw invalid('onProgress', 'a function', value)
  },
}

export const RESTORE_OPTIONS = Object.keys(RESTORE_CHECKS) as (keyof RestoreOptions)[]

/** The names of {@link LoadOptions} and {@link RestoreOptions} together, for `restore`, which takes both. */
export const ALL_OPTIONS: readonly string[] = [...new Set([...LOAD_OPTIONS, ...RESTORE_OPTIONS]), 'model']

/** Restore options that are right; what was not said is left to the checkpoint. */
export interface CheckedRestore extends Omit<RestoreOptions, 'variant'> {
  variant: NativeVariant
}

export function checkRestoreOptions(options: RestoreOptions = {}): CheckedRestore {
  checkKnown('options', options, RESTORE_OPTIONS)
  const given = Object.fromEntries(RESTORE_OPTIONS.map((name) => [name, options[name]])) as RestoreOptions
  for (const name of RESTORE_OPTIONS) if (given[name] !== undefined) RESTORE_CHECKS[name](given[name])
  return { ...given, variant: checkVariant(given.variant) }
}

/** What a restore uses where its options say nothing. */
export type RestoreDefaults = Required<Pick<RestoreOptions, 'steps' | 'guidance' | 'seed' | 'size' | 'rng'>>

/** What a restore computes with: the options that were given, else the model's defaults. */
export function restoreSettings(defaults: RestoreDefaults, options: Partial<RestoreDefaults>): RestoreDefaults {
  const names = Object.keys(defaults) as (keyof RestoreDefaults)[]
  return Object.fromEntries(names.map((name) => [name, options[name] ?? defaults[name]])) as unknown as RestoreDefaults
}

export type CheckedLoad = LoadOptions & Required<Pick<LoadOptions, 'device' | 'precision' | Limit>>
type Limit = 'maxPixels' | 'maxReferences' | 'maxQueue'

export function checkLoadOptions(options: LoadOptions = {}): CheckedLoad {
  checkKnown('options', options, LOAD_OPTIONS)
  const { device = 'auto', precision = 'auto', threads, isa, detector } = options
  if (device !== 'auto') checkDevice(device, "'auto', 'cpu', 'cuda' or 'cuda:<number>'")
  checkOneOf('precision', precision, ['auto', ...PRECISIONS])
  checkCompute({ threads, isa })
  if (detector !== undefined && (typeof detector !== 'string' || detector === '')) {
    throw invalid('detector', 'the path of a safetensors file', detector)
  }
  checkSignal(options.signal)
  return { ...options, device, precision, ...checkLimits(options) }
}

/** Refuses what can be nowhere; whether this machine has such a device or instruction set shows when it is used. */
export function checkCompute({ threads, isa, device }: { threads?: unknown; isa?: unknown; device?: unknown }): void {
  if (device !== undefined) checkDevice(device)
  if (threads !== undefined) checkWithin('threads', threads, LIMITS.threads)
  if (isa !== undefined && typeof isa !== 'string') throw invalid('isa', 'a string', isa)
}

/** Refuses what names no device; whether there is such a device shows when it is opened. */
export function checkDevice(device: unknown, expected = "'cpu', 'cuda' or 'cuda:<number>'"): void {
  if (typeof device === 'string' && /^(cpu|cuda(:\d{1,3}|-emulated)?)$/.test(device)) return
  throw invalid('device', expected, device)
}

function checkLimits({
  maxPixels = DEFAULT_MAX_PIXELS,
  maxReferences = 8,
  maxQueue = 64,
}: LoadOptions): Required<Pick<LoadOptions, Limit>> {
  checkWithin('maxPixels', maxPixels, LIMITS.pixels)
  checkWithin('maxReferences', maxReferences, LIMITS.references)
  checkWithin('maxQueue', maxQueue, LIMITS.queue)
  return { maxPixels, maxReferences, maxQueue }
}

export function checkSize(size: unknown): asserts size is number {
  checkWithin('size', size, LIMITS.size)
}

/** Refuses what is no seed of our own generators. */
export function checkSeed(seed: unknown): asserts seed is number {
  checkWithin('seed', seed, LIMITS.seed)
}

const MAX_TORCH_SEED = 2n ** 64n - 1n

/** PyTorch's seeds have 64 bits, more than a number can hold. */
function checkTorchSeed(seed: unknown): asserts seed is number | bigint {
  const fits = typeof seed === 'bigint' ? seed >= 0n && seed <= MAX_TORCH_SEED : isWithin(seed, LIMITS.seed)
  if (!fits) throw invalid('seed', `${expectedOf(LIMITS.seed)}, or a bigint from 0n to 2n ** 64n - 1n`, seed)
}

export function checkPromptText(prompt: unknown): void {
  if (typeof prompt !== 'string') throw invalid('prompt', 'a text', prompt)
  if (prompt.length > MAX_PROMPT) {
    throw invalid('prompt', `a text of at most ${MAX_PROMPT} characters`, `${prompt.length} characters`)
  }
  if (/\p{Surrogate}/u.test(prompt)) throw invalid('prompt', 'well-formed Unicode', prompt)
}

export function checkVariant(variant: Variant = {}): NativeVariant {
  checkKnown('variant', variant, namesOf<Variant>({ identity: true, structure: true, references: true }))
  const { identity = true, structure = true, references = true } = variant
  checkBoolean('variant.identity', identity)
  checkBoolean('variant.references', references)
  if (typeof structure === 'boolean') return { identity, structure: structure ? 'full' : 'none', references }
  checkOneOf('variant.structure', structure, ['one-route', 'residual'], "true, false, 'one-route' or 'residual'")
  return { identity, structure, references }
}

/** An `AbortSignal` of this or another realm: judged by what it can do. */
export function checkSignal(signal: unknown): asserts signal is AbortSignal | undefined {
  if (signal === undefined) return
  const { aborted, addEventListener, removeEventListener } = (signal ?? {}) as Partial<AbortSignal>
  const methods = [addEventListener, removeEventListener]
  if (typeof aborted !== 'boolean' || !methods.every((method) => typeof method === 'function')) {
    throw invalid('signal', 'an AbortSignal', signal)
  }
}

export function checkInteger(name: string, value: unknown, min: number, max: number): asserts value is number {
  if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
    throw invalid(name, `an integer from ${min} to ${max}`, value)
  }
}

export function checkNumber(name: string, value: unknown, min: number, max: number): asserts value is number {
  if (!(typeof value === 'number' && value >= min && value <= max)) {
    throw invalid(name, `a number from ${min} to ${max}`, value)
  }
}

export function checkBoolean(name: string, value: unknown): asserts value is boolean {
  if (typeof value !== 'boolean') throw invalid(name, 'true or false', value)
}

export function checkOneOf(name: string, value: unknown, allowed: readonly string[], expected?: string): void {
  if (typeof value === 'string' && allowed.includes(value)) return
  throw invalid(name, expected ?? allowed.map((one) => `'${one}'`).join(' or '), value)
}

/**
 * Refuses what is no plain object, and any key not in `names`, naming the closest that is.
 *
 * @param kind What errors call a key: `unknown state parameter`.
 */
export function checkKnown(what: string, options: unknown, names: readonly string[], kind = 'option'): void {
  if (!isRecord(options)) throw invalid(what, 'an object', options)
  for (const [name, value] of Object.entries(options)) {
    if (names.includes(name)) continue
    throw new IConFaceError(
      'ERR_ICONFACE_INVALID_ARGUMENT',
      `unknown ${what === 'options' ? kind : `${what} ${kind}`} '${shortened(name)}' (${describeValue(value)}); ` +
        `did you mean '${closest(shortened(name), names)}'? Known: ${names.join(', ')}`,
    )
  }
}
