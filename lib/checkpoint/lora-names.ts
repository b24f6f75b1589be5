/**
 * The names of LoRA tensors in the layouts that trainers write:
 *
 * - FaceIR:    `double_blocks.0.img_attn.qkv.lora_A.weight`, `.lora_B.weight`, `.alpha`
 * - PEFT:      the same after `base_model.model.`, or `.lora_A.default.weight`
 * - diffusers: `transformer.transformer_blocks.0.attn.to_q.lora_A.weight`, q, k and v apart
 * - ComfyUI:   `diffusion_model.double_blocks.0.img_attn.qkv.lora_down.weight`
 * - kohya:     `lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight`, `.lora_up.weight`, `.alpha`
 */
import { diffusersModule, flattenedModule, type Module } from './modules'

/** What a tensor of a LoRA file is to which module: A is [rank, in], B is [out, rank]. */
export interface LoraName extends Module {
  /** As the file calls the module. */
  readonly published: string
  readonly part: 'A' | 'B' | 'alpha'
}

/** Prefixes before the backbone's module names, the longest first. */
const PREFIXES = [
  'base_model.model.transformer.',
  'base_model.model.',
  'model.diffusion_model.',
  'diffusion_model.',
  'transformer.',
]

/** Prefixes before flattened ones. */
const FLAT_PREFIXES = ['lora_unet_', 'lora_transformer_']

const PARTS: Readonly<Record<string, LoraName['part']>> = {
  'lora_A.weight': 'A',
  'lora_A.default.weight': 'A',
  'lora_down.weight': 'A',
  'lora_B.weight': 'B',
  'lora_B.default.weight': 'B',
  'lora_up.weight': 'B',
  alpha: 'alpha',
}

/** What a tensor's name says, or `undefined` for a name of no known form. */
export function loraName(name: string): LoraName | undefined {
  const suffix = Object.keys(PARTS).find((one) => name.endsWith(`.${one}`))
  if (suffix === undefined) return undefined
  const published = name.slice(0, -suffix.length - 1)
  const module = loraModule(published)
  return module && { ...module, published, part: PARTS[suffix]! }
}

/** The canonical module of a published one. Dotted names of no known module are kept: the transformer may have them. */
export function loraModule(published: string): Module | undefined {
  const flat = FLAT_PREFIXES.find((one) => published.startsWith(one))
  if (flat !== undefined) return flattenedModule(published.slice(flat.length))
  const prefix = PREFIXES.find((one) => published.startsWith(one)) ?? ''
  const name = published.slice(prefix.length)
  return name === '' ? undefined : (diffusersModule(name) ?? { name, rows: undefined })
}

/** Tensors of a text encoder's LoRA, which some files hold too; the restorer's prompt is fixed and does without. */
export function isTextEncoderLora(name: string): boolean {
  return /^(base_model\.model\.)?(text_encoder(_\d)?\.|lora_te\d?_)/.test(name)
}

/** What a tensor is that belongs to another kind of adapter, for messages. */
export function otherAdapter(name: string): string | undefined {
  if (/\.lokr_\w+(\.weight)?$/.test(name)) return 'LoKr'
  if (/\.hada_\w+(\.weight)?$/.test(name)) return 'LoHa'
  if (/\.(dora_scale|lora_magnitude_vector(\.\w+)*)$/.test(name)) return 'DoRA'
  return undefined
}
