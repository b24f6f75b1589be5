/**
 * `iconface.json`: what a model folder says about itself, format version 1.
 *
 * ```jsonc
 * {
 *   "format": 1,
 *   "name": "iconface-klein-4b",                    // for people
 *   "synthesized": false,                           // true: random weights, for tests and benchmarks
 *   "transformer": {
 *     "file": "flux-2-klein-base-4b.safetensors",   // or diffusers' folder, or the index of several files
 *     "ropeAxes": [32, 32, 32, 32],                 // t, h, w, l; even, their sum is the head size
 *     "ropeTheta": 2000,
 *     "heads": 24                                   // optional, checked: hidden size / head size
 *   },
 *   "autoencoder": { "file": "ae.safetensors", "groups": 32 },  // or diffusers' folder; groups of GroupNorm
 *   "adapter": {                                    // optional: without it the model is Table 3's "Concat"
 *     "file": "adapter.safetensors",
 *     "names": "names.json",                        // optional: how its tensors' names are to be read (name-map.ts)
 *     "identity": true,                             // false: without its identity pathway, as when there is no AdaFace
 *     "residualStrength": 1,                        // s_deg, Eq. 6
 *     "temperature": 1                              // T, Eq. 4
 *   },
 *   "lora": [                                       // optional: merged into the transformer in this order
 *     { "file": "lora", "strength": 1, "alpha": 16 }  // a file, or a trainer's folder
 *   ],
 *   "identity": {                                   // AdaFace; needed when the adapter has an identity pathway
 *     "file": "adaface_ir50.safetensors",
 *     "crop": "template"                            // or "resize": how the 112 px face is cut
 *   },
 *   "prompt": {
 *     "file": "prompt_embeddings.safetensors",      // [tokens, context] each
 *     "withReferences": "prompt",                   // names of tensors in that file
 *     "withoutReferences": "prompt_without_references", // default: that one if the file has it, else withReferences
 *     "empty": "empty"
 *   },
 *   "textEncoder": {                                // optional: encodes prompts of the caller's
 *     "file": "text_encoder",                       // Qwen3-4B: a folder of shards, or one file
 *     "tokenizer": "tokenizer/tokenizer.json",      // default: tokenizer.json beside it, or in ../tokenizer
 *     "outputLayers": [9, 18, 27],
 *     "ropeTheta": 1000000                          // default: what its config.json says, else this
 *   },
 *   "defaults": { "resolution": 512, "steps": 12, "guidance": 4, "seed": 42, "rng": "torch-cuda" }
 * }
 * ```
 *
 * Required: `format`, and `file` of `transformer`, `autoencoder` and `prompt`. Everything else has the default shown.
 * Paths are relative to the folder and may lead out of it. Sizes are read off the tensors' shapes, never from here;
 * only what shapes cannot tell is configured. An alpha given here overrides the one in the LoRA's file.
 */
import fs from 'node:fs'
import path from 'node:path'
import { readJson } from '../formats/json'
import { closest } from '../util/closest'
import { describeValue, expectation, fileError, IConFaceError } from '../errors'
import { statusOf } from '../util/file-status'
import { expectedOf, isWithin, type Limit, LIMITS, type Rng, RNGS } from '../limits'
import { GROUP_NORM_GROUPS } from './contract'
import { notThere } from './hub-id'

export const CONFIG_NAME = 'iconface.json'
export const FORMAT = 1

export interface ModelDefaults {
  /** Side of the square result in pixels, a multiple of 16. */
  readonly resolution: number
  readonly steps: number
  readonly guidance: number
  readonly seed: number
  readonly rng: Rng
}

/** How the 112 px face for AdaFace is cut from the aligned 512 px crop. */
export type FaceCrop = (typeof FACE_CROPS)[number]
const FACE_CROPS = ['template', 'resize'] as const

export interface LoraConfig {
  /** A file, or a folder that holds one. */
  readonly file: string
  readonly strength: number
  readonly alpha: number | undefined
}

/** A checked `iconface.json`. Paths are absolute and exist. */
export interface ModelConfig {
  readonly folder: string
  readonly name: string
  readonly synthesized: boolean
  readonly transformer: {
    readonly file: string
    readonly heads: number | undefined
    readonly ropeAxes: readonly number[]
    readonly ropeTheta: number
  }
  readonly autoencoder: { readonly file: string; readonly groups: number }
  readonly adapter:
    | {
        readonly file: string
        readonly names: string | undefined
        readonly identity: boolean
        readonly residualStrength: number
        readonly temperature: number
      }
    | undefined
  readonly lora: readonly LoraConfig[]
  readonly identity: { readonly file: string; readonly crop: FaceCrop } | undefined
  readonly prompt: {
    readonly file: string
    readonly withReferences: string
    readonly withoutReferences: string | undefined
    readonly empty: string
  }
  readonly textEncoder: TextEncoderConfig | undefined
  readonly defaults: ModelDefaults
}

export interface TextEncoderConfig {
  /** A file, or a folder that holds the weights. */
  readonly file: string
  readonly tokenizer: string | undefined
  readonly outputLayers: readonly number[]
  readonly ropeTheta: number | undefined
}

/**
 * Reads and checks the `iconface.json` of a model folder.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_FILE_NOT_FOUND` when the folder, its `iconface.json` or a file named there does
 *         not exist; `ERR_ICONFACE_INVALID_CHECKPOINT` with the key, the expected and the received value;
 *         `ERR_ICONFACE_UNSUPPORTED` for a format or a crop of a later version.
 */
export function readModelConfig(folder: string): ModelConfig {
  const absolute = path.resolve(folder)
  const file = path.join(absolute, CONFIG_NAME)
  if (!fs.existsSync(file)) throw noModel(folder, absolute)
  return parseModelConfig(readJson(file), file)
}

/** The error of what is no model folder, which says how to make one of it. */
function noModel(folder: string, absolute: string): IConFaceError {
  const status = statusOf(absolute)
  if (!status) return notThere(folder, absolute)
  const what = status.isDirectory() ? `has no ${CONFIG_NAME}` : `is no folder with ${CONFIG_NAME}`
  const advice = `"iconface prepare ${folder} --out FOLDER" makes a model folder of files of weights`
  return new IConFaceError('ERR_ICONFACE_FILE_NOT_FOUND', `${absolute} is no model, it ${what}; ${advice}`)
}

/** Checks the parsed contents of `file`, which names other files relative to its own folder. */
export function parseModelConfig(json: unknown, file: string): ModelConfig {
  const root = new Fields(json, '', file)
  const format = root.number('format', 'a whole number from 1', (x) => Number.isInteger(x) && x >= 1)
  if (format !== FORMAT) {
    throw new IConFaceError(
      'ERR_ICONFACE_UNSUPPORTED',
      `${file} has format ${format}, and this version of @iconface/native knows ${FORMAT}; update the package`,
    )
  }
  const folder = path.dirname(file)
  const name = root.text('name', path.basename(folder))
  const synthesized = root.flag('synthesized', false)

  const transformer = root.section('transformer').finish((fields) => ({
    file: fields.file({ folders: true }),
    heads: fields.optional('heads', () => fields.count('heads')),
    ropeAxes: fields.axes('ropeAxes', [32, 32, 32, 32]),
    ropeTheta: fields.number('ropeTheta', 'a number above 1', (x) => x > 1, 2000),
  }))
  const autoencoder = root.section('autoencoder').finish((fields) => ({
    file: fields.file({ folders: true }),
    groups: fields.count('groups', GROUP_NORM_GROUPS),
  }))
  const adapter = root.optional('adapter', () =>
    root.section('adapter').finish((fields) => ({
      file: fields.file(),
      names: fields.optional('names', () => fields.file({ key: 'names' })),
      identity: fields.flag('identity', true),
      residualStrength: fields.number('residualStrength', 'a finite number', () => true, 1),
      temperature: fields.number('temperature', 'a number above 0', (x) => x > 0, 1),
    })),
  )
  const lora = root.list('lora').map((item) =>
    item.finish((fields) => ({
      file: fields.file({ folders: true }),
      strength: fields.number('strength', 'a finite number', () => true, 1),
      alpha: fields.optional('alpha', () => fields.number('alpha', 'a finite number', () => true)),
    })),
  )
  const identity = root.optional('identity', () =>
    root.section('identity').finish((fields) => ({ file: fields.file(), crop: fields.crop() })),
  )
  const prompt = root.section('prompt').finish((fields) => ({
    file: fields.file(),
    withReferences: fields.text('withReferences', 'prompt'),
    withoutReferences: fields.optional('withoutReferences', () => fields.text('withoutReferences')),
    empty: fields.text('empty', 'empty'),
  }))
  const textEncoder = root.optional('textEncoder', () =>
    root.section('textEncoder').finish((fields) => ({
      file: fields.file({ folders: true }),
      tokenizer: fields.optional('tokenizer', () => fields.file({ key: 'tokenizer' })),
      outputLayers: fields.layers('outputLayers', [9, 18, 27]),
      ropeTheta: fields.optional('ropeTheta', () => fields.number('ropeTheta', 'a number above 1', (x) => x > 1)),
    })),
  )
  const defaults = root.section('defaults', {}).finish(readDefaults)
  root.checkUnknown()
  return { folder, name, synthesized, transformer, autoencoder, adapter, lora, identity, prompt, textEncoder, defaults }
}

function readDefaults(fields: Fields): ModelDefaults {
  return {
    resolution: fields.within('resolution', LIMITS.size, 512),
    steps: fields.within('steps', LIMITS.steps, 12),
    guidance: fields.within('guidance', LIMITS.guidance, 4),
    seed: fields.within('seed', LIMITS.seed, 42),
    rng: fields.oneOf('rng', RNGS, 'torch-cuda'),
  }
}

/** What `ropeAxes` has to be, in words and as a question. */
export const AXES = 'a list of 4 even sizes'
export function isAxes(value: unknown): value is number[] {
  const even = (x: unknown) => Number.isSafeInteger(x) && (x as number) >= 0 && (x as number) % 2 === 0
  return Array.isArray(value) && value.length === 4 && value.every(even)
}

/** The fields of one JSON object: each is taken once, by a method that checks it; what is left over is an error. */
class Fields {
  private readonly values: Record<string, unknown>
  private readonly known = new Set<string>()

  constructor(
    value: unknown,
    private readonly prefix: string,
    private readonly source: string,
  ) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw this.error(prefix === '' ? 'the file' : prefix.slice(0, -1), 'an object', value)
    }
    this.values = value as Record<string, unknown>
  }

  /** What `read` makes of these fields, once it is certain that there are no others. */
  finish<T>(read: (fields: Fields) => T): T {
    const result = read(this)
    this.checkUnknown()
    return result
  }

  checkUnknown(): void {
    const names = [...this.known]
    for (const key of Object.keys(this.values)) {
      if (this.known.has(key)) continue
      throw new IConFaceError(
        'ERR_ICONFACE_INVALID_CHECKPOINT',
        `${this.source} has an unknown key ${describeValue(this.prefix + key)}; did you mean "${closest(key, names)}"?`,
      )
    }
  }

  section(key: string, otherwise?: object): Fields {
    return new Fields(this.take(key, otherwise), `${this.prefix}${key}.`, this.source)
  }

  list(key: string): Fields[] {
    const value = this.take(key, [])
    if (!Array.isArray(value)) throw this.error(key, 'a list', value)
    return value.map((item: unknown, i) => new Fields(item, `${this.prefix}${key}[${i}].`, this.source))
  }

  /** `read()` when the key is there. */
  optional<T>(key: string, read: () => T): T | undefined {
    return this.take(key) === undefined ? undefined : read()
  }

  text(key: string, otherwise?: string): string {
    const value = this.take(key, otherwise)
    if (typeof value !== 'string' || value === '') throw this.error(key, 'a text', value)
    return value
  }

  flag(key: string, otherwise: boolean): boolean {
    const value = this.take(key, otherwise)
    if (typeof value !== 'boolean') throw this.error(key, 'true or false', value)
    return value
  }

  number(key: string, expected: string, valid: (x: number) => boolean, otherwise?: number): number {
    const value = this.take(key, otherwise)
    if (typeof value !== 'number' || !Number.isFinite(value) || !valid(value)) throw this.error(key, expected, value)
    return value
  }

  within(key: string, limit: Limit, otherwise: number): number {
    return this.number(key, expectedOf(limit), (x) => isWithin(x, limit), otherwise)
  }

  count(key: string, otherwise?: number): number {
    return this.number(key, 'a whole number from 1', (x) => Number.isSafeInteger(x) && x >= 1, otherwise)
  }

  oneOf<T extends string>(key: string, allowed: readonly T[], otherwise: T): T {
    const value = this.take(key, otherwise) as T
    if (!allowed.includes(value)) throw this.error(key, allowed.map((one) => `"${one}"`).join(' or '), value)
    return value
  }

  axes(key: string, otherwise: readonly number[]): readonly number[] {
    const value = this.take(key, otherwise)
    if (!isAxes(value)) throw this.error(key, AXES, value)
    return value
  }

  layers(key: string, otherwise: readonly number[]): readonly number[] {
    const value = this.take(key, otherwise)
    const whole = (x: unknown) => Number.isSafeInteger(x) && (x as number) >= 1
    if (!Array.isArray(value) || value.length < 1 || value.length > 16 || !value.every(whole))
      throw this.error(key, 'a list of 1 to 16 whole numbers from 1', value)
    return value as number[]
  }

  crop(): FaceCrop {
    if (this.values.crop === 'landmarks') {
      const allowed = FACE_CROPS.map((one) => `"${one}"`).join(' and ')
      throw new IConFaceError(
        'ERR_ICONFACE_UNSUPPORTED',
        `${this.prefix}crop "landmarks" in ${this.source} needs a face detector in the model, which this version does not take; ${allowed} work`,
      )
    }
    return this.oneOf('crop', FACE_CROPS, 'template')
  }

  /** The absolute path under a key. */
  file({ key = 'file', folders = false } = {}): string {
    const value = this.text(key)
    if (value.includes('\0')) throw this.error(key, 'a path', value)
    const absolute = path.resolve(path.dirname(this.source), value)
    let status: fs.Stats
    try {
      status = fs.statSync(absolute)
    } catch (cause) {
      const { code, message } = fileError('read', absolute, cause)
      throw new IConFaceError(code, `${message}; ${this.source} names it in ${this.prefix}${key}`, { cause })
    }
    if (!status.isFile() && !(folders && status.isDirectory())) {
      throw this.error(key, folders ? 'a file or a folder' : 'a file', absolute)
    }
    return absolute
  }

  private take(key: string, otherwise?: unknown): unknown {
    this.known.add(key)
    return Object.hasOwn(this.values, key) ? this.values[key] : otherwise
  }

  private error(key: string, expected: string, received: unknown): IConFaceError {
    const name = key === 'the file' || key === this.prefix.slice(0, -1) ? key : this.prefix + key
    const subject = received === undefined ? `${this.source}: ${name} is missing, expected ${expected}` : undefined
    return new IConFaceError(
      'ERR_ICONFACE_INVALID_CHECKPOINT',
      subject ?? `${this.source}: ${expectation(name, expected, received)}`,
    )
  }
}
