/**
 * The complete list of tensors each network consists of, as a function of its sizes. Both directions use it: checking
 * a checkpoint against it (contract.ts) and writing a random one (synthesize.ts).
 *
 * Names are the canonical ones: Black Forest Labs' single-file names for the FLUX.2 transformer and autoencoder, the
 * published PyTorch state dict for AdaFace, and model-specification.md 4 and 5 for the adapter.
 */

export type Shape = readonly number[]
export type TensorShapes = Map<string, Shape>

/** FLUX.2 transformer (model-specification.md 1 and 3). */
export interface TransformerSizes {
  readonly inChannels: number
  readonly hidden: number
  readonly headDim: number
  readonly doubleBlocks: number
  readonly singleBlocks: number
  /** Width of the gated hidden layer: half of what the up projection makes. */
  readonly doubleMlp: number
  readonly singleMlp: number
  /** Length of the sinusoidal timestep embedding. */
  readonly timeChannels: number
  readonly contextDim: number
}

/** FLUX.2 autoencoder (model-specification.md 7). */
export interface AutoencoderSizes {
  readonly imageChannels: number
  /** Before the 2 x 2 packing. */
  readonly latentChannels: number
  readonly baseChannels: number
  /** Channels of each level, the highest resolution first. */
  readonly levelChannels: readonly number[]
  /** The decoder's, where they are others: FLUX.2's small decoder is narrower than the encoder. */
  readonly decoderChannels?: readonly number[]
  /** Residual blocks per level of the encoder; the decoder has one more. */
  readonly resBlocks: number
}

/** AdaFace IR (model-specification.md 7). */
export interface FaceSizes {
  readonly baseChannels: number
  readonly stageChannels: readonly number[]
  readonly stageUnits: readonly number[]
  readonly embedding: number
}

/** The identity and structure pathways (model-specification.md 4 and 5); what a part is absent of is 0 or false. */
export interface AdapterSizes {
  readonly hidden: number
  readonly embedding: number
  readonly rank: number
  readonly baseTokens: number
  readonly detailTokens: number
  /** Double and single blocks with cross-attention to the memory. */
  readonly blocks: number
  readonly identity: boolean
  readonly residual: boolean
}

/** Side of the face AdaFace looks at, in pixels. */
export const FACE_PIXELS = 112

export function transformerTensors(s: TransformerSizes): TensorShapes {
  const D = s.hidden
  const tensors: TensorShapes = new Map<string, Shape>([
    ['img_in.weight', [D, s.inChannels]],
    ['txt_in.weight', [D, s.contextDim]],
    ['time_in.in_layer.weight', [D, s.timeChannels]],
    ['time_in.out_layer.weight', [D, D]],
    ['double_stream_modulation_img.lin.weight', [6 * D, D]],
    ['double_stream_modulation_txt.lin.weight', [6 * D, D]],
    ['single_stream_modulation.lin.weight', [3 * D, D]],
  ])
  for (let i = 0; i < s.doubleBlocks; i++) {
    for (const stream of ['img', 'txt']) {
      const block = `double_blocks.${i}.${stream}`
      tensors.set(`${block}_attn.qkv.weight`, [3 * D, D])
      tensors.set(`${block}_attn.norm.query_norm.scale`, [s.headDim])
      tensors.set(`${block}_attn.norm.key_norm.scale`, [s.headDim])
      tensors.set(`${block}_attn.proj.weight`, [D, D])
      tensors.set(`${block}_mlp.0.weight`, [2 * s.doubleMlp, D])
      tensors.set(`${block}_mlp.2.weight`, [D, s.doubleMlp])
    }
  }
  for (let i = 0; i < s.singleBlocks; i++) {
    const block = `single_blocks.${i}`
    tensors.set(`${block}.linear1.weight`, [3 * D + 2 * s.singleMlp, D])
    tensors.set(`${block}.linear2.weight`, [D, D + s.singleMlp])
    tensors.set(`${block}.norm.query_norm.scale`, [s.headDim])
    tensors.set(`${block}.norm.key_norm.scale`, [s.headDim])
  }
  tensors.set('final_layer.adaLN_modulation.1.weight', [2 * D, D])
  tensors.set('final_layer.linear.weight', [s.inChannels, D])
  return tensors
}

export function autoencoderTensors(s: AutoencoderSizes): TensorShapes {
  const tensors: TensorShapes = new Map()
  const levels = s.levelChannels
  const z = s.latentChannels
  const last = levels.at(-1)!

  addConv(tensors, 'encoder.conv_in', s.baseChannels, s.imageChannels, 3)
  let channels = s.baseChannels
  for (const [i, out] of levels.entries()) {
    for (let j = 0; j < s.resBlocks; j++) {
      addResBlock(tensors, `encoder.down.${i}.block.${j}`, channels, out)
      channels = out
    }
    if (i < levels.length - 1) addConv(tensors, `encoder.down.${i}.downsample.conv`, out, out, 3)
  }
  addMiddle(tensors, 'encoder.mid', last)
  addNorm(tensors, 'encoder.norm_out', last)
  addConv(tensors, 'encoder.conv_out', 2 * z, last, 3)
  addConv(tensors, 'encoder.quant_conv', 2 * z, 2 * z, 1)

  const decoder = s.decoderChannels ?? levels
  addConv(tensors, 'decoder.post_quant_conv', z, z, 1)
  channels = decoder.at(-1)!
  addConv(tensors, 'decoder.conv_in', channels, z, 3)
  addMiddle(tensors, 'decoder.mid', channels)
  for (let i = decoder.length - 1; i >= 0; i--) {
    const out = decoder[i]!
    for (let j = 0; j <= s.resBlocks; j++) {
      addResBlock(tensors, `decoder.up.${i}.block.${j}`, channels, out)
      channels = out
    }
    if (i > 0) addConv(tensors, `decoder.up.${i}.upsample.conv`, out, out, 3)
  }
  addNorm(tensors, 'decoder.norm_out', channels)
  addConv(tensors, 'decoder.conv_out', s.imageChannels, channels, 3)

  tensors.set('bn.running_mean', [4 * z])
  tensors.set('bn.running_var', [4 * z])
  return tensors
}

function addConv(tensors: TensorShapes, name: string, out: number, into: number, kernel: number): void {
  tensors.set(`${name}.weight`, [out, into, kernel, kernel])
  tensors.set(`${name}.bias`, [out])
}

function addNorm(tensors: TensorShapes, name: string, channels: number): void {
  tensors.set(`${name}.weight`, [channels])
  tensors.set(`${name}.bias`, [channels])
}

function addResBlock(tensors: TensorShapes, name: string, into: number, out: number): void {
  addNorm(tensors, `${name}.norm1`, into)
  addConv(tensors, `${name}.conv1`, out, into, 3)
  addNorm(tensors, `${name}.norm2`, out)
  addConv(tensors, `${name}.conv2`, out, out, 3)
  if (into !== out) addConv(tensors, `${name}.nin_shortcut`, out, into, 1)
}

function addMiddle(tensors: TensorShapes, name: string, channels: number): void {
  addResBlock(tensors, `${name}.block_1`, channels, channels)
  addNorm(tensors, `${name}.attn_1.norm`, channels)
  for (const matrix of ['q', 'k', 'v', 'proj_out']) addConv(tensors, `${name}.attn_1.${matrix}`, channels, channels, 1)
  addResBlock(tensors, `${name}.block_2`, channels, channels)
}

export function faceTensors(s: FaceSizes): TensorShapes {
  const tensors: TensorShapes = new Map()
  tensors.set('input_layer.0.weight', [s.baseChannels, 3, 3, 3])
  addBatchNorm(tensors, 'input_layer.1', s.baseChannels)
  tensors.set('input_layer.2.weight', [s.baseChannels])
  let into = s.baseChannels
  let index = 0
  for (const [stage, out] of s.stageChannels.entries()) {
    for (let unit = 0; unit < s.stageUnits[stage]!; unit++) {
      addFaceBlock(tensors, `body.${index++}`, into, out)
      into = out
    }
  }
  const side = FACE_PIXELS / 2 ** s.stageChannels.length
  addBatchNorm(tensors, 'output_layer.0', into)
  tensors.set('output_layer.3.weight', [s.embedding, into * side * side])
  tensors.set('output_layer.3.bias', [s.embedding])
  tensors.set('output_layer.4.running_mean', [s.embedding])
  tensors.set('output_layer.4.running_var', [s.embedding])
  return tensors
}

function addFaceBlock(tensors: TensorShapes, name: string, into: number, out: number): void {
  if (into !== out) {
    tensors.set(`${name}.shortcut_layer.0.weight`, [out, into, 1, 1])
    addBatchNorm(tensors, `${name}.shortcut_layer.1`, out)
  }
  addBatchNorm(tensors, `${name}.res_layer.0`, into)
  tensors.set(`${name}.res_layer.1.weight`, [out, into, 3, 3])
  addBatchNorm(tensors, `${name}.res_layer.2`, out)
  tensors.set(`${name}.res_layer.3.weight`, [out])
  tensors.set(`${name}.res_layer.4.weight`, [out, out, 3, 3])
  addBatchNorm(tensors, `${name}.res_layer.5`, out)
}

function addBatchNorm(tensors: TensorShapes, name: string, channels: number): void {
  for (const part of ['weight', 'bias', 'running_mean', 'running_var']) tensors.set(`${name}.${part}`, [channels])
}

export function adapterTensors(s: AdapterSizes): TensorShapes {
  const tensors: TensorShapes = new Map()
  const D = s.hidden
  if (s.identity) {
    addLinear(tensors, 'identity.global.in', D, s.embedding)
    addLinear(tensors, 'identity.global.out', D, D)
    addLinear(tensors, 'identity.double', 6 * D, D)
    addLinear(tensors, 'identity.single', 3 * D, D)
  }
  if (s.residual) addLowRank(tensors, 'structure.residual', D, s.rank)
  if (s.baseTokens > 0) addPooler(tensors, 'structure.base', s.baseTokens, D)
  if (s.detailTokens > 0) addPooler(tensors, 'structure.detail', s.detailTokens, D)
  for (let i = 0; i < s.blocks; i++) {
    for (const part of ['query', 'key', 'value']) addLowRank(tensors, `structure.blocks.${i}.${part}`, D, s.rank)
    tensors.set(`structure.blocks.${i}.gate`, [1])
  }
  return tensors
}

function addLinear(tensors: TensorShapes, name: string, out: number, into: number): void {
  tensors.set(`${name}.weight`, [out, into])
  tensors.set(`${name}.bias`, [out])
}

function addLowRank(tensors: TensorShapes, name: string, width: number, rank: number): void {
  tensors.set(`${name}.down.weight`, [rank, width])
  tensors.set(`${name}.up.weight`, [width, rank])
}

function addPooler(tensors: TensorShapes, name: string, queries: number, width: number): void {
  tensors.set(`${name}.queries`, [queries, width])
  tensors.set(`${name}.key.weight`, [width, width])
  tensors.set(`${name}.value.weight`, [width, width])
}

/** Qwen3 as a text encoder. */
export interface TextEncoderSizes {
  readonly vocabulary: number
  readonly hidden: number
  readonly heads: number
  /** Of keys and values. */
  readonly sharedHeads: number
  readonly headDim: number
  readonly mlp: number
  readonly layers: number
}

export function textEncoderTensors(s: TextEncoderSizes): TensorShapes {
  const tensors: TensorShapes = new Map()
  const D = s.hidden
  tensors.set('embed_tokens.weight', [s.vocabulary, D])
  for (let i = 0; i < s.layers; i++) {
    const layer = `layers.${i}`
    tensors.set(`${layer}.input_layernorm.weight`, [D])
    tensors.set(`${layer}.self_attn.q_proj.weight`, [s.heads * s.headDim, D])
    for (const matrix of ['k_proj', 'v_proj'])
      tensors.set(`${layer}.self_attn.${matrix}.weight`, [s.sharedHeads * s.headDim, D])
    tensors.set(`${layer}.self_attn.o_proj.weight`, [D, s.heads * s.headDim])
    for (const norm of ['q_norm', 'k_norm']) tensors.set(`${layer}.self_attn.${norm}.weight`, [s.headDim])
    tensors.set(`${layer}.post_attention_layernorm.weight`, [D])
    for (const matrix of ['gate_proj', 'up_proj']) tensors.set(`${layer}.mlp.${matrix}.weight`, [s.mlp, D])
    tensors.set(`${layer}.mlp.down_proj.weight`, [D, s.mlp])
  }
  tensors.set('norm.weight', [D])
  return tensors
}
