/**
 * What a model folder or a single weight file is, for people: `iconface inspect`.
 */
import fs from 'node:fs'
import path from 'node:path'
import { CONFIG_NAME } from './config'
import {
  adapterVariant,
  type Checked,
  checkAdapter,
  checkAutoencoder,
  checkFace,
  checkPrompt,
  checkTransformer,
  type Problem,
} from './contract'
import { elementCount } from './dtype'
import type { AdapterSizes } from './expected'
import { examineCheckpoint, type PartReport } from './layout'
import { openLora } from './lora'
import { canonicalTensors, loraName, type NamedTensors, type Role, sourceTensors } from './names'
import { openSafetensors, type TensorInfo } from './safetensors'

/** A network, or what else a file holds. */
export interface PartDescription {
  readonly role: Role | 'lora' | 'test data' | 'unknown'
  readonly file: string
  /** Whose tensor names it uses. */
  readonly naming: string
  /** What the names of its tensors begin with in this file; empty in published files. */
  readonly prefix: string
  readonly tensors: number
  readonly parameters: number
  readonly bytes: number
  /** Tensors by element type. */
  readonly dtypes: Readonly<Record<string, number>>
  /** Tensors that inference does not need. */
  readonly ignored: readonly string[]
  /** Sizes read off the shapes. */
  readonly sizes: Readonly<Record<string, unknown>>
}

export interface Description {
  readonly path: string
  readonly kind: 'model' | 'file'
  /** Of a model, or of a file with an adapter: the row of the paper's Table 3. */
  readonly variant: string | undefined
  readonly name: string | undefined
  readonly parts: readonly PartDescription[]
  readonly problems: readonly Problem[]
}

/**
 * Describes a folder with `iconface.json`, a LoRA folder, or one safetensors file.
 *
 * @throws `IConFaceError` when a file is missing or no safetensors file at all; everything else is in `problems`
 */
export function describePath(target: string): Description {
  const absolute = path.resolve(target)
  const isFolder = fs.statSync(absolute, { throwIfNoEntry: false })?.isDirectory() ?? false
  if (!isFolder) return describeFile(absolute)
  const weights = path.join(absolute, 'lora_weights.safetensors')
  const isModel = fs.existsSync(path.join(absolute, CONFIG_NAME))
  return !isModel && fs.existsSync(weights) ? describeFile(weights) : describeModel(absolute)
}

function describeModel(folder: string): Description {
  const { config, parts, problems, sizes } = examineCheckpoint(folder)
  const describe = ({ role, file, naming, ignored }: PartReport): PartDescription => ({
    role,
    file: file.path,
    naming,
    prefix: '',
    ...totals(file.tensors.values()),
    ignored,
    sizes: role === 'lora' ? {} : { ...sizes[role] },
  })
  const variant = config.adapter && !sizes.adapter ? undefined : adapterVariant(sizes.adapter)
  return { path: folder, kind: 'model', variant, name: config.name, parts: parts.map(describe), problems }
}

/** Prefixes that files of reference tensors put before the networks in them, the longest first. */
const PREFIXES = ['weight.transformer.', 'weight.vae.', 'weight.', 'adapter.', 'input.', 'intermediate.', 'output.']
const TEST_DATA = ['input.', 'intermediate.', 'output.']

function describeFile(target: string): Description {
  const file = openSafetensors(target)
  const groups = new Map<string, Map<string, TensorInfo>>()
  for (const [name, tensor] of file.tensors) {
    const prefix = PREFIXES.find((one) => name.startsWith(one)) ?? ''
    const group = groups.get(prefix) ?? new Map<string, TensorInfo>()
    groups.set(prefix, group.set(name.slice(prefix.length), tensor))
  }
  const problems: Problem[] = []
  let variant: string | undefined
  const parts = [...groups].map(([prefix, tensors]): PartDescription => {
    const role = TEST_DATA.includes(prefix) ? 'test data' : recogniseRole([...tensors.keys()])
    const found = examineGroup(role, target, tensors)
    problems.push(...found.problems)
    if (role === 'adapter' && found.sizes) variant = adapterVariant(found.sizes as AdapterSizes)
    const { naming, ignored, sizes } = found
    return { role, file: file.path, naming, prefix, ...totals(tensors.values()), ignored, sizes: { ...sizes } }
  })
  return { path: file.path, kind: 'file', variant, name: undefined, parts, problems }
}

/** Which network's tensors these are. */
function recogniseRole(names: readonly string[]): Role | 'lora' | 'unknown' {
  const some = (pattern: RegExp) => names.some((name) => pattern.test(name))
  if (names.some((name) => ['A', 'B'].includes(loraName(name)?.part ?? ''))) return 'lora'
  if (some(/^(.*\.)?(double_blocks|single_blocks|transformer_blocks|single_transformer_blocks)\.\d+\./))
    return 'transformer'
  if (some(/^(encoder|decoder)\.(conv_in|conv_out)\./)) return 'autoencoder'
  if (some(/^(model\.)?(input_layer|output_layer)\.\d\./)) return 'face'
  if (some(/^(identity\.(global|double|single)|structure)\./)) return 'adapter'
  return names.includes('prompt') && names.includes('empty') ? 'prompt' : 'unknown'
}

interface Found {
  readonly naming: string
  readonly ignored: readonly string[]
  readonly sizes: object | undefined
  readonly problems: readonly Problem[]
}

const CHECKS: Record<Role, (tensors: NamedTensors) => Checked<object>> = {
  transformer: checkTransformer,
  autoencoder: checkAutoencoder,
  adapter: (tensors) => checkAdapter(tensors),
  face: checkFace,
  prompt: (tensors) => checkPrompt(tensors),
}

function examineGroup(role: PartDescription['role'], target: string, tensors: ReadonlyMap<string, TensorInfo>): Found {
  if (role === 'test data') return { naming: 'test data', ignored: [], sizes: undefined, problems: [] }
  if (role === 'unknown') {
    const problem: Problem = { kind: 'unknown', part: 'file', message: `its tensors are of no network known here` }
    return { naming: 'unknown', ignored: [], sizes: undefined, problems: [problem] }
  }
  if (role === 'lora') {
    const { modules, problems } = openLora({ file: target, strength: 1, alpha: undefined })
    const ranks = [...new Set(modules.map(({ rank }) => rank))]
    const alphas = [...new Set(modules.map(({ alpha, alphaSource }) => `${alpha} (${alphaSource})`))]
    return { naming: 'LoRA', ignored: [], sizes: { modules: modules.length, rank: ranks, alpha: alphas }, problems }
  }
  const { naming, ignored, tensors: named, problems: renaming } = canonicalTensors(role, sourceTensors(tensors, 0))
  const { sizes, problems } = CHECKS[role](named)
  const clashes = renaming.map((message): Problem => ({ kind: 'config', part: role, message }))
  return { naming, ignored, sizes, problems: [...clashes, ...problems] }
}

function totals(tensors: Iterable<TensorInfo>) {
  const sum = { tensors: 0, parameters: 0, bytes: 0, dtypes: {} as Record<string, number> }
  for (const { dtype, shape, bytes } of tensors) {
    sum.tensors++
    sum.parameters += elementCount(shape)!
    sum.bytes += bytes
    sum.dtypes[dtype] = (sum.dtypes[dtype] ?? 0) + 1
  }
  return sum
}
