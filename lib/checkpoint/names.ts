/**
 * Published tensor names -> canonical names.
 *
 * The same weights circulate under several names: Black Forest Labs' single files, the diffusers library's folders,
 * AdaFace's training checkpoint. Here each is mapped to the names of expected.ts. Nothing is copied: a canonical tensor
 * is one byte range of a file, or several that follow each other where a publisher cut a matrix into blocks of rows
 * (q, k, v) or changed their order.
 */
import type { DType } from './dtype'
import type { SafetensorsFile, TensorInfo } from './safetensors'

/** Bytes of the `file`-th file of a model. */
export interface ByteRange {
  readonly file: number
  readonly offset: number
  readonly bytes: number
}

/** A tensor under its canonical name. */
export interface NamedTensor {
  readonly dtype: DType
  readonly shape: readonly number[]
  /** What follows each other in memory; one range unless rows had to be joined. */
  readonly parts: readonly ByteRange[]
  /** The name or names in the file. */
  readonly published: string
}

export type NamedTensors = Map<string, NamedTensor>

/** The parts a model consists of. */
export type Role = 'transformer' | 'autoencoder' | 'adapter' | 'face' | 'prompt'

/** What {@link canonicalNames} found. */
export interface Naming {
  readonly tensors: NamedTensors
  /** Whose names the file uses, for people: "Black Forest Labs", "diffusers", "AdaFace", "IConFace". */
  readonly naming: string
  /** Published names of tensors that inference does not need. */
  readonly ignored: readonly string[]
  /** Names that say the same tensor twice, and rows that cannot be joined. */
  readonly problems: readonly string[]
}

/** Gives the tensors of a file their canonical names. Names nobody knows are kept; the contract will report them. */
export function canonicalNames(role: Role, file: SafetensorsFile, index: number): Naming {
  return canonicalTensors(role, sourceTensors(file.tensors, index))
}

/** The tensors of a file under the names they have there. */
export function sourceTensors(tensors: ReadonlyMap<string, TensorInfo>, index: number): NamedTensors {
  const sources: NamedTensors = new Map()
  for (const [name, { dtype, shape, offset, bytes }] of tensors) {
    sources.set(name, { dtype, shape, parts: [{ file: index, offset, bytes }], published: name })
  }
  return sources
}

/** {@link canonicalNames} for tensors that are already listed. */
export function canonicalTensors(role: Role, sources: NamedTensors): Naming {
  switch (role) {
    case 'transformer':
      return transformerNames(withoutPrefix(sources, ['model.diffusion_model.', 'diffusion_model.']))
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
export function canonicalTextNames(sources: NamedTensors): Naming {
  return rename(withoutPrefix(sources, ['model.']), 'Hugging Face', (name) =>
    name === 'lm_head.weight' ? undefined : name,
  )
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

const DIFFUSERS_TRANSFORMER: readonly Rule[] = [
  [/^x_embedder\./, 'img_in.'],
  [/^context_embedder\./, 'txt_in.'],
  [/^time_guidance_embed\.timestep_embedder\.linear_1\./, 'time_in.in_layer.'],
  [/^time_guidance_embed\.timestep_embedder\.linear_2\./, 'time_in.out_layer.'],
  [/^time_guidance_embed\.guidance_embedder\.linear_1\./, 'guidance_in.in_layer.'],
  [/^time_guidance_embed\.guidance_embedder\.linear_2\./, 'guidance_in.out_layer.'],
  [/^(double_stream_modulation_img|double_stream_modulation_txt|single_stream_modulation)\.linear\./, '$1.lin.'],
  [/^proj_out\./, 'final_layer.linear.'],
  [/^norm_out\.linear\./, 'final_layer.adaLN_modulation.1.'],
  [/^transformer_blocks\.(\d+)\.attn\.norm_q\.weight$/, 'double_blocks.$1.img_attn.norm.query_norm.scale'],
  [/^transformer_blocks\.(\d+)\.attn\.norm_k\.weight$/, 'double_blocks.$1.img_attn.norm.key_norm.scale'],
  [/^transformer_blocks\.(\d+)\.attn\.norm_added_q\.weight$/, 'double_blocks.$1.txt_attn.norm.query_norm.scale'],
  [/^transformer_blocks\.(\d+)\.attn\.norm_added_k\.weight$/, 'double_blocks.$1.txt_attn.norm.key_norm.scale'],
  [/^transformer_blocks\.(\d+)\.attn\.to_out\.0\./, 'double_blocks.$1.img_attn.proj.'],
  [/^transformer_blocks\.(\d+)\.attn\.to_add_out\./, 'double_blocks.$1.txt_attn.proj.'],
  [/^transformer_blocks\.(\d+)\.ff\.linear_in\./, 'double_blocks.$1.img_mlp.0.'],
  [/^transformer_blocks\.(\d+)\.ff\.linear_out\./, 'double_blocks.$1.img_mlp.2.'],
  [/^transformer_blocks\.(\d+)\.ff_context\.linear_in\./, 'double_blocks.$1.txt_mlp.0.'],
  [/^transformer_blocks\.(\d+)\.ff_context\.linear_out\./, 'double_blocks.$1.txt_mlp.2.'],
  [/^single_transformer_blocks\.(\d+)\.attn\.to_qkv_mlp_proj\./, 'single_blocks.$1.linear1.'],
  [/^single_transformer_blocks\.(\d+)\.attn\.to_out\./, 'single_blocks.$1.linear2.'],
  [/^single_transformer_blocks\.(\d+)\.attn\.norm_q\.weight$/, 'single_blocks.$1.norm.query_norm.scale'],
  [/^single_transformer_blocks\.(\d+)\.attn\.norm_k\.weight$/, 'single_blocks.$1.norm.key_norm.scale'],
]

/** q, k and v of a double block, which diffusers keeps apart: the captured block, then which of the three. */
const QUERY_KEY_VALUE = {
  img: ['attn.to_q.weight', 'attn.to_k.weight', 'attn.to_v.weight'],
  txt: ['attn.add_q_proj.weight', 'attn.add_k_proj.weight', 'attn.add_v_proj.weight'],
} as const

const MODULATION = 'final_layer.adaLN_modulation.1.weight'

function transformerNames(sources: NamedTensors): Naming {
  const diffusers = [...sources.keys()].some((name) => /^(single_)?transformer_blocks\.\d+\./.test(name))
  if (!diffusers) return rename(sources, 'Black Forest Labs', (name) => name)
  const { tensors, ignored, problems } = rename(sources, 'diffusers', (name) => applyRules(DIFFUSERS_TRANSFORMER, name))
  const allProblems = [...problems]
  joinQueryKeyValue(tensors, allProblems)
  const modulation = tensors.get(MODULATION)
  // diffusers stores scale before shift in the last layer.
  if (modulation) tensors.set(MODULATION, swapHalves(modulation))
  return { tensors, naming: 'diffusers', ignored, problems: allProblems }
}

/** Replaces each complete q, k, v of a double block by one `qkv` [3D, D]; an incomplete one stays and is reported. */
function joinQueryKeyValue(tensors: NamedTensors, problems: string[]): void {
  for (const name of [...tensors.keys()]) {
    const match = /^transformer_blocks\.(\d+)\.attn\.(to_q|add_q_proj)\.weight$/.exec(name)
    if (!match) continue
    const stream = match[2] === 'to_q' ? 'img' : 'txt'
    const names = QUERY_KEY_VALUE[stream].map((part) => `transformer_blocks.${match[1]}.${part}`)
    const parts = names.flatMap((part) => tensors.get(part) ?? [])
    if (parts.length < 3) continue
    const joined = joinRows(parts)
    if (!joined) {
      problems.push(`${names.join(', ')} differ in type or width and cannot be joined`)
      continue
    }
    for (const part of names) tensors.delete(part)
    tensors.set(`double_blocks.${match[1]}.${stream}_attn.qkv.weight`, joined)
  }
}

function joinRows(tensors: readonly NamedTensor[]): NamedTensor | undefined {
  const first = tensors[0]!
  if (tensors.some((t) => t.dtype !== first.dtype || t.shape.length !== 2 || t.shape[1] !== first.shape[1]))
    return undefined
  return {
    dtype: first.dtype,
    shape: [tensors.reduce((rows, t) => rows + t.shape[0]!, 0), first.shape[1]!],
    parts: tensors.flatMap((t) => t.parts),
    published: tensors.map((t) => t.published).join(' + '),
  }
}

/** The lower half of the rows first. A tensor whose rows are odd in number is left alone: its shape will be refused. */
function swapHalves(tensor: NamedTensor): NamedTensor {
  const [range] = tensor.parts
  if (tensor.parts.length !== 1 || range!.bytes % 2 !== 0 || tensor.shape[0]! % 2 !== 0) return tensor
  const half = range!.bytes / 2
  const upper = { ...range!, bytes: half }
  return { ...tensor, parts: [{ ...upper, offset: range!.offset + half }, upper] }
}

// LoRA ----------------------------------------------------------------------------------------------------------------

/** Prefixes that trainers put before the backbone's module names. */
const LORA_PREFIXES = ['base_model.model.', 'model.diffusion_model.', 'diffusion_model.', 'transformer.']

/** What a tensor of a LoRA file is to which module, or `undefined` for a name of no known form. */
export function loraName(name: string): { module: string; part: 'A' | 'B' | 'alpha' } | undefined {
  const prefix = LORA_PREFIXES.find((one) => name.startsWith(one)) ?? ''
  const match = /^(.+)\.(?:lora_(A|B)\.weight|(alpha))$/.exec(name.slice(prefix.length))
  if (!match) return undefined
  return { module: match[1]!, part: (match[2] as 'A' | 'B' | undefined) ?? 'alpha' }
}
