/**
 * The text encoder where it lies: Qwen3 as a folder of Hugging Face shards or as one file, with its tokenizer. It is
 * opened to encode one prompt, reads its weights layer by layer from the mapped file, and is closed again.
 */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { readJson } from '../formats/json'
import { checkTextEncoder, checkUnlessQuantised, formatProblems } from '../checkpoint/contract'
import { canonicalTextNames } from '../checkpoint/canonical-names'
import { type SafetensorsFile } from '../formats/safetensors'
import { openWeights, type WeightFiles } from '../formats/shards'
import { openSource } from '../formats/byte-source'
import { describeValue, expectation, IConFaceError, invalid } from '../errors'
import { checkKnown, namesOf } from '../options'
import type { Checkpoint } from '../checkpoint/spec'
import { Networks, type NetworksOptions } from '../networks/networks'
import { i32, type Result } from '../ops'
import { checkAborted, onAbort } from '../util/abort'
import { PromptTokenizer } from './tokenizer'

/** How a text encoder is loaded. */
export interface TextEncoderOptions {
  /** Layers after which the hidden states are taken, from 1. FLUX.2 [klein] reads 9, 18 and 27. */
  outputLayers?: readonly number[] | undefined
  /** Of RoPE. Default: what the folder's `config.json` says, else 1 000 000. */
  ropeTheta?: number | undefined
  /** Default: `tokenizer.json` beside the weights, or in the folder `tokenizer` beside theirs. */
  tokenizer?: string | undefined
}

const OPTIONS = namesOf<TextEncoderOptions>({ outputLayers: true, ropeTheta: true, tokenizer: true })

export const OUTPUT_LAYERS: readonly number[] = [9, 18, 27]
const ROPE_THETA = 1e6

/** The RMSNorm epsilon of every published Qwen3, and the only one the operations support. */
const NORM_EPSILON = 1e-6

/** An opened text encoder. Its weights are not in memory yet. */
export interface OpenTextEncoder {
  /** For `Networks.load`, whose kind `text_embedding` it can run. */
  readonly checkpoint: Checkpoint
  readonly weights: WeightFiles
  /** Width of a token's embedding: output layers times hidden size. */
  readonly width: number
}

/**
 * Opens a text encoder: a folder with its shards, an index, or a single safetensors file.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT` with all that is wrong with it; `ERR_ICONFACE_UNSUPPORTED`
 *         for a model that is no plain Qwen3; `ERR_ICONFACE_FILE_NOT_FOUND`, `ERR_ICONFACE_IO`.
 * @example
 * await using networks = await Networks.load(openTextEncoder('FLUX.2-klein-base-4B/text_encoder').checkpoint)
 * const { embeddings } = await networks.run('text_embedding', { ids: i32([tokens.length], tokens) })
 */
export function openTextEncoder(file: string, options: TextEncoderOptions = {}): OpenTextEncoder {
  checkOptions(file, options)
  const weights = openWeights(file)
  const { tensors } = canonicalTextNames(weights.tensors)
  const outputLayers = options.outputLayers ?? OUTPUT_LAYERS
  const { sizes, problems } = checkUnlessQuantised('text encoder', tensors, () =>
    checkTextEncoder(tensors, outputLayers),
  )
  if (!sizes || problems.length > 0) {
    throw new IConFaceError(
      'ERR_ICONFACE_INVALID_CHECKPOINT',
      `${weights.path} is no text encoder that can be used:\n${formatProblems(problems)}`,
    )
  }
  const stored = [...tensors].map(([name, { dtype, shape, parts }]) => [`text.${name}`, { dtype, shape, ...parts[0]! }])
  return {
    weights,
    width: outputLayers.length * sizes.hidden,
    checkpoint: {
      files: weights.files.map(({ path, fileSize }) => ({ path, size: fileSize })),
      tensors: Object.fromEntries(stored) as Checkpoint['tensors'],
      numbers: {
        'text.outputLayers': outputLayers,
        'text.ropeTheta': [options.ropeTheta ?? configuredTheta(path.dirname(weights.path)) ?? ROPE_THETA],
      },
    },
  }
}

function checkOptions(file: unknown, options: TextEncoderOptions): void {
  if (typeof file !== 'string' || file === '') throw invalid('file', 'a safetensors file, or a folder of shards', file)
  checkKnown('options', options, OPTIONS)
  const { outputLayers: layers, ropeTheta: theta, tokenizer } = options
  const isLayer = (layer: unknown) => Number.isSafeInteger(layer) && (layer as number) >= 1
  if (layers !== undefined && !(Array.isArray(layers) && layers.length > 0 && layers.every(isLayer))) {
    throw invalid('outputLayers', 'a list of whole numbers from 1', layers)
  }
  if (theta !== undefined && !(Number.isFinite(theta) && theta > 1))
    throw invalid('ropeTheta', 'a number above 1', theta)
  if (tokenizer !== undefined && typeof tokenizer !== 'string')
    throw invalid('tokenizer', 'the path of a file', tokenizer)
}

/** RoPE's theta as the `config.json` beside the weights gives it; refuses what this package would compute wrongly. */
export function configuredTheta(folder: string): number | undefined {
  const file = path.join(folder, 'config.json')
  if (!fs.existsSync(file)) return undefined
  const json = readJson(file)
  const config = (typeof json === 'object' && json !== null ? json : {}) as Record<string, unknown>
  const refuse = (key: string, expected: string) => {
    throw new IConFaceError('ERR_ICONFACE_UNSUPPORTED', `${file}: ${expectation(key, expected, config[key])}`)
  }
  if ((config.model_type ?? 'qwen3') !== 'qwen3') refuse('model_type', '"qwen3"')
  if ((config.rms_norm_eps ?? NORM_EPSILON) !== NORM_EPSILON) refuse('rms_norm_eps', String(NORM_EPSILON))
  if (config.rope_scaling) refuse('rope_scaling', 'null')
  const parameters = (config.rope_parameters ?? {}) as Record<string, unknown>
  const theta = config.rope_theta ?? parameters.rope_theta
  if (theta !== undefined && !(typeof theta === 'number' && theta > 1 && Number.isFinite(theta))) {
    throw new IConFaceError(
      'ERR_ICONFACE_INVALID_CHECKPOINT',
      `${file}: ${expectation('rope_theta', 'a number above 1', theta)}`,
    )
  }
  return theta
}

/**
 * Default places of the tokenizer of a text encoder's weights: beside them, or in the folder `tokenizer` beside theirs.
 */
export function tokenizerPlaces(weights: string): string[] {
  const folder = path.dirname(weights)
  return [folder, path.join(folder, '..', 'tokenizer')].map((place) => path.join(place, 'tokenizer.json'))
}

/** The tokenizer of a text encoder. */
export function tokenizerFile({ path: weights }: WeightFiles, { tokenizer }: TextEncoderOptions): string {
  const places = tokenizer ? [tokenizer] : tokenizerPlaces(weights)
  const found = places.find((place) => fs.existsSync(place))
  if (found !== undefined) return found
  throw new IConFaceError(
    'ERR_ICONFACE_FILE_NOT_FOUND',
    `the text encoder ${weights} has no tokenizer: ${places.join(' and ')} ${places.length > 1 ? 'do' : 'does'} not exist; ` +
      "put Qwen3's tokenizer.json there, or name it in iconface.json, textEncoder.tokenizer",
  )
}

/**
 * The embeddings of a prompt: [length, width] f32, as the transformer reads them.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_ABORTED`; `ERR_ICONFACE_INVALID_ARGUMENT` for a prompt that is too long;
 *         `ERR_ICONFACE_NUMERICAL` when a value is not finite; as {@link openTextEncoder} and {@link PromptTokenizer}
 */
export async function encodePrompt(
  encoder: OpenTextEncoder,
  tokenizer: PromptTokenizer,
  prompt: string,
  length: number,
  { signal, ...options }: NetworksOptions & { signal?: AbortSignal | undefined } = {},
): Promise<Result> {
  const { ids, real } = tokenizer.encodePrompt(prompt, length)
  checkAborted(signal)
  const networks = await Networks.load(encoder.checkpoint, options)
  const release = onAbort(signal, () => void networks.dispose())
  try {
    checkAborted(signal)
    const { embeddings } = await networks.run('text_embedding', { ids: i32([length], ids) }, { real })
    checkAborted(signal)
    if ((embeddings.data as Float32Array).every(Number.isFinite)) return embeddings
    throw new IConFaceError('ERR_ICONFACE_NUMERICAL', `${encoder.weights.path} gave an embedding that is not finite`)
  } catch (error) {
    checkAborted(signal)
    throw error
  } finally {
    release()
    await networks.dispose()
  }
}

/** The fingerprint reads this many bytes at each of this many places of a file. */
const SAMPLE_BYTES = 4096
const SAMPLES = 64

/**
 * A hash of what a prompt's embeddings depend on: the tokenizer, the settings, and the weights, of which the headers
 * and samples are read (all of their 8 GB would take longer than encoding the prompt).
 */
export function fingerprint({ checkpoint, weights }: OpenTextEncoder, tokenizer: string): string {
  const hash = createHash('sha256').update(JSON.stringify(checkpoint.numbers)).update(fs.readFileSync(tokenizer))
  for (const file of weights.files) for (const piece of samples(file)) hash.update(piece)
  return hash.digest('hex')
}

function* samples({ path: file, fileSize, headerBytes }: SafetensorsFile): Generator<Buffer> {
  const source = openSource(file)
  try {
    yield source.read(0, 8 + headerBytes, 'the header')
    const bytes = Math.min(SAMPLE_BYTES, fileSize)
    for (let i = 0; i < SAMPLES; i++) {
      yield source.read(Math.floor(((fileSize - bytes) * i) / (SAMPLES - 1)), bytes, describeValue(`sample ${i}`))
    }
  } finally {
    source.close()
  }
}
