/**
 * Published tensor names -> canonical names.
 *
 * The same weights circulate under several names: Black Forest Labs' single files, the diffusers library's folders,
 * AdaFace's training checkpoint. Here each is mapped to the names of expected.ts. Nothing is copied: a canonical tensor
 * is one byte range of a file, or several that follow each other where a publisher cut a matrix into blocks of rows
 * (q, k, v) or changed their order.
 */
import { networkOf } from './combined-files'
import { separateScales } from './fp8'
import { diffusersModule, isDiffusers } from './module-names'
import { type NamedTensor, type NamedTensors, sourceTensors } from '../formats/named-tensors'
import type { SafetensorsFile } from '../formats/safetensors'
import type { Role } from './roles'

/** What {@link canonicalTensors} found. */
export interface Naming {
  readonly tensors: NamedTensors
  /** Whose names the file uses, for people: "Black Forest Labs", "diffusers", "AdaFace", "IConFace". */
  readonly naming: string
  /** Published names of tensors that inference does not need. */
  readonly ignored: readonly string[]
  /** Names that say the same tensor twice, and rows that cannot be joined. */
  readonly problems: readonly string[]
}

/** The tensors of one file under their canonical names; `index` is the file's number in byte ranges. */
export function canonicalNames(role: Role, file: SafetensorsFile, index: number): Naming {
  return canonicalTensors(role, sourceTensors(file.tensors, index))
}

/** Gives published tensors their canonical names. Names nobody knows are kept; the contract will report them. */
export function canonicalTensors(role: Role, file: NamedTensors): Naming {
  const sources = networkOf(role, file)
  switch (role) {
    case 'transformer': {
      const { tensors, ignored, problems } = separateScales(sources)
      const naming = transformerNames(tensors)
      return { ...naming, ignored: [...ignored, ...naming.ignored], problems: [...problems, ...naming.problems] }
    }
    case 'autoencoder':
      return autoencoderNames(sources)
    case 'face':
      return rename(withoutPrefix(sources, ['model.']), 'AdaFace', (name) =>
        name.startsWith('head.') || name.endsWith('.num_batches_tracked') ? undefined : name,
      )
    default:
      return rename(sources, 'IConFace', (name) => name)
  }
}

/** The text encoder's: Hugging Face's names without their prefix; the head that continues texts is not needed. */
export function canonicalTextNames(file: NamedTensors): Naming {
  const { tensors, ignored, problems } = separateScales(networkOf('text encoder', file))
  const naming = rename(withoutPrefix(tensors, ['model.']), 'Hugging Face', (name) =>
    name === 'lm_head.weight' ? undefined : name,
  )
  return { ...naming, ignored: [...ignored, ...naming.ignored], problems: [...problems, ...naming.problems] }
}

/** Applies `canonical` to every name; `undefined` marks a tensor as not needed. */
function rename(sources: NamedTensors, naming: string, canonical: (name: string) => string | undefined): Naming {
  const tensors: NamedTensors = new Map()
  const ignored: string[] = []
  const problems: string[] = []
  for (const [name, tensor] of sources) {
    const target = canonical(name)
    if (target === undefined) {
      ignored.push(tensor.published)
      continue
    }
    const other = tensors.get(target)
    if (other) problems.push(`${tensor.published} and ${other.published} are both ${target}`)
    else tensors.set(target, tensor)
  }
  return { tensors, naming, ignored, problems }
}

/** Drops the first of `prefixes` that some name has; names without it (a classification head, say) stay. */
function withoutPrefix(sources: NamedTensors, prefixes: readonly string[]): NamedTensors {
  const prefix = prefixes.find((one) => [...sources.keys()].some((name) => name.startsWith(one)))
  if (prefix === undefined) return sources
  return new Map(
    [...sources].map(([name, tensor]) => [name.startsWith(prefix) ? name.slice(prefix.length) : name, tensor]),
  )
}

/** A regular expression for a name and what takes its place; `$1`, `$2` are the captured numbers and words. */
type Rule = readonly [pattern: RegExp, replacement: string]

function applyRules(rules: readonly Rule[], name: string): string {
  const rule = rules.find(([pattern]) => pattern.test(name))
  return rule ? name.replace(rule[0], rule[1]) : name
}

// Autoencoder ---------------------------------------------------------------------------------------------------------

const DIFFUSERS_AUTOENCODER: readonly Rule[] = [
  [/^(encoder|decoder)\.conv_norm_out\./, '$1.norm_out.'],
  [/^quant_conv\./, 'encoder.quant_conv.'],
  [/^post_quant_conv\./, 'decoder.post_quant_conv.'],
  [/^(encoder|decoder)\.mid_block\.resnets\.0\./, '$1.mid.block_1.'],
  [/^(encoder|decoder)\.mid_block\.resnets\.1\./, '$1.mid.block_2.'],
  [/^(encoder|decoder)\.mid_block\.attentions\.0\.group_norm\./, '$1.mid.attn_1.norm.'],
  [/^(encoder|decoder)\.mid_block\.attentions\.0\.to_([qkv])\./, '$1.mid.attn_1.$2.'],
  [/^(encoder|decoder)\.mid_block\.attentions\.0\.to_out\.0\./, '$1.mid.attn_1.proj_out.'],
  [/^encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.conv_shortcut\./, 'encoder.down.$1.block.$2.nin_shortcut.'],
  [/^encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\./, 'encoder.down.$1.block.$2.'],
  [/^encoder\.down_blocks\.(\d+)\.downsamplers\.0\./, 'encoder.down.$1.downsample.'],
  [/^decoder\.up_blocks\.(\d+)\.resnets\.(\d+)\.conv_shortcut\./, 'decoder.up.$1.block.$2.nin_shortcut.'],
  [/^decoder\.up_blocks\.(\d+)\.resnets\.(\d+)\./, 'decoder.up.$1.block.$2.'],
  [/^decoder\.up_blocks\.(\d+)\.upsamplers\.0\./, 'decoder.up.$1.upsample.'],
]

function autoencoderNames(sources: NamedTensors): Naming {
  const needed = (name: string) => name !== 'bn.num_batches_tracked'
  const levels = new Set([...sources.keys()].map((name) => /^decoder\.up_blocks\.(\d+)\./.exec(name)?.[1]))
  levels.delete(undefined)
  if (levels.size === 0) return rename(sources, 'Black Forest Labs', (name) => (needed(name) ? name : undefined))
  return rename(sources, 'diffusers', (name) => {
    if (!needed(name)) return undefined
    // diffusers counts the decoder's levels from the lowest resolution up, Black Forest Labs as in the encoder.
    const renamed = applyRules(DIFFUSERS_AUTOENCODER, name)
    if (!name.startsWith('decoder.up_blocks.')) return renamed
    return renamed.replace(
      /^decoder\.up\.(\d+)\./,
      (_, level: string) => `decoder.up.${levels.size - 1 - Number(level)}.`,
    )
  })
}

// Transformer ---------------------------------------------------------------------------------------------------------

function transformerNames(sources: NamedTensors): Naming {
  if (!isDiffusers(sources.keys())) return rename(sources, 'Black Forest Labs', (name) => name)
  const cut = new Map<string, Piece[]>()
  const whole = new Map<string, NamedTensor>()
  for (const [name, tensor] of sources) {
    const [, module = ''] = /^(.+)\.weight$/.exec(name) ?? []
    const known = diffusersModule(module)
    if (!known?.rows) whole.set(name, tensor)
    else {
      const { pieces, of } = known.rows
      const parts = cutRows(tensor, pieces.length)
      const others = cut.get(`${known.name}.weight`) ?? []
      cut.set(`${known.name}.weight`, [
        ...others,
        ...pieces.map((at, i) => ({ at, of, name, tensor, part: parts?.[i] })),
      ])
    }
  }
  const joining: string[] = []
  for (const [name, pieces] of cut) joinPieces(name, pieces, whole, joining)
  const { tensors, ignored, problems } = rename(whole, 'diffusers', diffusersTensor)
  return { tensors, naming: 'diffusers', ignored, problems: [...joining, ...problems] }
}

/** The canonical name of a tensor that is not cut or joined; one that nobody knows keeps its name. */
function diffusersTensor(name: string): string {
  const [, module = '', kind = ''] = /^(.+)\.(weight|bias)$/.exec(name) ?? []
  const known = diffusersModule(module)
  if (!known || known.rows) return name
  return `${known.name}.${/_norm$/.test(known.name) ? 'scale' : kind}`
}

/** Part of a canonical matrix: number `at` of `of`, from the published tensor `name`. */
interface Piece {
  readonly at: number
  readonly of: number
  readonly name: string
  readonly tensor: NamedTensor
  /** `undefined` where the published tensor cannot be cut evenly. */
  readonly part: NamedTensor | undefined
}

/**
 * Adds the matrix that pieces of rows make to `tensors`. Incomplete ones stay under their published names, for the
 * contract to report.
 */
function joinPieces(name: string, pieces: readonly Piece[], tensors: NamedTensors, problems: string[]): void {
  const parts = [...pieces].sort((a, b) => a.at - b.at).flatMap(({ part }) => part ?? [])
  const complete = pieces.length === pieces[0]!.of
  const joined = complete && parts.length === pieces.length ? joinRows(parts) : undefined
  if (joined) return void tensors.set(name, joined)
  if (complete) {
    const names = [...new Set(pieces.map((one) => one.name))].join(', ')
    problems.push(`${names} cannot be joined to ${name}: types, widths or numbers of rows do not fit`)
  }
  for (const one of pieces) tensors.set(one.name, one.tensor)
}

/** Matrices below each other; `undefined` if they differ in type or width. */
export function joinRows(tensors: readonly NamedTensor[]): NamedTensor | undefined {
  const first = tensors[0]!
  const fits = (t: NamedTensor) => t.dtype === first.dtype && t.shape.length === 2 && t.shape[1] === first.shape[1]
  if (!tensors.every(fits)) return undefined
  return {
    dtype: first.dtype,
    shape: [tensors.reduce((rows, t) => rows + t.shape[0]!, 0), first.shape[1]!],
    parts: tensors.flatMap((t) => t.parts),
    published: [...new Set(tensors.map((t) => t.published))].join(' + '),
  }
}

/** A tensor of one byte range in `count` equal pieces of rows; `undefined` if its rows do not divide. */
export function cutRows(tensor: NamedTensor, count: number): NamedTensor[] | undefined {
  if (count === 1) return [tensor]
  const [range] = tensor.parts
  const rows = tensor.shape[0]
  if (tensor.parts.length !== 1 || rows === undefined || rows % count !== 0 || range!.bytes % count !== 0)
    return undefined
  const bytes = range!.bytes / count
  return Array.from({ length: count }, (_, i) => ({
    ...tensor,
    shape: [rows / count, ...tensor.shape.slice(1)],
    parts: [{ file: range!.file, offset: range!.offset + i * bytes, bytes }],
  }))
}
