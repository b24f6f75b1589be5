/**
 * Examines one set of weights: which network it is, under whose names, how large, and why it cannot be used.
 */
import path from 'node:path'
import { expectation } from '../errors'
import { configuredTheta } from '../text/encoder'
import type { IConFaceWarning } from '../warning'
import { splitNetworks } from '../checkpoint/combined-files'
import { AXES, isAxes } from '../checkpoint/config'
import {
  type Checked,
  checkAdapter,
  checkAutoencoder,
  checkFace,
  checkPrompt,
  checkTextEncoder,
  checkTransformer,
  checkUnlessQuantised,
  type Problem,
} from '../checkpoint/contract'
import { elementCount } from '../formats/dtype'
import type { TransformerSizes } from '../checkpoint/expected'
import { checkNotForeign } from '../formats/foreign'
import { checkAxes } from '../checkpoint/open'
import { openLora } from '../checkpoint/lora'
import { applyNameMap, type NameMap, readNameMap } from '../checkpoint/name-map'
import { canonicalTensors, canonicalTextNames, type Naming } from '../checkpoint/canonical-names'
import { type Role } from '../checkpoint/roles'
import { type NamedTensors } from '../formats/named-tensors'
import { isPytorch, openPytorch } from '../formats/pytorch'
import { recogniseKind } from '../checkpoint/recognise'
import { type Kind } from '../checkpoint/roles'
import { settingsBeside } from './settings'
import { openWeights } from '../formats/shards'

/** A network, or what else a file holds. */
export interface PartDescription {
  readonly role: Kind | 'test data'
  /** Absolute: the file, or the index of several. */
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
  /** Why `prepare` writes it once more, and a model cannot name it as it is. */
  readonly conversion?: Conversion | undefined
}

/** A part of a file, examined. */
export interface ExaminedPart {
  readonly part: PartDescription
  /** What keeps it from being used; what has to be converted first is no problem here. */
  readonly problems: readonly Problem[]
  /** What a user should know. */
  readonly warnings: readonly IConFaceWarning[]
}

export type Conversion = 'from fp8' | 'from PyTorch'

/** Weights, examined. */
export interface Finding {
  /** Absolute: the file, or the index of several. */
  readonly path: string
  readonly parts: readonly ExaminedPart[]
}

/** Prefixes that files of reference tensors put before the networks in them, the longest first. */
const PREFIXES = ['weight.transformer.', 'weight.vae.', 'weight.', 'adapter.', 'input.', 'intermediate.', 'output.']
const TEST_DATA = ['input.', 'intermediate.', 'output.']

/**
 * Says what weights are: a safetensors file, the index of several, a folder of either, or a PyTorch file.
 *
 * @param names  other names of an adapter's tensors
 */
export function describeWeights(target: string, names?: NameMap): Finding {
  const { path, tensors, pytorch } = openTensors(target)
  const examined = (role: PartDescription['role'], prefix: string, tensors: NamedTensors, found: Found) => {
    const { naming, ignored, sizes, problems, warnings = [] } = found
    const fp8 = problems.some(({ kind }) => kind === 'conversion')
    const foreign = pytorch && role !== 'test data' && role !== 'unknown'
    const conversion: Conversion | undefined = fp8 ? 'from fp8' : foreign ? 'from PyTorch' : undefined
    const part = {
      role,
      file: path,
      naming,
      prefix,
      ...totals(tensors.values()),
      ignored,
      sizes: { ...sizes },
      conversion,
    }
    return { part, problems: problems.filter(({ kind }) => kind !== 'conversion'), warnings }
  }
  if (names) {
    return {
      path,
      parts: [examined('adapter', '', tensors, examineNamed('adapter', path, applyNameMap(names, tensors)))],
    }
  }
  const parts = [...networksOf(tensors)].map(([prefix, network]) => {
    const role = TEST_DATA.includes(prefix) ? 'test data' : recogniseKind([...network.keys()])
    return examined(role, prefix, network, examineGroup(role, path, network))
  })
  // Unknown tensors beside a known network are no problem.
  if (parts.length === 1) return { path, parts }
  return { path, parts: parts.map((one) => (one.part.role === 'unknown' ? { ...one, problems: [] } : one)) }
}

/** The networks of a file by the prefix of their names: of reference tensors, else of a file that holds several. */
function networksOf(tensors: NamedTensors): Map<string, NamedTensors> {
  const networks = new Map<string, NamedTensors>()
  const others: NamedTensors = new Map()
  for (const [name, tensor] of tensors) {
    const prefix = PREFIXES.find((one) => name.startsWith(one))
    if (prefix === undefined) others.set(name, tensor)
    else networks.set(prefix, (networks.get(prefix) ?? new Map()).set(name.slice(prefix.length), tensor))
  }
  if (others.size > 0 || networks.size === 0) for (const entry of splitNetworks(others)) networks.set(...entry)
  return networks
}

/** An adapter's tensors, perhaps under other names; of PyTorch files too. */
export function adapterTensorsOf(file: string, names: string | undefined): Naming {
  const { tensors } = openTensors(file)
  return names === undefined ? canonicalTensors('adapter', tensors) : applyNameMap(readNameMap(names), tensors)
}

/** Whether a part can be taken from its file, and not only looked at. */
export function isLoadable({ prefix }: PartDescription): boolean {
  return !PREFIXES.includes(prefix)
}

/** The tensors of weights; byte ranges only of safetensors files mean anything. */
function openTensors(target: string): { path: string; tensors: NamedTensors; pytorch: boolean } {
  checkNotForeign(target)
  if (!isPytorch(target)) return { ...openWeights(target), pytorch: false }
  const file = openPytorch(target)
  try {
    const tensors: NamedTensors = new Map()
    for (const [name, { dtype, shape, bytes }] of file.tensors) {
      tensors.set(name, { dtype, shape, parts: [{ file: 0, offset: 0, bytes }], published: name })
    }
    return { path: file.path, tensors, pytorch: true }
  } finally {
    file.close()
  }
}

interface Found {
  readonly naming: string
  readonly ignored: readonly string[]
  readonly sizes: object | undefined
  readonly problems: readonly Problem[]
  readonly warnings?: readonly IConFaceWarning[]
}

const CHECKS: Record<Role | 'text encoder', (tensors: NamedTensors, file: string) => Checked<object>> = {
  transformer: (tensors, file) => {
    const { sizes, problems } = checkTransformer(tensors)
    const message = sizes && axesComplaint(settingsBeside('transformer', file).ropeAxes, sizes)
    if (message === undefined) return { sizes, problems }
    return { sizes, problems: [...problems, { kind: 'config', part: 'transformer', message }] }
  },
  autoencoder: (tensors, file) => {
    const { groups } = settingsBeside('autoencoder', file)
    return checkAutoencoder(tensors, typeof groups === 'number' && groups > 0 ? groups : undefined)
  },
  adapter: (tensors) => checkAdapter(tensors),
  face: checkFace,
  prompt: (tensors) => checkPrompt(tensors),
  'text encoder': (tensors, file) => {
    configuredTheta(path.dirname(file)) // refuses a model that is no plain Qwen3
    return checkTextEncoder(tensors)
  },
}

/** What is wrong with the axes that a file beside the transformer gives. */
function axesComplaint(axes: unknown, sizes: TransformerSizes): string | undefined {
  if (axes === undefined) return undefined
  return isAxes(axes) ? checkAxes(axes, sizes) : expectation('transformer.ropeAxes', AXES, axes)
}

function examineGroup(role: PartDescription['role'], target: string, tensors: NamedTensors): Found {
  switch (role) {
    case 'test data':
      return { naming: 'test data', ignored: [], sizes: undefined, problems: [] }
    case 'unknown': {
      const problem: Problem = { kind: 'unknown', part: 'file', message: `its tensors are of no network known here` }
      return { naming: 'unknown', ignored: [], sizes: undefined, problems: [problem] }
    }
    case 'lora':
      return examineLora(target)
    case 'text encoder':
      return examineNamed(role, target, canonicalTextNames(tensors))
    case 'face detector':
      return { naming: 'RetinaFace', ignored: [], sizes: undefined, problems: [] }
    default: {
      return examineNamed(role, target, canonicalTensors(role, tensors))
    }
  }
}

function examineNamed(role: Role | 'text encoder', file: string, named: Naming): Found {
  const { naming, ignored, tensors } = named
  const { sizes, problems } = checkUnlessQuantised(role, tensors, () => CHECKS[role](tensors, file))
  const clashes = named.problems.map((message): Problem => ({ kind: 'config', part: role, message }))
  return { naming, ignored, sizes, problems: [...clashes, ...problems] }
}

function examineLora(target: string): Found {
  const { modules, problems, ignored, warnings } = openLora({ file: target, strength: 1, alpha: undefined })
  const ranks = [...new Set(modules.map(({ rank }) => rank))]
  const alphas = [...new Set(modules.map(({ alpha, alphaSource }) => `${alpha} (${alphaSource})`))]
  return { naming: 'LoRA', ignored, sizes: { modules: modules.length, rank: ranks, alpha: alphas }, problems, warnings }
}

interface Stored {
  readonly dtype: string
  readonly shape: readonly number[]
  readonly bytes?: number
  readonly parts?: readonly { readonly bytes: number }[]
}

/** Numbers of all these tensors. */
export function totals(tensors: Iterable<Stored>) {
  const sum = { tensors: 0, parameters: 0, bytes: 0, dtypes: {} as Record<string, number> }
  for (const { dtype, shape, bytes, parts = [] } of tensors) {
    sum.tensors++
    sum.parameters += elementCount(shape)!
    sum.bytes += bytes ?? parts.reduce((total, part) => total + part.bytes, 0)
    sum.dtypes[dtype] = (sum.dtypes[dtype] ?? 0) + 1
  }
  return sum
}
