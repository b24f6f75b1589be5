/**
 * The names of LoRA tensors in the layouts that trainers write:
 *
 * - FaceIR:    `double_blocks.0.img_attn.qkv.lora_A.weight`, `.lora_B.weight`, `.alpha`
 * - PEFT:      the same after `base_model.model.`, or `.lora_A.default.weight`
 * - diffusers: `transformer.transformer_blocks.0.attn.to_q.lora_A.weight`, q, k and v apart; once `.lora.down.weight`
 * - ComfyUI:   `diffusion_model.double_blocks.0.img_attn.qkv.lora_down.weight`
 * - kohya:     `lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight`, `.lora_up.weight`, `.alpha`
 * - musubi:    `diffusion_model.double_blocks.0.img_attn_qkv.lora_A.weight`: some of the dots are underscores
 * - LyCORIS:   `lycoris_transformer_blocks_0_attn_to_q.lora_down.weight`
 * - XLabs:     `double_blocks.0.processor.qkv_lora1.down.weight`, `.up.weight`
 */
import { anyModule, type Module } from './module-names'

/** What a tensor of a LoRA file is to a matrix: A is [rank, in], B is [out, rank]. */
export interface LoraTensor {
  /** As the file calls the matrix, with what the file puts before all names. */
  readonly published: string
  readonly part: 'A' | 'B' | 'alpha'
}

/** What may stand before names, once or several times over. */
const PREFIXES = ['base_model.model.', 'diffusion_model.', 'transformer.', 'model.', 'module.', 'unet.', 'dit.']

/** What stands before names whose dots are underscores. */
const FLAT_PREFIXES = ['lora_unet_', 'lora_transformer_', 'lycoris_unet_', 'lycoris_', 'lora_']

/** `base_model.model.model.diffusion_model.` are three; no file has more. */
const MAX_PREFIXES = 5

const SUFFIX = /(?:\.lora_([AB])(?:\.[^.]+)?|\.lora_(down|up)|[._]lora(?:_linear_layer)?\.(down|up))\.weight$/
const XLABS_SUFFIX = /(?<=\.processor\.(?:qkv|proj)_lora\d?)\.(down|up)\.weight$/

/** A tensor that belongs to a matrix of FLUX.2's transformer. */
export type LoraName = LoraTensor & Module

/** What the name of a tensor says; `undefined` where it is for no matrix of FLUX.2's transformer. */
export function loraName(name: string): LoraName | undefined {
  const tensor = loraTensor(name)
  const module = tensor && loraModule(tensor.published)
  return module && { ...module, ...tensor }
}

/** What the name of a tensor says, whatever network it is of; `undefined` for a name that no LoRA has. */
export function loraTensor(name: string): LoraTensor | undefined {
  if (/[^.]\.alpha$/.test(name)) return { published: withoutProcessor(name.slice(0, -'.alpha'.length)), part: 'alpha' }
  const match = XLABS_SUFFIX.exec(name) ?? SUFFIX.exec(name)
  if (!match || match.index === 0) return undefined
  const down = match.slice(1).some((word) => word === 'A' || word === 'down')
  const published = name.slice(0, match.index)
  return { published: match[0].includes('lora') ? withoutProcessor(published) : published, part: down ? 'A' : 'B' }
}

/** diffusers' old LoRAs were processors of attention: `attn.processor.to_q_lora`. */
function withoutProcessor(published: string): string {
  return published.replace('.attn.processor.', '.attn.')
}

/** A published name without what stands before all names of a file. */
export function bareName(published: string): string {
  let name = published
  for (let i = 0; i < MAX_PREFIXES; i++) {
    const prefix = [...FLAT_PREFIXES, ...PREFIXES].find((one) => name.startsWith(one))
    if (prefix === undefined) break
    name = name.slice(prefix.length)
  }
  return name
}

/** Which matrix of the transformer a published name stands for, and which rows; `undefined` for none of it. */
export function loraModule(published: string): Module | undefined {
  return anyModule(bareName(published))
}

/**
 * Tensors for a text encoder, which some files hold too: `text_encoders.`, `text_encoder_2.`, `te_`, `te1_`,
 * `lora_te_`, `cond_stage_model.`, a language model's layers, or words that were learned with it (OneTrainer's
 * `bundle_emb.`).
 */
export function isTextEncoderLora(name: string): boolean {
  const bare = name.slice(0, LONGEST).replace(/^(base_model\.model\.)+/, '')
  return (
    bare.startsWith('bundle_emb.') ||
    /^((lora|lycoris)_)?(prior_)?(text_?encoders?|te|clip|qwen[\d_]*|cond_stage_model|conditioner|text_model)(_?\d+)?[._]/.test(
      bare,
    ) ||
    /^((lora|lycoris)_)?((model|transformer|language_model)[._])*layers[._]\d+[._](self_attn|mlp)[._]/.test(bare)
  )
}

/** Characters of a name that are looked at: a damaged file may have names of megabytes. */
const LONGEST = 256

/** What marks tensors of another kind of adapter, or of more than a LoRA. */
const OTHERS: readonly (readonly [suffix: RegExp, kind: string])[] = [
  [/\.lokr_\w+(\.weight)?$/, 'a LoKr'],
  [/\.hada_\w+(\.weight)?$/, 'a LoHa'],
  [/\.(dora_scale|lora_magnitude_vector(\.\w+)*)$/, 'a DoRA'],
  [/\.(oft_\w+|boft_\w+)(\.\w+)*$/, 'an OFT'],
  [/\.(ia3_l(\.\w+)*|on_input)$/, 'an IA3'],
  [/\.vera_\w+(\.\w+)*$/, 'a VeRA'],
  [/\.lora_E(\.\w+)*$/, 'an AdaLoRA'],
  [/\.lora_mid(\.\w+)?$/, 'a LoCon in Tucker form'],
  [/\.[ab][12]\.weight$/, 'a GLoRA'],
  [/\.lora_embedding_[AB](\.\w+)?$/, 'a LoRA of an embedding'],
  [/\.(lora_[AB](\.[^.]+)?|lora_up|lora_down|lora\.up|lora\.down)\.bias$/, 'a LoRA with biases'],
  [/\.(diff|diff_b|set_weight|reshape_weight)$/, 'a difference of whole weights'],
  [/\.[wb]_norm$/, 'a change of norms'],
]

/** What a tensor is of that a LoRA does not have, for messages: "a LoKr"; `undefined` for anything else. */
export function otherAdapter(name: string): string | undefined {
  const end = name.slice(-LONGEST)
  return OTHERS.find(([suffix]) => suffix.test(end))?.[1]
}

/** Whether a file with this tensor is one of low-rank changes, and no network. */
export function isAdapterTensor(name: string): boolean {
  const part = loraTensor(name)?.part
  return part === 'A' || part === 'B' || /^(lora|lycoris)_/.test(name) || otherAdapter(name) !== undefined
}

/** Whose matrices a name is of that FLUX.2's transformer does not have. */
export function otherModel(published: string): string | undefined {
  const flat = bareName(published).replaceAll('.', '_')
  if (/^(input_blocks|output_blocks|middle_block|down_blocks|up_blocks|mid_block)_/.test(flat))
    return 'Stable Diffusion'
  if (
    /(img_mod_lin|txt_mod_lin|modulation_lin|vector_in|_norm1(_context)?_linear|_norm_linear|_proj_mlp|ff(_context)?_net_|single_transformer_blocks_\d+_(proj_out|attn_to_[qkv])$)/.test(
      flat,
    )
  )
    return 'FLUX.1'
  if (/^guidance_in|guidance_embedder/.test(flat)) return 'FLUX.2 [dev]'
  return undefined
}
