/**
 * What one set of weights is: which network, under whose names, how large, and what keeps it from being used.
 */
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
} from './contract'
import { elementCount } from './dtype'
import { refuseForeign } from './formats'
import { openLora } from './lora'
import { applyNameMap, type NameMap } from './name-map'
import { canonicalTensors, canonicalTextNames, type NamedTensors, type Naming, type Role } from './names'
import { isPytorch, openPytorch } from './pytorch'
import { type Kind, recogniseKind } from './recognise'
import { settingsBeside } from './settings'
import { openWeights } from './shards'
import type { IConFaceWarning } from '../warning'

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
}

/** Weights, examined. */
export interface Finding {
  /** Absolute: the file, or the index of several. */
  readonly path: string
  readonly parts: readonly PartDescription[]
  readonly problems: readonly Problem[]
  /** What a user should know. */
  readonly warnings: readonly IConFaceWarning[]
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
  if (names) {
    const found = examineNamed('adapter', path, applyNameMap(names, tensors))
    const part = describePart('adapter', path, '', tensors, found)
    return {
      path,
      parts: [part],
      warnings: [],
      problems: [...found.problems, ...(pytorch ? [conversionProblem('adapter')] : [])],
    }
  }
  const groups = new Map<string, NamedTensors>()
  for (const [name, tensor] of tensors) {
    const prefix = PREFIXES.find((one) => name.startsWith(one)) ?? ''
    const group: NamedTensors = groups.get(prefix) ?? new Map()
    groups.set(prefix, group.set(name.slice(prefix.length), tensor))
  }
  const problems: Problem[] = []
  const warnings: IConFaceWarning[] = []
  const parts = [...groups].map(([prefix, group]): PartDescription => {
    const role = TEST_DATA.includes(prefix) ? 'test data' : recogniseKind([...group.keys()])
    const found = examineGroup(role, path, group)
    problems.push(...found.problems)
    warnings.push(...(found.warnings ?? []))
    if (pytorch && role !== 'test data' && role !== 'unknown') problems.push(conversionProblem(role))
    return describePart(role, path, prefix, group, found)
  })
  return { path, parts, problems, warnings }
}

function describePart(
  role: PartDescription['role'],
  file: string,
  prefix: string,
  tensors: NamedTensors,
  { naming, ignored, sizes }: Found,
): PartDescription {
  return { role, file, naming, prefix, ...totals(tensors.values()), ignored, sizes: { ...sizes } }
}

function conversionProblem(part: string): Problem {
  const message = 'it is a PyTorch file: "iconface convert" makes safetensors of it, and so does "iconface prepare"'
  return { kind: 'conversion', part, message }
}

/** The tensors of weights; byte ranges only of safetensors files mean anything. */
function openTensors(target: string): { path: string; tensors: NamedTensors; pytorch: boolean } {
  refuseForeign(target)
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
  transformer: checkTransformer,
  autoencoder: (tensors, file) => {
    const { groups } = settingsBeside('autoencoder', file)
    return checkAutoencoder(tensors, typeof groups === 'number' && groups > 0 ? groups : undefined)
  },
  adapter: (tensors) => checkAdapter(tensors),
  face: checkFace,
  prompt: (tensors) => checkPrompt(tensors),
  'text encoder': (tensors) => checkTextEncoder(tensors),
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
