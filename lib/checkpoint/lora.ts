/**
 * LoRA files: low-rank changes `W += strength * (alpha / r) B A` of the transformer's matrices (model-specification.md
 * 3), merged in float32 where the model is loaded. The layouts are those of lora-names.ts.
 */
import path from 'node:path'
import { IConFaceError } from '../errors'
import { IConFaceWarning } from '../warning'
import type { LoraConfig } from './config'
import type { Problem } from './contract'
import { NUMBER_DTYPES, toNumber, WEIGHT_DTYPES } from '../formats/dtype'
import type { TensorShapes } from './expected'
import { type LoraFile, loraWeights, openLoraFile } from './lora-file'
import { bareName, isTextEncoderLora, loraModule, loraTensor, otherAdapter, otherModel } from './lora-names'
import { matrixShape, type Module } from './module-names'
import { ADAPTER_CONFIG, type PeftConfig, readPeftConfig, valueFor } from './peft-config'
import type { TensorInfo } from '../formats/named-tensors'

/** Where the strength's numerator alpha came from. */
export type AlphaSource = 'iconface.json' | 'tensor' | 'adapter_config.json' | 'metadata' | 'rank'

/** The change of one matrix, or of some of its rows. */
export interface LoraModule {
  /** Name of the matrix without `.weight`, for instance `double_blocks.0.img_attn.qkv`. */
  readonly module: string
  /** First row that is changed. */
  readonly row: number
  /** [rank, in] */
  readonly a: TensorInfo
  /** [rows, rank] */
  readonly b: TensorInfo
  readonly rank: number
  readonly alpha: number
  readonly alphaSource: AlphaSource
  /** alpha / rank, or alpha / sqrt(rank) where the trainer says so (`use_rslora`). */
  readonly scale: number
}

export interface Lora {
  readonly file: LoraFile
  readonly strength: number
  readonly modules: readonly LoraModule[]
  readonly problems: readonly Problem[]
  /** Names of tensors that are left out: those of a text encoder. */
  readonly ignored: readonly string[]
  /** What a user should know. */
  readonly warnings: readonly IConFaceWarning[]
}

/**
 * Opens a LoRA file, or the weights of a folder.
 *
 * @param expected  the transformer's tensors; without them matrices are only compared with each other
 */
export function openLora({ file, strength, alpha }: LoraConfig, expected?: TensorShapes): Lora {
  const opened = openLoraFile(loraWeights(file))
  const config = readPeftConfig(path.join(path.dirname(opened.path), ADAPTER_CONFIG), opened)
  const problems = new Complaints()
  const ignored = [...opened.tensors.keys()].filter(isTextEncoderLora)
  const changes = completeChanges(opened, ignored, problems).filter((change) => {
    return fits(change, expected, config, problems) && hasNumber(change, opened, problems)
  })
  if (!expected) compareWidths(changes, problems)
  const modules: LoraModule[] = []
  for (const change of changes) {
    const rank = change.a.shape[0]!
    const chosen = chooseAlpha(alpha, change, opened, config)
    const scale = chosen.alpha / (config.rootOfRank ? Math.sqrt(rank) : rank)
    for (const piece of placeRows(change)) modules.push({ ...piece, rank, ...chosen, scale })
  }
  return {
    file: opened,
    strength,
    modules,
    problems: problems.list(),
    ignored,
    warnings: ignoredWarning(opened, ignored),
  }
}

function ignoredWarning({ path }: LoraFile, ignored: readonly string[]): IConFaceWarning[] {
  if (ignored.length === 0) return []
  const names = ignored.slice(0, 3).join(', ') + (ignored.length > 3 ? ', …' : '')
  const what = ignored.length === 1 ? 'a tensor' : `${ignored.length} tensors`
  const message = `${path} is used without ${what} for the text encoder, which stays as it is: ${names}`
  return [new IConFaceWarning('WARN_ICONFACE_LEFT_OUT', message)]
}

// Which tensors belong together ---------------------------------------------------------------------------------------

/** The tensors of one matrix, as the file has it. */
interface Change {
  readonly published: string
  readonly module: Module
  readonly a: TensorInfo
  readonly b: TensorInfo
  /** Name of the tensor that holds alpha. */
  readonly alpha: string | undefined
}

/** The changes that have both matrices; everything else becomes a problem. */
function completeChanges(file: LoraFile, ignored: readonly string[], problems: Complaints): Change[] {
  const leftOut = new Set(ignored)
  const found = new Map<string, { published: string; module: Module; A?: string; B?: string; alpha?: string }>()
  for (const name of file.tensors.keys()) {
    if (leftOut.has(name)) continue
    const known = loraTensor(name)
    const module = known && loraModule(known.published)
    if (!module || !matrixShape(module.name)) {
      complainAbout(name, known?.published, problems)
      continue
    }
    const key = `${module.name} ${module.rows?.pieces.join() ?? ''} ${module.qkv ?? ''}`
    const parts = found.get(key) ?? { published: known.published, module }
    const other = parts[known.part]
    if (other !== undefined) problems.add('config', `${name} and ${other} are both ${known.part} of ${module.name}`)
    found.set(key, { ...parts, [known.part]: name })
  }
  if (found.size === 0 && problems.empty) {
    problems.add(
      'missing',
      ignored.length > 0 ? 'it changes the text encoder only' : 'it holds no <module>.lora_A.weight',
    )
  }
  return [...found.values()].flatMap(({ published, module, A, B, alpha }): Change[] => {
    const a = A === undefined ? undefined : file.tensors.get(A)
    const b = B === undefined ? undefined : file.tensors.get(B)
    if (a && b) return [{ published, module, a, b, alpha }]
    problems.add('missing', `${published}: ${a ? 'B (lora_B, lora_up)' : 'A (lora_A, lora_down)'} is missing`)
    return []
  })
}

function complainAbout(name: string, published: string | undefined, problems: Complaints): void {
  const kind = otherAdapter(name)
  if (kind !== undefined) {
    return problems.add('unknown', `${name} is a tensor of ${kind}, which cannot be merged as a LoRA`, `of ${kind}`)
  }
  if (published === undefined) {
    const expected = '<module>.lora_A.weight, .lora_B.weight or .alpha, or lora_unet_<module>.lora_down.weight …'
    return problems.add('unknown', `${name} is no LoRA tensor: expected ${expected}`, 'no LoRA tensor')
  }
  problems.add(...noMatrix(published))
}

function noMatrix(published: string): Parameters<Complaints['add']> {
  const model = otherModel(published)
  const reason = model === undefined ? '' : `: this LoRA is for ${model}`
  return ['unknown', `${published} is no matrix of the transformer${reason}`, `no matrix${reason}`, published]
}

// Whether they fit ----------------------------------------------------------------------------------------------------

/** Whether a change can be merged; complains if not. */
function fits(change: Change, expected: TensorShapes | undefined, config: PeftConfig, problems: Complaints): boolean {
  const { published, module, a, b } = change
  for (const [part, { dtype }] of Object.entries({ A: a, B: b })) {
    if (WEIGHT_DTYPES.includes(dtype)) continue
    const message = `${published}: ${part} is stored as ${dtype}, expected ${WEIGHT_DTYPES.join(', ')}`
    return problems.refuse('dtype', message, `${part} ${dtype}`)
  }
  const [rank] = a.shape
  const pieces = module.rows?.pieces.length ?? 1
  if (a.shape.length !== 2 || b.shape.length !== 2 || rank === 0 || rank !== b.shape[1] || b.shape[0]! % pieces !== 0) {
    const message = `${published}: A is [${a.shape.join(', ')}] and B is [${b.shape.join(', ')}], expected [r, in] and [out, r]`
    return problems.refuse('shape', message)
  }
  const configured = valueFor(config.rankPatterns, peftName(published))
  if (configured !== undefined && configured !== rank) {
    return problems.refuse(
      'config',
      `${published}: its rank is ${rank}, but ${config.source} says ${configured} (rank_pattern)`,
    )
  }
  return !expected || fitsMatrix(change, expected, problems)
}

function fitsMatrix({ published, module, a, b }: Change, expected: TensorShapes, problems: Complaints): boolean {
  const matrix = expected.get(`${module.name}.weight`)
  if (!matrix) return problems.refuse(...noMatrix(published))
  const pieces = module.rows?.pieces.length ?? 1
  const rows = module.qkv ? 3 * matrix[1]! : (matrix[0]! * pieces) / (module.rows?.of ?? 1)
  if (rows === b.shape[0] && matrix[1] === a.shape[1]) return true
  const message = `${published}: B A is [${b.shape[0]}, ${a.shape[1]}], the matrix is [${rows}, ${matrix[1]}]`
  return problems.refuse('shape', message, 'another size')
}

/** Complains where matrices are not of one transformer, whatever its hidden size. */
function compareWidths(changes: readonly Change[], problems: Complaints): void {
  let first: { readonly hidden: number; readonly published: string } | undefined
  for (const { published, module, a, b } of changes) {
    const [rows, columns] = matrixShape(module.name)!
    const share = module.rows ? module.rows.pieces.length / module.rows.of : 1
    const ofRows = module.qkv ? b.shape[0]! / 3 : rows === undefined ? undefined : b.shape[0]! / rows / share
    const ofColumns = columns === undefined ? undefined : a.shape[1]! / columns
    for (const hidden of [ofColumns, ofRows]) {
      if (hidden === undefined) continue
      first ??= { hidden, published }
      if (hidden === first.hidden) continue
      const message = `${published}: B A is [${b.shape[0]}, ${a.shape[1]}], of a transformer of hidden size ${hidden}, and ${first.published} is of one of ${first.hidden}`
      problems.add('shape', message, 'another width', published)
    }
  }
}

/** Where the rows of B lie in the matrix; one piece, except where a publisher changed their order. */
function placeRows({ module, a, b }: Change): Pick<LoraModule, 'module' | 'row' | 'a' | 'b'>[] {
  const pieces = module.rows?.pieces ?? [0]
  const rows = b.shape[0]! / pieces.length
  const bytes = b.bytes / pieces.length
  return pieces.map((at, i) => ({
    module: module.name,
    row: at * rows,
    a,
    b: { ...b, shape: [rows, b.shape[1]!], offset: b.offset + i * bytes, bytes },
  }))
}

// Alpha ---------------------------------------------------------------------------------------------------------------

function chooseAlpha(
  given: number | undefined,
  { published, a, alpha: tensor }: Change,
  file: LoraFile,
  config: PeftConfig,
): { alpha: number; alphaSource: AlphaSource } {
  if (given !== undefined) return { alpha: given, alphaSource: 'iconface.json' }
  if (tensor !== undefined) return { alpha: readScalar(file, tensor), alphaSource: 'tensor' }
  const configured = valueFor(config.alphaPatterns, peftName(published)) ?? config.alpha
  if (configured !== undefined) return { alpha: configured, alphaSource: config.source }
  return { alpha: a.shape[0]!, alphaSource: 'rank' }
}

/** What PEFT calls a matrix when it looks for patterns: its name in the model that was trained. */
function peftName(published: string): string {
  return published.startsWith('base_model.model.') ? published.slice('base_model.model.'.length) : bareName(published)
}

/** Whether alpha, where a tensor holds it, is a number; complains if not. */
function hasNumber({ alpha }: Change, file: LoraFile, problems: Complaints): boolean {
  if (alpha === undefined) return true
  const { dtype, shape } = file.tensors.get(alpha)!
  if (shape.every((size) => size === 1) && NUMBER_DTYPES.includes(dtype)) return true
  return problems.refuse('shape', `${alpha} is ${dtype} [${shape.join(', ')}], expected a single real number`, 'alpha')
}

function readScalar(file: LoraFile, name: string): number {
  const value = toNumber(file.read(name), file.tensors.get(name)!.dtype)
  if (Number.isFinite(value)) return value
  throw new IConFaceError(
    'ERR_ICONFACE_INVALID_CHECKPOINT',
    `${name} in ${file.path} is ${value}, expected a finite number`,
  )
}

// Complaints ----------------------------------------------------------------------------------------------------------

/** Gathers what is wrong; of many tensors with the same fault the first is named and the others are counted. */
class Complaints {
  private readonly found = new Map<string, { kind: Problem['kind']; message: string; subjects: Set<string> }>()

  get empty(): boolean {
    return this.found.size === 0
  }

  /**
   * @param fault    what those have in common that are said once; default: nobody else has this one
   * @param subject  what has it: tensors of one module count once
   */
  add(kind: Problem['kind'], message: string, fault = message, subject = message): void {
    const known = this.found.get(`${kind} ${fault}`)
    if (known) known.subjects.add(subject)
    else this.found.set(`${kind} ${fault}`, { kind, message, subjects: new Set([subject]) })
  }

  /** {@link add}, as the answer to whether something is right. */
  refuse(...complaint: Parameters<Complaints['add']>): false {
    this.add(...complaint)
    return false
  }

  list(): Problem[] {
    return [...this.found.values()].map(({ kind, message, subjects }) => ({
      kind,
      part: 'lora',
      message: subjects.size === 1 ? message : `${message} (and ${subjects.size - 1} more like it)`,
    }))
  }
}
