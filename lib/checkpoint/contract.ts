/**
 * Checks that the tensors of a file make a complete network. Sizes are read off tensor shapes, the complete list of
 * tensors follows from the sizes (expected.ts), and every difference is reported at once.
 */
import { WEIGHT_DTYPES } from '../formats/dtype'
import {
  type AdapterSizes,
  adapterTensors,
  type AutoencoderSizes,
  autoencoderTensors,
  FACE_PIXELS,
  type FaceSizes,
  faceTensors,
  type Shape,
  type TensorShapes,
  type TextEncoderSizes,
  textEncoderTensors,
  type TransformerSizes,
  transformerTensors,
} from './expected'
import { isFp8 } from './fp8'
import type { NamedTensors } from '../formats/named-tensors'
import { quantisation } from '../formats/quantised'

/** A reason why a checkpoint cannot be used. */
export interface Problem {
  readonly kind: 'missing' | 'unknown' | 'shape' | 'dtype' | 'config' | 'conversion' | 'file'
  /** The part of the model: "transformer", "adapter", … */
  readonly part: string
  /** A sentence without the part's name. */
  readonly message: string
}

/** What checking one network gives; `sizes` is absent when the tensors that tell them are. */
export interface Checked<Sizes> {
  readonly sizes: Sizes | undefined
  readonly problems: readonly Problem[]
}

/**
 * Checks the tensors of one network, unless they are quantised in a way that makes everything else about them wrong.
 */
export function checkUnlessQuantised<Sizes>(
  part: string,
  tensors: NamedTensors,
  check: (tensors: NamedTensors) => Checked<Sizes>,
): Checked<Sizes> {
  const message = quantisation(tensors)
  return message === undefined ? check(tensors) : { sizes: undefined, problems: [{ kind: 'dtype', part, message }] }
}

/** How many problems a message lists before it only counts. */
const SHOWN_PROBLEMS = 20

/** Problems as indented lines: the first 20 and the number of the rest. */
export function formatProblems(problems: readonly Problem[], limit = SHOWN_PROBLEMS): string {
  const lines = problems.slice(0, limit).map(({ part, message }) => `  ${part}: ${message}`)
  if (problems.length > limit) lines.push(`  … and ${problems.length - limit} more`)
  return lines.join('\n')
}

/** GroupNorm's groups in the published autoencoder; others are named in `iconface.json`, since shapes do not tell. */
export const GROUP_NORM_GROUPS = 32

/** Values of the sinusoidal timestep embedding (model-specification.md 3). */
const TIME_CHANNELS = 256

/** The paper's FLUX.2 [klein] transformer, or another of its family. */
export function checkTransformer(tensors: NamedTensors): Checked<TransformerSizes> {
  const survey = new Survey('transformer', tensors)
  const doubleBlocks = survey.count(/^double_blocks\.(\d+)\./)
  const singleBlocks = survey.count(/^single_blocks\.(\d+)\./)
  const [hidden, inChannels] = survey.dims('img_in.weight', 2)
  const [, contextDim] = survey.dims('txt_in.weight', 2)
  const [, timeChannels] = survey.dims('time_in.in_layer.weight', 2)
  const head = doubleBlocks > 0 ? 'double_blocks.0.img_attn.norm.query_norm' : 'single_blocks.0.norm.query_norm'
  const [headDim] = survey.dims(`${head}.scale`, 1)
  const doubleMlp = doubleBlocks > 0 ? survey.dims('double_blocks.0.img_mlp.2.weight', 2)[1] : 0
  const linear2 = singleBlocks > 0 ? survey.dims('single_blocks.0.linear2.weight', 2)[1] : hidden
  if (tensors.has('guidance_in.in_layer.weight')) {
    survey.config('it has a guidance embedding (guidance_in): this is FLUX.2 [dev], and IConFace needs a [klein] model')
  }
  const all = [hidden, inChannels, contextDim, timeChannels, headDim, doubleMlp, linear2]
  if (all.includes(undefined)) return survey.failed()
  const singleMlp = linear2! - hidden!
  if (singleBlocks > 0 && singleMlp <= 0) {
    survey.config(`single_blocks.0.linear2.weight takes ${linear2} values, not more than the hidden size ${hidden}`)
    return survey.failed()
  }
  if (timeChannels !== TIME_CHANNELS) {
    survey.config(`its timestep embedding has ${timeChannels} values, expected ${TIME_CHANNELS}`)
  }
  if (headDim! % 16 !== 0) survey.config(`the head size is ${headDim}, which is no multiple of 16`)
  if (hidden! % headDim! !== 0) survey.config(`the hidden size ${hidden} is no multiple of the head size ${headDim}`)
  const sizes: TransformerSizes = {
    inChannels: inChannels!,
    hidden: hidden!,
    headDim: headDim!,
    doubleBlocks,
    singleBlocks,
    doubleMlp: doubleMlp!,
    singleMlp: Math.max(singleMlp, 0),
    timeChannels: timeChannels!,
    contextDim: contextDim!,
  }
  return survey.compare(sizes, transformerTensors(sizes))
}

/** The FLUX.2 autoencoder, with so many groups in every GroupNorm. */
export function checkAutoencoder(tensors: NamedTensors, groups = GROUP_NORM_GROUPS): Checked<AutoencoderSizes> {
  const survey = new Survey('autoencoder', tensors)
  if (![...tensors.keys()].some((name) => name.startsWith('encoder.'))) {
    survey.config(
      'it holds a decoder alone, and pictures have to be encoded too: take the file with both halves (of FLUX.2-small-decoder full_encoder_small_decoder.safetensors)',
    )
    return survey.failed()
  }
  const [baseChannels, imageChannels] = survey.dims('encoder.conv_in.weight', 4)
  const [latentChannels] = survey.dims('decoder.post_quant_conv.weight', 4)
  const levels = survey.count(/^encoder\.down\.(\d+)\./)
  const resBlocks = survey.count(/^encoder\.down\.0\.block\.(\d+)\./)
  const widths = (place: string) =>
    Array.from({ length: Math.max(levels, 1) }, (_, i) => survey.dims(`${place}.${i}.block.0.conv1.weight`, 4)[0]!)
  const [levelChannels, decoderChannels] = [widths('encoder.down'), widths('decoder.up')]
  if (survey.incomplete) return survey.failed()
  const sizes: AutoencoderSizes = {
    imageChannels: imageChannels!,
    latentChannels: latentChannels!,
    baseChannels: baseChannels!,
    levelChannels,
    ...(sameShape(levelChannels, decoderChannels) ? {} : { decoderChannels }),
    resBlocks,
  }
  if (imageChannels !== 3) survey.config(`it makes images of ${imageChannels} channels; only RGB is supported`)
  for (const channels of [sizes.baseChannels, ...levelChannels, ...decoderChannels]) {
    if (channels % groups === 0) continue
    survey.config(`${channels} channels do not divide into the ${groups} groups of GroupNorm`)
    break
  }
  return survey.compare(sizes, autoencoderTensors(sizes))
}

/** AdaFace IR. A stage begins with the first block and wherever the number of channels changes. */
export function checkFace(tensors: NamedTensors): Checked<FaceSizes> {
  const survey = new Survey('identity', tensors)
  const [baseChannels] = survey.dims('input_layer.0.weight', 4)
  const [embedding] = survey.dims('output_layer.3.weight', 2)
  const blocks = survey.count(/^body\.(\d+)\./)
  const channels: (number | undefined)[] = []
  for (let i = 0; i < blocks; i++) channels.push(survey.dims(`body.${i}.res_layer.1.weight`, 4)[0])
  if (blocks === 0) survey.dims('body.0.res_layer.1.weight', 4)
  if (survey.incomplete || blocks === 0) return survey.failed()
  const stageChannels: number[] = []
  const stageUnits: number[] = []
  for (const out of channels as number[]) {
    if (out === stageChannels.at(-1)) stageUnits[stageUnits.length - 1]!++
    else stageUnits.push(stageChannels.push(out) && 1)
  }
  if (FACE_PIXELS % 2 ** stageChannels.length !== 0) {
    survey.config(`its ${stageChannels.length} stages cannot halve ${FACE_PIXELS} pixels that often`)
    return survey.failed()
  }
  const sizes: FaceSizes = { baseChannels: baseChannels!, stageChannels, stageUnits, embedding: embedding! }
  return survey.compare(sizes, faceTensors(sizes))
}

/** The optional parts of an adapter, by the prefix of their names. A part is there when any of its tensors is. */
const ADAPTER_PARTS = {
  identity: 'identity.',
  residual: 'structure.residual.',
  base: 'structure.base.',
  detail: 'structure.detail.',
  blocks: 'structure.blocks.',
} as const

/**
 * The identity and structure pathways.
 *
 * @param backbone  the transformer's hidden size and number of blocks; without it they are read off the adapter
 */
export function checkAdapter(
  tensors: NamedTensors,
  backbone?: { readonly hidden: number; readonly blocks: number },
): Checked<AdapterSizes> {
  const survey = new Survey('adapter', tensors)
  const has = (part: keyof typeof ADAPTER_PARTS) =>
    [...tensors.keys()].some((name) => name.startsWith(ADAPTER_PARTS[part]))
  const [identity, residual, base, detail, blocks] = [
    has('identity'),
    has('residual'),
    has('base'),
    has('detail'),
    has('blocks'),
  ]

  const [identityHidden, embedding = 512] = identity ? survey.dims('identity.global.in.weight', 2) : []
  const [rankOfResidual, residualHidden] = residual ? survey.dims('structure.residual.down.weight', 2) : []
  const [rankOfBlocks, blocksHidden] = blocks ? survey.dims('structure.blocks.0.query.down.weight', 2) : []
  const [baseTokens = 0, baseHidden] = base ? survey.dims('structure.base.queries', 2) : []
  const [detailTokens = 0] = detail ? survey.dims('structure.detail.queries', 2) : []
  if (survey.incomplete) return survey.failed()

  if (detail && !base) survey.config('structure.detail needs structure.base, which is absent')
  if (blocks && !base)
    survey.config('structure.blocks attend to a memory, but structure.base, which makes it, is absent')
  if (base && !blocks)
    survey.config('structure.base makes a memory, but structure.blocks, which attend to it, are absent')
  const sizes: AdapterSizes = {
    hidden: backbone?.hidden ?? identityHidden ?? residualHidden ?? blocksHidden ?? baseHidden ?? 0,
    embedding,
    rank: rankOfResidual ?? rankOfBlocks ?? 0,
    baseTokens,
    detailTokens,
    blocks: blocks ? (backbone?.blocks ?? survey.count(/^structure\.blocks\.(\d+)\./)) : 0,
    identity,
    residual,
  }
  return survey.compare(sizes, adapterTensors(sizes))
}

/** The rows of the paper's Table 3, and what a checkpoint makes that fits none of them. */
export type AdapterVariant = 'Concat' | 'Struct' | 'ID' | '1-Route' | 'Full' | 'Other'

/** Which variant of the paper's Table 3 an adapter makes; no adapter is Concat. */
export function adapterVariant(sizes: AdapterSizes | undefined): AdapterVariant {
  if (!sizes) return 'Concat'
  const memory = sizes.blocks > 0
  const structure = sizes.residual || memory
  if (!structure) return sizes.identity ? 'ID' : 'Concat'
  if (!sizes.identity) return 'Struct'
  if (!sizes.residual || !memory) return 'Other'
  return sizes.detailTokens > 0 ? 'Full' : '1-Route'
}

/**
 * Prompt embeddings: `prompt` and `empty` [length, context], and optionally `prompt_without_references`.
 *
 * @param names  the tensors to use, by the role they play
 */
export function checkPrompt(
  tensors: NamedTensors,
  names: PromptNames = { withReferences: 'prompt', withoutReferences: undefined, empty: 'empty' },
): Checked<{ readonly length: number; readonly contextDim: number }> {
  const survey = new Survey('prompt', tensors)
  const [length, contextDim] = survey.dims(names.withReferences, 2)
  if (length === undefined || contextDim === undefined) return survey.failed()
  if (length === 0) survey.config(`${names.withReferences} has no tokens`)
  const expected: TensorShapes = new Map()
  for (const name of [names.withReferences, names.withoutReferences, names.empty]) {
    if (name !== undefined) expected.set(name, [length, contextDim])
  }
  return survey.compare({ length, contextDim }, expected, { unknown: 'allowed' })
}

/** Qwen3 as a text encoder, of which the hidden states after `outputLayers` are wanted. */
export function checkTextEncoder(
  tensors: NamedTensors,
  outputLayers: readonly number[] = [],
): Checked<TextEncoderSizes> {
  const survey = new Survey('text encoder', tensors)
  const layers = survey.count(/^layers\.(\d+)\./)
  const [vocabulary, hidden] = survey.dims('embed_tokens.weight', 2)
  const [headDim] = survey.dims('layers.0.self_attn.q_norm.weight', 1)
  const [queries] = survey.dims('layers.0.self_attn.q_proj.weight', 2)
  const [keys] = survey.dims('layers.0.self_attn.k_proj.weight', 2)
  const [mlp] = survey.dims('layers.0.mlp.gate_proj.weight', 2)
  if (survey.incomplete) return survey.failed()
  const [heads, sharedHeads] = [queries! / headDim!, keys! / headDim!]
  const whole = Number.isInteger(heads) && Number.isInteger(sharedHeads) && Number.isInteger(heads / sharedHeads)
  if (headDim! % 2 !== 0 || !whole) {
    survey.config(`its ${queries} query and ${keys} key channels make no heads of ${headDim} that can be shared`)
    return survey.failed()
  }
  const beyond = outputLayers.find((layer) => layer > layers)
  if (beyond !== undefined) survey.config(`output layer ${beyond} is wanted, and it has ${layers} layers`)
  const sizes: TextEncoderSizes = {
    vocabulary: vocabulary!,
    hidden: hidden!,
    heads,
    sharedHeads,
    headDim: headDim!,
    mlp: mlp!,
    layers,
  }
  return survey.compare(sizes, textEncoderTensors(sizes))
}

export interface PromptNames {
  readonly withReferences: string
  readonly withoutReferences: string | undefined
  readonly empty: string
}

/** Collects what is wrong with one network while its sizes are read and its tensors compared. */
class Survey {
  private readonly problems: Problem[] = []

  constructor(
    private readonly part: string,
    private readonly tensors: NamedTensors,
  ) {}

  /** The shape of a tensor that tells sizes; empty, and a problem, when it is absent or has another number of axes. */
  dims(name: string, rank: number): readonly number[] | [] {
    const tensor = this.tensors.get(name)
    if (!tensor) this.report('missing', `${name} is missing, and with it the sizes it tells`)
    else if (tensor.shape.length !== rank || tensor.shape.includes(0)) {
      this.report('shape', `${name} is [${tensor.shape.join(', ')}], expected ${rank} sizes above 0`)
    } else return tensor.shape
    return []
  }

  /** How many different numbers `pattern` captures: blocks, levels. */
  count(pattern: RegExp): number {
    const numbers = new Set<string>()
    for (const name of this.tensors.keys()) {
      const match = pattern.exec(name)
      if (match) numbers.add(match[1]!)
    }
    return numbers.size
  }

  config(message: string): void {
    this.report('config', message)
  }

  /** Whether a size could not be read. */
  get incomplete(): boolean {
    return this.problems.some(({ kind }) => kind !== 'config')
  }

  failed(): Checked<never> {
    return { sizes: undefined, problems: this.problems }
  }

  compare<Sizes>(sizes: Sizes, expected: TensorShapes, { unknown = 'refused' } = {}): Checked<Sizes> {
    for (const [name, shape] of expected) this.compareTensor(name, shape)
    this.reportFp8(expected)
    if (unknown === 'refused') {
      for (const [name, { published }] of this.tensors) {
        if (!expected.has(name)) this.report('unknown', `${published} is not part of this network`)
      }
    }
    return { sizes, problems: this.problems }
  }

  private compareTensor(name: string, expected: Shape): void {
    const tensor = this.tensors.get(name)
    if (!tensor) return this.report('missing', `${name} [${expected.join(', ')}] is missing`)
    const label = tensor.published === name ? name : `${name} (${tensor.published})`
    if (!sameShape(expected, tensor.shape)) {
      this.report('shape', `${label} is [${tensor.shape.join(', ')}], expected [${expected.join(', ')}]`)
    }
    if (!WEIGHT_DTYPES.includes(tensor.dtype) && !isFp8(tensor.dtype)) {
      this.report('dtype', `${label} is stored as ${tensor.dtype}, expected ${WEIGHT_DTYPES.join(', ')}`)
    }
  }

  /** One problem for all fp8 tensors together: the file is converted once, as a whole. */
  private reportFp8(expected: TensorShapes): void {
    const found = [...expected.keys()].filter((name) => isFp8(this.tensors.get(name)?.dtype ?? 'F32'))
    if (found.length === 0) return
    const { dtype } = this.tensors.get(found[0]!)!
    const which = found.length === 1 ? `${found[0]} is` : `${found.length} tensors, such as ${found[0]}, are`
    this.report(
      'conversion',
      `${which} stored as ${dtype}, expected ${WEIGHT_DTYPES.join(', ')}: "iconface convert" makes bf16 of it, and so does "iconface prepare"`,
    )
  }

  private report(kind: Problem['kind'], message: string): void {
    this.problems.push({ kind, part: this.part, message })
  }
}

/** Equal, or a matrix [out, in] in place of the 1x1 convolution [out, in, 1, 1] that it is. */
export function sameShape(expected: Shape, received: Shape): boolean {
  const trimmed = received.length === 2 && expected.length === 4 && expected[2] === 1 && expected[3] === 1
  const wanted = trimmed ? expected.slice(0, 2) : expected
  return wanted.length === received.length && wanted.every((size, axis) => size === received[axis])
}
