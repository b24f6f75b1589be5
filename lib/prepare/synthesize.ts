/**
 * Random checkpoints: every file of a model, of the right names, shapes and scales, without any training behind it.
 * They restore nothing, but load, run and cost what a real one does: for tests, benchmarks and trying the package out.
 */
import fs from 'node:fs'
import path from 'node:path'
import { fileError, IConFaceError, invalid, isIConFaceError } from '../errors'
import { checkSeed, checkKnown, namesOf, checkOneOf } from '../options'
import { checkAborted } from '../util/abort'
import { DEFAULT_PROMPT } from '../text/chat'
import { writeWhole } from '../formats/whole-file'
import { CONFIG_NAME, FORMAT, type ModelDefaults } from '../checkpoint/config'
import { checkSpace } from './disk'
import { roundToBFloat16 } from '../formats/dtype'
import {
  adapterTensors,
  type AdapterSizes,
  type AutoencoderSizes,
  autoencoderTensors,
  type FaceSizes,
  faceTensors,
  type Shape,
  type TensorShapes,
  type TextEncoderSizes,
  textEncoderTensors,
  type TransformerSizes,
  transformerTensors,
} from '../checkpoint/expected'
import type { Role } from '../checkpoint/roles'
import { SafetensorsWriter, tensorBytes, type TensorDeclaration } from '../formats/safetensors-writer'

/** Sizes of a synthesized model. */
export interface Preset {
  readonly transformer: TransformerSizes
  readonly ropeAxes: readonly number[]
  readonly autoencoder: AutoencoderSizes
  readonly face: FaceSizes
  readonly adapter: { readonly rank: number; readonly baseTokens: number; readonly detailTokens: number }
  readonly textLength: number
  readonly defaults: ModelDefaults
}

const DEFAULTS = { resolution: 512, steps: 12, guidance: 4, seed: 42, rng: 'torch-cuda' } as const

/** `tiny` runs in a second on one core; `klein-4b` has the paper's sizes (model-specification.md 1). */
export const PRESETS = {
  tiny: {
    transformer: {
      inChannels: 128,
      hidden: 128,
      headDim: 64,
      doubleBlocks: 2,
      singleBlocks: 2,
      doubleMlp: 384,
      singleMlp: 384,
      timeChannels: 256,
      contextDim: 96,
    },
    ropeAxes: [16, 16, 16, 16],
    autoencoder: {
      imageChannels: 3,
      latentChannels: 32,
      baseChannels: 32,
      levelChannels: [32, 64, 64, 64],
      resBlocks: 1,
    },
    face: { baseChannels: 8, stageChannels: [8, 16, 24, 40], stageUnits: [1, 1, 1, 1], embedding: 512 },
    adapter: { rank: 16, baseTokens: 32, detailTokens: 32 },
    textLength: 16,
    defaults: { ...DEFAULTS, resolution: 64, steps: 4 },
  },
  'klein-4b': {
    transformer: {
      inChannels: 128,
      hidden: 3072,
      headDim: 128,
      doubleBlocks: 5,
      singleBlocks: 20,
      doubleMlp: 9216,
      singleMlp: 9216,
      timeChannels: 256,
      contextDim: 7680,
    },
    ropeAxes: [32, 32, 32, 32],
    autoencoder: {
      imageChannels: 3,
      latentChannels: 32,
      baseChannels: 128,
      levelChannels: [128, 256, 512, 512],
      resBlocks: 2,
    },
    face: { baseChannels: 64, stageChannels: [64, 128, 256, 512], stageUnits: [3, 4, 14, 3], embedding: 512 },
    adapter: { rank: 16, baseTokens: 128, detailTokens: 128 },
    textLength: 512,
    defaults: DEFAULTS,
  },
} as const satisfies Record<string, Preset>

/** Text encoders by themselves; `qwen3-4b` has the published sizes (model-specification.md 7), one file of 8 GB. */
export const TEXT_PRESETS = {
  'qwen3-4b': { vocabulary: 151936, hidden: 2560, heads: 32, sharedHeads: 8, headDim: 128, mlp: 9728, layers: 36 },
} as const satisfies Record<string, TextEncoderSizes>

type ModelPreset = keyof typeof PRESETS
type TextPreset = keyof typeof TEXT_PRESETS
export type PresetName = ModelPreset | TextPreset
export const PRESET_NAMES = Object.keys({ ...PRESETS, ...TEXT_PRESETS }) as PresetName[]

export interface SynthesizeOptions {
  /** Same seed, same bytes. Default 0. */
  readonly seed?: number | undefined
  readonly dtype?: 'bf16' | 'f32' | undefined
  /** Write into a folder that holds other things; files of the same names are replaced. */
  readonly force?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: { file: string; bytes: number; totalBytes: number }) => void) | undefined
}

const OPTIONS = namesOf<SynthesizeOptions>({ seed: true, dtype: true, force: true, signal: true, onProgress: true })

/**
 * Writes a random checkpoint: a model, or a text encoder without a tokenizer. `iconface.json` (of a text encoder
 * `config.json`) is written last: a folder cut short is no model.
 *
 * @returns what was written
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT` for a folder that is not empty, `ERR_ICONFACE_IO` when the
 *         disk is too small (before anything is written) or fails, `ERR_ICONFACE_ABORTED` when `signal` fires.
 * @example
 * await synthesizeCheckpoint('tiny', '/tmp/tiny')
 * const model = await IConFace.load('/tmp/tiny')
 */
export async function synthesizeCheckpoint(
  preset: PresetName,
  folder: string,
  options: SynthesizeOptions = {},
): Promise<{ folder: string; bytes: number; parameters: number }> {
  checkKnown('options', options, OPTIONS)
  const { seed = 0, dtype = 'bf16', force = false, signal, onProgress } = options
  if (!PRESET_NAMES.includes(preset)) throw invalid('preset', PRESET_NAMES.join(' or '), preset)
  checkSeed(seed)
  checkOneOf('dtype', dtype, ['bf16', 'f32'])
  const destination = path.resolve(folder)
  const stored = dtype === 'bf16' ? 'BF16' : 'F32'
  const files = isText(preset) ? [textFile(TEXT_PRESETS[preset], stored)] : presetFiles(PRESETS[preset], stored)
  const totalBytes = files.reduce((sum, file) => sum + file.bytes, 0)
  prepareFolder(destination, force)
  checkSpace(destination, totalBytes)
  const metadata = { synthesized: `@iconface/native, preset ${preset}, seed ${seed}, ${dtype}` }
  let bytes = 0
  for (const { role, file, tensors, texts } of files) {
    await writeFile(path.join(destination, file), role, tensors, { ...metadata, ...texts }, seed, (written) => {
      checkAborted(signal)
      bytes += written
      onProgress?.({ file, bytes, totalBytes })
    })
    checkAborted(signal)
  }
  if (isText(preset))
    await writeJson(path.join(destination, 'config.json'), { model_type: 'qwen3', rope_theta: 1e6, rms_norm_eps: 1e-6 })
  else await writeConfig(path.join(destination, CONFIG_NAME), preset)
  return { folder: destination, bytes, parameters: bytes / (dtype === 'bf16' ? 2 : 4) }
}

function isText(preset: PresetName): preset is TextPreset {
  return Object.hasOwn(TEXT_PRESETS, preset)
}

interface PresetFile {
  readonly role: Role | 'text encoder'
  readonly file: string
  readonly tensors: readonly TensorDeclaration[]
  readonly bytes: number
  /** Metadata: the texts that the embeddings stand for. */
  readonly texts: Readonly<Record<string, string>>
}

const FILES: Record<Role, string> = {
  transformer: 'transformer.safetensors',
  autoencoder: 'autoencoder.safetensors',
  adapter: 'adapter.safetensors',
  face: 'adaface.safetensors',
  prompt: 'prompt_embeddings.safetensors',
}

function presetFiles(preset: Preset, dtype: 'BF16' | 'F32'): PresetFile[] {
  const shapes: Record<Role, TensorShapes> = {
    transformer: transformerTensors(preset.transformer),
    autoencoder: autoencoderTensors(preset.autoencoder),
    adapter: adapterTensors(adapterSizes(preset)),
    face: faceTensors(preset.face),
    prompt: new Map(['prompt', 'empty'].map((name) => [name, [preset.textLength, preset.transformer.contextDim]])),
  }
  return (Object.keys(FILES) as Role[]).map((role) => {
    const texts: Record<string, string> = role === 'prompt' ? { prompt: DEFAULT_PROMPT, empty: '' } : {}
    return presetFile(role, FILES[role], shapes[role], dtype, texts)
  })
}

/** Under Hugging Face's names. */
function textFile(sizes: TextEncoderSizes, dtype: 'BF16' | 'F32'): PresetFile {
  const shapes = [...textEncoderTensors(sizes)].map(([name, shape]) => [`model.${name}`, shape] as const)
  return presetFile('text encoder', 'model.safetensors', new Map(shapes), dtype, {})
}

function presetFile(
  role: PresetFile['role'],
  file: string,
  shapes: TensorShapes,
  dtype: 'BF16' | 'F32',
  texts: Readonly<Record<string, string>>,
): PresetFile {
  const tensors = [...shapes].map(([name, shape]) => ({ name, dtype, shape }))
  return { role, file, tensors, bytes: tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0), texts }
}

function adapterSizes({ transformer, face, adapter }: Preset): AdapterSizes {
  const { hidden, doubleBlocks, singleBlocks } = transformer
  const blocks = doubleBlocks + singleBlocks
  return { hidden, embedding: face.embedding, ...adapter, blocks, identity: true, residual: true }
}

async function writeConfig(file: string, name: ModelPreset): Promise<void> {
  const preset: Preset = PRESETS[name]
  const config = {
    format: FORMAT,
    name: `${name} (random weights)`,
    synthesized: true,
    transformer: { file: FILES.transformer, ropeAxes: preset.ropeAxes, ropeTheta: 2000 },
    autoencoder: { file: FILES.autoencoder },
    adapter: { file: FILES.adapter, residualStrength: 1, temperature: 1 },
    identity: { file: FILES.face, crop: 'template' },
    prompt: { file: FILES.prompt },
    defaults: preset.defaults,
  }
  await writeJson(file, config)
}

function writeJson(file: string, json: object): Promise<void> {
  return writeWhole(file, Buffer.from(`${JSON.stringify(json, null, 2)}\n`))
}

function prepareFolder(folder: string, force: boolean): void {
  try {
    fs.mkdirSync(folder, { recursive: true })
    if (force) fs.rmSync(path.join(folder, CONFIG_NAME), { force: true })
    else if (fs.readdirSync(folder).length > 0) {
      throw new IConFaceError(
        'ERR_ICONFACE_INVALID_ARGUMENT',
        `${folder} is not empty; name another folder, or pass force (--force) to replace a model there`,
      )
    }
  } catch (cause) {
    throw isIConFaceError(cause) ? cause : fileError('create', folder, cause)
  }
}

/** Elements made at a time: 16 MB as float32. */
const CHUNK = 1 << 22

/** Writes one file; while one piece goes to disk the next one is made. */
async function writeFile(
  file: string,
  role: PresetFile['role'],
  tensors: readonly TensorDeclaration[],
  metadata: Readonly<Record<string, string>>,
  seed: number,
  report: (bytes: number) => void,
): Promise<void> {
  const writer = await SafetensorsWriter.create(file, tensors, metadata)
  const chunks = [new Chunk(), new Chunk()] as const
  let turn = 0
  let pending: Promise<void> = Promise.resolve()
  try {
    for (const { name, dtype, shape } of tensors) {
      const elements = shape.reduce((a, b) => a * b, 1)
      const distribution = initialValues(role, name, shape)
      const stream = streamOf(`${seed}/${role}/${name}`)
      for (let start = 0; start < elements; start += CHUNK) {
        const data = chunks[turn]!.fill(
          Math.min(CHUNK, elements - start),
          dtype === 'BF16',
          stream,
          start,
          distribution,
        )
        turn = 1 - turn
        await pending
        report(data.byteLength)
        pending = writer.write(data)
        pending.catch(() => undefined) // awaited below or at the next piece
      }
    }
    await pending
    await writer.finish()
  } finally {
    await pending.catch(() => undefined)
    await writer.abort()
  }
}

/** Mean and standard deviation of a tensor's values. */
interface Distribution {
  readonly mean: number
  readonly deviation: number
}

/**
 * Values that keep every network finite and let every part of it change the result: matrices at 1/sqrt(fan-in), norms
 * near 1, variances positive (the values of {@link fillNormal} stay within 3.45 deviations).
 */
function initialValues(role: PresetFile['role'], name: string, shape: Shape): Distribution {
  if (role === 'prompt') return { mean: 0, deviation: 1 }
  if (name.endsWith('.gate')) return { mean: 0.25, deviation: 0.05 }
  if (name.endsWith('.queries')) return { mean: 0, deviation: 1 }
  if (name.endsWith('.running_var')) return { mean: 1, deviation: 0.2 }
  if (name.endsWith('.running_mean')) return { mean: 0, deviation: 0.1 }
  if (name.endsWith('.bias')) return { mean: 0, deviation: 0.02 }
  // PReLU slopes of AdaFace.
  if (role === 'face' && /^(input_layer\.2|body\.\d+\.res_layer\.3)\.weight$/.test(name))
    return { mean: 0.25, deviation: 0.05 }
  // Norm scales.
  if (shape.length === 1) return { mean: 1, deviation: 0.1 }
  // Its input is a unit vector, so each of its values is small already.
  if (name === 'identity.global.in.weight') return { mean: 0, deviation: 1 }
  const fanIn = shape.slice(1).reduce((a, b) => a * b, 1)
  const gain = name === 'structure.residual.up.weight' ? 0.3 : 1
  return { mean: 0, deviation: gain / Math.sqrt(fanIn) }
}

/** Memory for one piece of a tensor. */
class Chunk {
  private readonly values = new Float32Array(CHUNK)
  private readonly bits = new Uint32Array(this.values.buffer)
  private readonly halves = new Uint16Array(CHUNK)

  /** Values `start` to `start + count` of a tensor, in the memory of this chunk. */
  fill(count: number, half: boolean, stream: Stream, start: number, distribution: Distribution): ArrayBufferView {
    const values = this.values.subarray(0, count)
    fillNormal(values, stream, start, distribution)
    if (!half) return values
    const halves = this.halves.subarray(0, count)
    roundToBFloat16(this.bits, halves)
    return halves
  }
}

/** Two words that select a tensor's random numbers. */
type Stream = readonly [number, number]

/** FNV-1a of a text, twice with different starts. */
function streamOf(text: string): Stream {
  return [0x811c9dc5, 0x9747b28c].map((hash) => {
    for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193)
    return hash
  }) as [number, number]
}

/** Standard deviation of the sum of four bytes. */
const BYTE_SUM_DEVIATION = Math.sqrt((4 * (256 ** 2 - 1)) / 12)

/**
 * Roughly normal values: value i is made of the four bytes of a hash of i (the sum of four uniform numbers), so any
 * piece of a tensor can be made without the rest. The hash is MurmurHash3's finalizer with the stream mixed in twice.
 */
function fillNormal(
  out: Float32Array,
  [first, second]: Stream,
  start: number,
  { mean, deviation }: Distribution,
): void {
  const scale = deviation / BYTE_SUM_DEVIATION
  const shift = mean - 510 * scale
  for (let i = 0; i < out.length; i++) {
    let h = Math.imul(start + i, 0x9e3779b1) ^ first
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b) + second
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
    h ^= h >>> 16
    out[i] = ((h & 255) + ((h >>> 8) & 255) + ((h >>> 16) & 255) + (h >>> 24)) * scale + shift
  }
}
