/**
 * LoRA files: low-rank changes `W += strength * (alpha / r) B A` of the transformer's matrices (model-spec.md 3).
 */
import fs from 'node:fs'
import path from 'node:path'
import { describeValue, expectation, IConFaceError } from '../errors'
import { type LoraConfig, readJson } from './config'
import type { Problem } from './contract'
import { toFloat32, WEIGHT_DTYPES } from './dtype'
import type { TensorShapes } from './expected'
import { loraName } from './names'
import { openSafetensors, readTensorBytes, type SafetensorsFile, type TensorInfo } from './safetensors'

/** Where the strength's denominator alpha came from. */
export type AlphaSource = 'iconface.json' | 'tensor' | 'adapter_config.json' | 'rank'

/** The change of one matrix. */
export interface LoraModule {
  /** Name of the matrix without `.weight`, for instance `double_blocks.0.img_attn.qkv`. */
  readonly module: string
  /** [rank, in] */
  readonly a: TensorInfo
  /** [out, rank] */
  readonly b: TensorInfo
  readonly rank: number
  readonly alpha: number
  readonly alphaSource: AlphaSource
}

export interface Lora {
  readonly file: SafetensorsFile
  readonly strength: number
  readonly modules: readonly LoraModule[]
  readonly problems: readonly Problem[]
}

const WEIGHTS_NAME = 'lora_weights.safetensors'
const CONFIG_NAME = 'adapter_config.json'

/**
 * Opens a LoRA file, or the `lora_weights.safetensors` of a folder.
 *
 * @param expected  the transformer's tensors; without them modules are not compared with it
 */
export function openLora({ file, strength, alpha }: LoraConfig, expected?: TensorShapes): Lora {
  const weights = fs.statSync(file, { throwIfNoEntry: false })?.isDirectory() ? path.join(file, WEIGHTS_NAME) : file
  const opened = openSafetensors(weights)
  const { modules, problems } = groupModules(opened, expected)
  const fallback = configuredAlpha(path.join(path.dirname(weights), CONFIG_NAME))
  return {
    file: opened,
    strength,
    problems,
    modules: modules.map(({ module, a, b, alphaTensor }) => {
      const rank = a.shape[0]!
      return {
        module,
        a,
        b,
        rank,
        ...chooseAlpha(alpha, alphaTensor === undefined ? undefined : readScalar(opened, alphaTensor), fallback, rank),
      }
    }),
  }
}

function chooseAlpha(
  given: number | undefined,
  stored: number | undefined,
  configured: number | undefined,
  rank: number,
): { alpha: number; alphaSource: AlphaSource } {
  if (given !== undefined) return { alpha: given, alphaSource: 'iconface.json' }
  if (stored !== undefined) return { alpha: stored, alphaSource: 'tensor' }
  if (configured !== undefined) return { alpha: configured, alphaSource: 'adapter_config.json' }
  return { alpha: rank, alphaSource: 'rank' }
}

interface ModuleTensors {
  module: string
  a: TensorInfo
  b: TensorInfo
  /** Name of the tensor that holds alpha. */
  alphaTensor: string | undefined
}

function groupModules(file: SafetensorsFile, expected: TensorShapes | undefined) {
  const problems: Problem[] = []
  const report = (kind: Problem['kind'], message: string) => problems.push({ kind, part: 'lora', message })
  const found = new Map<string, { A?: string; B?: string; alpha?: string }>()
  for (const name of file.tensors.keys()) {
    const known = loraName(name)
    if (!known) {
      report('unknown', `${name} is no LoRA tensor: expected <module>.lora_A.weight, .lora_B.weight or .alpha`)
      continue
    }
    const parts = found.get(known.module) ?? {}
    if (parts[known.part])
      report('config', `${name} and ${parts[known.part]} are both ${known.part} of ${known.module}`)
    found.set(known.module, { ...parts, [known.part]: name })
  }
  if (found.size === 0) report('missing', 'it holds no <module>.lora_A.weight')
  const modules: ModuleTensors[] = []
  for (const [module, { A, B, alpha }] of found) {
    const a = A === undefined ? undefined : file.tensors.get(A)
    const b = B === undefined ? undefined : file.tensors.get(B)
    if (!a || !b) {
      report('missing', `${module}.lora_${a ? 'B' : 'A'}.weight is missing`)
      continue
    }
    const complaint = checkModule(module, a, b, expected) ?? checkAlpha(alpha, file)
    if (complaint) report(complaint.kind, complaint.message)
    else modules.push({ module, a, b, alphaTensor: alpha })
  }
  return { modules, problems }
}

type Complaint = Pick<Problem, 'kind' | 'message'>

function checkModule(module: string, a: TensorInfo, b: TensorInfo, expected?: TensorShapes): Complaint | undefined {
  for (const [part, { dtype }] of [
    ['A', a],
    ['B', b],
  ] as const) {
    if (WEIGHT_DTYPES.includes(dtype)) continue
    const message = `${module}.lora_${part}.weight is stored as ${dtype}, expected ${WEIGHT_DTYPES.join(', ')}`
    return { kind: 'dtype', message }
  }
  const rank = a.shape[0]
  if (a.shape.length !== 2 || b.shape.length !== 2 || rank === 0 || rank !== b.shape[1]) {
    const message = `${module}: A is [${a.shape.join(', ')}] and B is [${b.shape.join(', ')}], expected [r, in] and [out, r]`
    return { kind: 'shape', message }
  }
  if (!expected) return undefined
  const matrix = expected.get(`${module}.weight`)
  if (matrix?.length !== 2) return { kind: 'unknown', message: `${module} is no matrix of the transformer` }
  if (matrix[0] === b.shape[0] && matrix[1] === a.shape[1]) return undefined
  const message = `${module}: B A is [${b.shape[0]}, ${a.shape[1]}], the matrix is [${matrix.join(', ')}]`
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

/** `lora_alpha` of an `adapter_config.json`, if there is such a file. */
function configuredAlpha(file: string): number | undefined {
  if (!fs.existsSync(file)) return undefined
  const json = readJson(file)
  const alpha = typeof json === 'object' && json !== null ? (json as { lora_alpha?: unknown }).lora_alpha : json
  if (alpha === undefined || (typeof alpha === 'number' && Number.isFinite(alpha))) return alpha
  const key = describeValue('lora_alpha')
  throw new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `${file}: ${expectation(key, 'a finite number', alpha)}`)
}
