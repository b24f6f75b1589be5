/**
 * LoRA files: low-rank changes `W += strength * (alpha / r) B A` of the transformer's matrices (model-spec.md 3), merged
 * in float32 where the model is loaded. The layouts are those of lora-names.ts.
 */
import fs from 'node:fs'
import path from 'node:path'
import { expectation, IConFaceError } from '../errors'
import { type LoraConfig, readJson } from './config'
import type { Problem } from './contract'
import { toFloat32, WEIGHT_DTYPES } from './dtype'
import type { TensorShapes } from './expected'
import { isTextEncoderLora, type LoraName, loraName, otherAdapter } from './lora-names'
import type { Rows } from './modules'
import { openSafetensors, readTensorBytes, type SafetensorsFile, type TensorInfo } from './safetensors'
import { weightsPath } from './shards'

/** Where the strength's numerator alpha came from. */
export type AlphaSource = 'iconface.json' | 'tensor' | 'adapter_config.json' | 'metadata' | 'rank'

/** The change of one matrix, or of some of its rows. */
export interface LoraModule {
  /** Name of the matrix without `.weight`, for instance `double_blocks.0.img_attn.qkv`. */
  readonly module: string
  /** First row that is changed. */
  readonly row: number
  /** [rank, in] */
  readonly a: TensorInfo
  /** [rows, rank] */
  readonly b: TensorInfo
  readonly rank: number
  readonly alpha: number
  readonly alphaSource: AlphaSource
  /** alpha / rank, or alpha / sqrt(rank) where the trainer says so (`use_rslora`). */
  readonly scale: number
}

export interface Lora {
  readonly file: SafetensorsFile
  readonly strength: number
  readonly modules: readonly LoraModule[]
  readonly problems: readonly Problem[]
  /** Names of tensors of the text encoder. */
  readonly ignored: readonly string[]
}

/** The names that trainers give the weights in a folder, the likeliest first. */
const WEIGHTS_NAMES = ['lora_weights.safetensors', 'adapter_model.safetensors', 'pytorch_lora_weights.safetensors']
const CONFIG_NAME = 'adapter_config.json'

/** The weights that a LoRA's folder holds; a file is returned as it is. */
export function loraWeights(target: string): string {
  if (!fs.statSync(target, { throwIfNoEntry: false })?.isDirectory()) return target
  const known = WEIGHTS_NAMES.map((name) => path.join(target, name)).find((file) => fs.existsSync(file))
  return known ?? weightsPath(target)
}

/** Whether a folder holds a LoRA, by the names of its files. */
export function isLoraFolder(folder: string): boolean {
  return [...WEIGHTS_NAMES, CONFIG_NAME].some((name) => fs.existsSync(path.join(folder, name)))
}

/**
 * Opens a LoRA file, or the weights of a folder.
 *
 * @param expected  the transformer's tensors; without them modules are not compared with it
 */
export function openLora({ file, strength, alpha }: LoraConfig, expected?: TensorShapes): Lora {
  const weights = loraWeights(file)
  const opened = openSafetensors(weights)
  const { modules, problems, ignored } = groupModules(opened, expected)
  const config = readAdapterConfig(path.join(path.dirname(weights), CONFIG_NAME), opened)
  return {
    file: opened,
    strength,
    problems,
    ignored,
    modules: modules.flatMap(({ name, alphaTensor, pieces }) => {
      const rank = pieces[0]!.a.shape[0]!
      const stored = alphaTensor === undefined ? undefined : readScalar(opened, alphaTensor)
      const chosen = chooseAlpha(alpha, stored, config, name, rank)
      const scale = chosen.alpha / (config.rootOfRank ? Math.sqrt(rank) : rank)
      return pieces.map((piece) => ({ ...piece, rank, ...chosen, scale }))
    }),
  }
}

function chooseAlpha(
  given: number | undefined,
  stored: number | undefined,
  config: AdapterConfig,
  name: LoraName,
  rank: number,
): { alpha: number; alphaSource: AlphaSource } {
  if (given !== undefined) return { alpha: given, alphaSource: 'iconface.json' }
  if (stored !== undefined) return { alpha: stored, alphaSource: 'tensor' }
  const pattern = [...config.patterns].find(([module]) => `.${name.published}`.endsWith(`.${module}`))
  const configured = pattern?.[1] ?? config.alpha
  if (configured !== undefined) return { alpha: configured, alphaSource: config.source }
  return { alpha: rank, alphaSource: 'rank' }
}

interface ModuleTensors {
  readonly name: LoraName
  readonly pieces: readonly Pick<LoraModule, 'module' | 'row' | 'a' | 'b'>[]
  /** Name of the tensor that holds alpha. */
  readonly alphaTensor: string | undefined
}

type Parts = { name: LoraName } & Partial<Record<LoraName['part'], string>>

function groupModules(file: SafetensorsFile, expected: TensorShapes | undefined) {
  const problems: Problem[] = []
  const report = ({ kind, message }: Complaint) => problems.push({ kind, part: 'lora', message })
  const ignored = [...file.tensors.keys()].filter(isTextEncoderLora)
  const found = groupNames(file, report)
  if (found.length === 0) report({ kind: 'missing', message: 'it holds no <module>.lora_A.weight' })
  const modules: ModuleTensors[] = []
  for (const { name, A, B, alpha } of found) {
    const a = A === undefined ? undefined : file.tensors.get(A)
    const b = B === undefined ? undefined : file.tensors.get(B)
    if (!a || !b) {
      report({
        kind: 'missing',
        message: `${name.published}: ${a ? 'B (lora_B, lora_up)' : 'A (lora_A, lora_down)'} is missing`,
      })
      continue
    }
    const complaint = checkModule(name, a, b, expected) ?? checkAlpha(alpha, file)
    if (complaint) report(complaint)
    else modules.push({ name, pieces: placeRows(name, a, b), alphaTensor: alpha })
  }
  return { modules, problems, ignored }
}

/** The tensors of each module, and complaints about the others. */
function groupNames(file: SafetensorsFile, report: (complaint: Complaint) => void): Parts[] {
  const found = new Map<string, Parts>()
  for (const name of file.tensors.keys()) {
    if (isTextEncoderLora(name)) continue
    const known = loraName(name)
    if (!known) {
      report(otherTensor(name))
      continue
    }
    const key = `${known.name} ${known.rows?.pieces.join() ?? ''}`
    const parts = found.get(key) ?? { name: known }
    const other = parts[known.part]
    if (other !== undefined) report({ kind: 'config', message: `${name} and ${other} are both ${known.part} of ${known.name}` }) // prettier-ignore
    found.set(key, { ...parts, [known.part]: name })
  }
  return [...found.values()]
}

type Complaint = Pick<Problem, 'kind' | 'message'>

function otherTensor(name: string): Complaint {
  const kind = otherAdapter(name)
  const message =
    kind === undefined
      ? `${name} is no LoRA tensor: expected <module>.lora_A.weight, .lora_B.weight or .alpha, or lora_unet_<module>.lora_down.weight …`
      : `${name} is a tensor of a ${kind}, which cannot be merged as a LoRA`
  return { kind: 'unknown', message }
}

/** Where the rows of B lie in the matrix; one piece, except where a publisher changed their order. */
function placeRows(name: LoraName, a: TensorInfo, b: TensorInfo): ModuleTensors['pieces'] {
  const { pieces }: Pick<Rows, 'pieces'> = name.rows ?? { pieces: [0] }
  const rows = b.shape[0]! / pieces.length
  const bytes = b.bytes / pieces.length
  return pieces.map((at, i) => ({
    module: name.name,
    row: at * rows,
    a,
    b: { ...b, shape: [rows, b.shape[1]!], offset: b.offset + i * bytes, bytes },
  }))
}

function checkModule(name: LoraName, a: TensorInfo, b: TensorInfo, expected?: TensorShapes): Complaint | undefined {
  const { published } = name
  for (const [part, { dtype }] of [
    ['A', a],
    ['B', b],
  ] as const) {
    if (WEIGHT_DTYPES.includes(dtype)) continue
    return {
      kind: 'dtype',
      message: `${published}: ${part} is stored as ${dtype}, expected ${WEIGHT_DTYPES.join(', ')}`,
    }
  }
  const [rank] = a.shape
  const pieces = name.rows?.pieces.length ?? 1
  if (a.shape.length !== 2 || b.shape.length !== 2 || rank === 0 || rank !== b.shape[1] || b.shape[0]! % pieces !== 0) {
    const message = `${published}: A is [${a.shape.join(', ')}] and B is [${b.shape.join(', ')}], expected [r, in] and [out, r]`
    return { kind: 'shape', message }
  }
  if (!expected) return undefined
  const matrix = expected.get(`${name.name}.weight`)
  if (matrix?.length !== 2) return { kind: 'unknown', message: `${published} is no matrix of the transformer` }
  const rows = (matrix[0]! * pieces) / (name.rows?.of ?? 1)
  if (rows === b.shape[0] && matrix[1] === a.shape[1]) return undefined
  const message = `${published}: B A is [${b.shape[0]}, ${a.shape[1]}], the matrix is [${rows}, ${matrix[1]}]`
  return { kind: 'shape', message }
}

function checkAlpha(name: string | undefined, file: SafetensorsFile): Complaint | undefined {
  const tensor = name === undefined ? undefined : file.tensors.get(name)
  if (!tensor || (tensor.shape.every((size) => size === 1) && ['F64', ...WEIGHT_DTYPES].includes(tensor.dtype)))
    return undefined
  return {
    kind: 'shape',
    message: `${name} is ${tensor.dtype} [${tensor.shape.join(', ')}], expected a single real number`,
  }
}

function readScalar(file: SafetensorsFile, name: string): number {
  const { dtype } = file.tensors.get(name)!
  const value = toFloat32(readTensorBytes(file, name), dtype)[0]!
  if (Number.isFinite(value)) return value
  throw new IConFaceError(
    'ERR_ICONFACE_INVALID_CHECKPOINT',
    `${name} in ${file.path} is ${value}, expected a finite number`,
  )
}

// adapter_config.json -------------------------------------------------------------------------------------------------

/** What an `adapter_config.json`, or the copy of it that diffusers keeps in the metadata, says about alpha. */
interface AdapterConfig {
  readonly alpha: number | undefined
  /** Another alpha for modules whose names end so. */
  readonly patterns: ReadonlyMap<string, number>
  readonly rootOfRank: boolean
  readonly source: 'adapter_config.json' | 'metadata'
}

function readAdapterConfig(file: string, weights: SafetensorsFile): AdapterConfig {
  if (fs.existsSync(file)) return parseAdapterConfig(readJson(file), '', file, 'adapter_config.json')
  const text = weights.metadata.lora_adapter_metadata
  if (text === undefined) return { alpha: undefined, patterns: new Map(), rootOfRank: false, source: 'metadata' }
  const label = `lora_adapter_metadata in ${weights.path}`
  return parseAdapterConfig(parseJson(text, label), 'transformer.', label, 'metadata')
}

function parseJson(text: string, label: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (cause) {
    const message = `${label} is no valid JSON: ${(cause as Error).message}`
    throw new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', message, { cause })
  }
}

function parseAdapterConfig(
  json: unknown,
  prefix: string,
  label: string,
  source: AdapterConfig['source'],
): AdapterConfig {
  const value = (key: string) => (typeof json === 'object' && json !== null ? (json as Record<string, unknown>)[prefix + key] : undefined) // prettier-ignore
  if (typeof json !== 'object' || json === null) throw unexpected(label, 'the file', 'an object', json)
  if (value('use_dora') === true) {
    throw new IConFaceError('ERR_ICONFACE_UNSUPPORTED', `${label} says use_dora: a DoRA cannot be merged as a LoRA`)
  }
  const alpha = value('lora_alpha')
  if (alpha !== undefined && !Number.isFinite(alpha)) throw unexpected(label, '"lora_alpha"', 'a finite number', alpha)
  const patterns = value('alpha_pattern') ?? {}
  if (typeof patterns !== 'object' || !Object.values(patterns).every(Number.isFinite)) {
    throw unexpected(label, '"alpha_pattern"', 'an object of finite numbers', patterns)
  }
  const expression = Object.keys(patterns).find((key) => !/^[\w.]+$/.test(key))
  if (expression !== undefined) throw unexpected(label, '"alpha_pattern"', 'names of modules', expression)
  return {
    alpha: alpha as number | undefined,
    patterns: new Map(Object.entries(patterns as Record<string, number>)),
    rootOfRank: value('use_rslora') === true,
    source,
  }
}

function unexpected(label: string, key: string, expected: string, received: unknown): IConFaceError {
  const sentence = expectation(key, expected, received)
  return new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `${label}: ${sentence}`)
}
