/**
 * Opens a model folder: finds the tensors of every part in its files, checks them, and makes the checkpoint that the
 * native side loads. Headers are parsed here; weights are only mapped there.
 */
import { IConFaceError } from '../errors'
import type { IConFaceWarning } from '../warning'
import { CONFIG_NAME, type FaceCrop, type ModelConfig, type ModelDefaults, readModelConfig } from './config'
import {
  adapterVariant,
  type AdapterVariant,
  type Checked,
  checkAdapter,
  checkAutoencoder,
  checkFace,
  checkPrompt,
  checkTransformer,
  checkUnlessQuantised,
  formatProblems,
  type Problem,
  type PromptNames,
  sameShape,
} from './contract'
import {
  type AdapterSizes,
  type AutoencoderSizes,
  autoencoderTensors,
  type FaceSizes,
  type TransformerSizes,
  transformerTensors,
} from './expected'
import { type AlphaSource, type Lora, openLora } from './lora'
import { applyNameMap, readNameMap } from './name-map'
import { canonicalTensors, type Naming } from './canonical-names'
import { type Role } from './roles'
import { type NamedTensor, type NamedTensors } from '../formats/named-tensors'
import type { SafetensorsFile } from '../formats/safetensors'
import { openWeights } from '../formats/shards'
import type { Checkpoint, JoinedTensor, LoraUpdate, StoredTensor } from './spec'

/**
 * The checkpoint of a model folder. Every byte range lies inside its file and has the size that dtype and shape make.
 */
export interface ModelCheckpoint extends Checkpoint {
  readonly name: string
  readonly folder: string
  /** Random weights. */
  readonly synthesized: boolean
  /** Which row of the paper's Table 3 it is. */
  readonly variant: AdapterVariant
  readonly joins: readonly JoinedTensor[]
  readonly loras: readonly ModelLora[]
  readonly numbers: Readonly<Record<string, readonly number[]>>
  readonly texts: Readonly<Record<string, string>>
  readonly defaults: Omit<ModelDefaults, 'resolution'> & { readonly size: number }
  /** Where the prompts' embeddings and the text encoder are: see lib/text. */
  readonly prompt: ModelConfig['prompt']
  readonly textEncoder: ModelConfig['textEncoder']
  /** What a user should know: what of the files is left out. */
  readonly warnings: readonly IConFaceWarning[]
}

/**
 * A LoRA's change of one module, named `lora.<i>.<module>` (`.<row>` where that is not 0), and where its factor is
 * from.
 */
export interface ModelLora extends LoraUpdate {
  readonly row: number
  readonly rank: number
  readonly strength: number
  readonly alpha: number
  readonly alphaSource: AlphaSource
}

/** One part of a model, for people. */
export interface PartReport {
  readonly role: Role | 'lora'
  /** The file, or the index of several. */
  readonly path: string
  readonly files: readonly SafetensorsFile[]
  /** Whose names the file uses. */
  readonly naming: string
  readonly ignored: readonly string[]
}

/** A model folder, examined: complete, or with all its problems. */
export interface Examination {
  readonly config: ModelConfig
  readonly parts: readonly PartReport[]
  readonly problems: readonly Problem[]
  /** What a user should know: what of the files is left out. */
  readonly warnings: readonly IConFaceWarning[]
  /** Absent when sizes could not be read. */
  readonly checkpoint: ModelCheckpoint | undefined
  readonly sizes: ModelSizes
}

export interface ModelSizes {
  readonly transformer?: TransformerSizes | undefined
  readonly autoencoder?: AutoencoderSizes | undefined
  readonly adapter?: AdapterSizes | undefined
  readonly face?: FaceSizes | undefined
  readonly prompt?: { readonly length: number; readonly contextDim: number } | undefined
}

/**
 * Opens a model folder for loading.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT` with all that is wrong with it (the first 20 problems and
 *         the number of the rest); `ERR_ICONFACE_FILE_NOT_FOUND`, `ERR_ICONFACE_IO`, `ERR_ICONFACE_UNSUPPORTED`.
 */
export function openCheckpoint(folder: string): ModelCheckpoint {
  const { config, checkpoint, problems } = examineCheckpoint(folder)
  if (checkpoint && problems.length === 0) return checkpoint
  const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`
  throw new IConFaceError(
    'ERR_ICONFACE_INVALID_CHECKPOINT',
    `the model ${config.folder} has ${count}:\n${formatProblems(problems)}`,
  )
}

/**
 * Examines a model folder and reports problems instead of throwing; a file that is no safetensors file still throws.
 */
export function examineCheckpoint(folder: string): Examination {
  return examineConfig(readModelConfig(folder))
}

/** {@link examineCheckpoint} for an `iconface.json` that is already read. */
export function examineConfig(config: ModelConfig): Examination {
  const builder = new CheckpointBuilder(config)
  const transformer = builder.part('transformer', config.transformer.file, checkTransformer)
  const autoencoder = builder.part('autoencoder', config.autoencoder.file, (tensors) =>
    checkAutoencoder(tensors, config.autoencoder.groups),
  )
  const backbone = transformer && {
    hidden: transformer.hidden,
    blocks: transformer.doubleBlocks + transformer.singleBlocks,
  }
  const adapter = config.adapter && builder.adapter(config.adapter, backbone)
  const face = config.identity && builder.part('face', config.identity.file, checkFace)
  const prompt = builder.prompt()
  for (const [i, lora] of config.lora.entries()) {
    builder.lora(i, openLora(lora, transformer && transformerTensors(transformer)))
  }
  const sizes: ModelSizes = { transformer, autoencoder, adapter, face, prompt }
  builder.problems.push(...crossProblems(config, sizes))
  const complete = transformer && autoencoder && prompt && (adapter || !config.adapter) && (face || !config.identity)
  return {
    config,
    parts: builder.parts,
    problems: builder.problems,
    warnings: builder.warnings,
    sizes,
    checkpoint: complete ? builder.finish(sizes) : undefined,
  }
}

/** Contradictions between parts that are each valid. */
export function crossProblems(config: ModelConfig, sizes: ModelSizes): Problem[] {
  const problems: Problem[] = []
  const report = (part: string, message: string) => problems.push({ kind: 'config', part, message })
  const { transformer, autoencoder, adapter, face, prompt } = sizes
  if (transformer) {
    const { ropeAxes, heads } = config.transformer
    const complaint = checkAxes(ropeAxes, transformer)
    if (complaint !== undefined) report('transformer', complaint)
    const inferred = transformer.hidden / transformer.headDim
    if (heads !== undefined && heads !== inferred) {
      report('transformer', `heads is ${heads}, but hidden size / head size is ${inferred}`)
    }
  }
  if (transformer && autoencoder && transformer.inChannels !== 4 * autoencoder.latentChannels) {
    report(
      'autoencoder',
      `its ${autoencoder.latentChannels} latent channels pack to ${4 * autoencoder.latentChannels}, ` +
        `but the transformer takes ${transformer.inChannels}`,
    )
  }
  if (transformer && prompt && transformer.contextDim !== prompt.contextDim) {
    report(
      'prompt',
      `its embeddings are ${prompt.contextDim} wide, but the transformer takes ${transformer.contextDim}`,
    )
  }
  if (adapter?.identity && !config.identity) {
    report('identity', `the adapter has an identity pathway, but ${CONFIG_NAME} names no face encoder`)
  }
  if (adapter?.identity && face && adapter.embedding !== face.embedding) {
    report('identity', `its embeddings have ${face.embedding} values, but the adapter takes ${adapter.embedding}`)
  }
  const step = autoencoder ? 2 ** autoencoder.levelChannels.length : 16
  if (config.defaults.resolution % step !== 0) {
    report('defaults', `resolution ${config.defaults.resolution} is no multiple of ${step}, a token's side in pixels`)
  }
  return problems
}

/** What is wrong with the sizes of the rotary embedding's axes. */
export function checkAxes(axes: readonly number[], { headDim }: TransformerSizes): string | undefined {
  const sum = axes.reduce((a, b) => a + b, 0)
  return sum === headDim ? undefined : `ropeAxes [${axes.join(', ')}] sum to ${sum}, but the head size is ${headDim}`
}

/** The sizes of the transformer that an adapter must match. */
type Backbone = NonNullable<Parameters<typeof checkAdapter>[1]>

/** Canonical prefix of each part's tensors. */
const PREFIX: Record<Role, string> = {
  transformer: 'transformer.',
  autoencoder: 'vae.',
  adapter: 'adapter.',
  face: 'face.',
  prompt: 'prompt.',
}

/** Opens the files of a model one by one and gathers what they hold. */
class CheckpointBuilder {
  readonly parts: PartReport[] = []
  readonly problems: Problem[] = []
  readonly warnings: IConFaceWarning[] = []
  private readonly files: SafetensorsFile[] = []
  private readonly tensors: Record<string, StoredTensor> = {}
  private readonly joins: JoinedTensor[] = []
  private readonly loras: ModelLora[] = []

  constructor(private readonly config: ModelConfig) {}

  /** Opens the weights of one part, checks them, and lists their tensors; the sizes if they can be read. */
  part<Sizes>(role: Role, path: string, check: (tensors: NamedTensors) => Checked<Sizes>): Sizes | undefined {
    return this.take(role, this.open(role, path), check)
  }

  /** The adapter, perhaps under other names, and without its identity pathway where iconface.json says so. */
  adapter({ file, names, identity }: NonNullable<ModelConfig['adapter']>, backbone: Backbone | undefined) {
    const map = names === undefined ? undefined : readNameMap(names)
    const naming = this.open('adapter', file, map && ((tensors) => applyNameMap(map, tensors)))
    return this.take('adapter', identity ? naming : withoutIdentity(naming), (tensors) =>
      checkAdapter(tensors, backbone),
    )
  }

  prompt(): { length: number; contextDim: number } | undefined {
    const { file, withReferences, withoutReferences, empty } = this.config.prompt
    const { tensors } = this.open('prompt', file)
    const second =
      withoutReferences ?? (tensors.has('prompt_without_references') ? 'prompt_without_references' : undefined)
    const names: PromptNames = { withReferences, withoutReferences: second, empty }
    const { sizes, problems } = checkPrompt(tensors, names)
    this.problems.push(...problems)
    const canonical = { prompt: withReferences, empty, prompt_without_references: second }
    for (const [name, published] of Object.entries(canonical)) {
      const tensor = published === undefined ? undefined : tensors.get(published)
      if (tensor) this.add(PREFIX.prompt + name, tensor)
    }
    return sizes
  }

  lora(index: number, { file, strength, modules, problems, ignored, warnings }: Lora): void {
    const { safetensors } = file
    this.problems.push(...problems)
    if (!safetensors) {
      const message = `${file.path} is a PyTorch file: "iconface prepare" makes safetensors of it`
      return void this.problems.push({ kind: 'conversion', part: 'lora', message })
    }
    const fileIndex = this.files.push(safetensors) - 1
    this.parts.push({ role: 'lora', path: file.path, files: [safetensors], naming: 'LoRA', ignored })
    this.warnings.push(...warnings)
    for (const { module, row, a, b, rank, alpha, alphaSource, scale } of modules) {
      const name = `lora.${index}.${module}${row > 0 ? `.${row}` : ''}`
      this.tensors[`${name}.A`] = { file: fileIndex, ...a }
      this.tensors[`${name}.B`] = { file: fileIndex, ...b }
      const factor = strength * scale
      this.loras.push({ module, a: `${name}.A`, b: `${name}.B`, row, factor, rank, strength, alpha, alphaSource })
    }
  }

  finish(sizes: ModelSizes): ModelCheckpoint {
    const { name, folder, synthesized, defaults, identity, prompt, textEncoder } = this.config
    const { resolution, ...others } = defaults
    this.squareConvolutions(sizes.autoencoder!)
    return {
      name,
      folder,
      synthesized,
      variant: adapterVariant(sizes.adapter),
      files: this.files.map(({ path, fileSize }) => ({ path, size: fileSize })),
      tensors: this.tensors,
      joins: this.joins,
      loras: this.loras,
      numbers: modelNumbers(this.config, sizes),
      texts: { 'identity.crop': identity?.crop ?? ('template' satisfies FaceCrop), 'defaults.rng': defaults.rng },
      defaults: { ...others, size: resolution },
      prompt,
      textEncoder,
      warnings: this.warnings,
    }
  }

  private open(role: Role, target: string, name = (tensors: NamedTensors) => canonicalTensors(role, tensors)): Naming {
    const weights = openWeights(target, this.files.length)
    const naming = name(weights.tensors)
    this.files.push(...weights.files)
    this.parts.push({ role, path: weights.path, files: weights.files, naming: naming.naming, ignored: naming.ignored })
    for (const message of naming.problems) this.problems.push({ kind: 'config', part: role, message })
    return naming
  }

  private take<Sizes>(role: Role, { tensors }: Naming, check: (tensors: NamedTensors) => Checked<Sizes>) {
    const { sizes, problems } = checkUnlessQuantised(role, tensors, check)
    this.problems.push(...problems)
    for (const [name, tensor] of tensors) this.add(PREFIX[role] + name, tensor)
    return sizes
  }

  private add(name: string, { dtype, shape, parts }: NamedTensor): void {
    if (parts.length === 1) this.tensors[name] = { ...parts[0]!, dtype, shape }
    else this.joins.push({ name, dtype, shape, parts })
  }

  /**
   * diffusers stores the attention's 1x1 convolutions as matrices; the bytes are the same, the shape becomes [o, i, 1,
   * 1].
   */
  private squareConvolutions(sizes: AutoencoderSizes): void {
    for (const [name, shape] of autoencoderTensors(sizes)) {
      const tensor = this.tensors[PREFIX.autoencoder + name]
      if (tensor && sameShape(shape, tensor.shape)) this.tensors[PREFIX.autoencoder + name] = { ...tensor, shape }
    }
  }
}

/** An adapter without its identity pathway. */
export function withoutIdentity(naming: Naming): Naming {
  return { ...naming, tensors: new Map([...naming.tensors].filter(([name]) => !name.startsWith('identity.'))) }
}

/**
 * All numbers of a model, by part. Sizes read off shapes are included, so that the native side need not infer them
 * again.
 */
function modelNumbers(config: ModelConfig, sizes: ModelSizes): Record<string, readonly number[]> {
  const { transformer, autoencoder, adapter, face, prompt } = sizes
  const groups: Record<string, object | undefined> = {
    transformer: transformer && {
      ...transformer,
      heads: transformer.hidden / transformer.headDim,
      ropeAxes: config.transformer.ropeAxes,
      ropeTheta: config.transformer.ropeTheta,
    },
    vae: autoencoder && { ...autoencoder, groups: config.autoencoder.groups },
    adapter: adapter && {
      ...adapter,
      residualStrength: config.adapter?.residualStrength,
      temperature: config.adapter?.temperature,
    },
    face,
    prompt,
    defaults: { ...config.defaults, rng: undefined },
  }
  const numbers: Record<string, readonly number[]> = {}
  for (const [group, values] of Object.entries(groups)) {
    for (const [key, value] of Object.entries(values ?? {}) as [string, unknown][]) {
      if (Array.isArray(value)) numbers[`${group}.${key}`] = value as number[]
      else if (typeof value === 'number' || typeof value === 'boolean') numbers[`${group}.${key}`] = [Number(value)]
    }
  }
  return numbers
}
