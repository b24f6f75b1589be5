/**
 * The plan of a model folder: which of the given files become which part, what is missing, and why no model can be made
 * of them. `inspect` reports it and `prepare` follows it.
 */
import path from 'node:path'
import { type IConFaceErrorCode, IConFaceError, isIConFaceError } from '../errors'
import { choose, type Chosen, collect, type Found, unusedFiles } from './choose'
import { composeConfig } from './compose-config'
import { type ModelConfig, parseModelConfig } from '../checkpoint/config'
import { checkAdapter, formatProblems, type Problem } from '../checkpoint/contract'
import {
  type AdapterSizes,
  type AutoencoderSizes,
  type FaceSizes,
  type TransformerSizes,
  transformerTensors,
} from '../checkpoint/expected'
import { adapterTensorsOf, type ExaminedPart } from './findings'
import { crossProblems, type ModelSizes, withoutIdentity } from '../checkpoint/open'
import { openLora } from '../checkpoint/lora'
import { checkText, planText, type TextPlan } from './prepare-text'
import type { Kind } from '../checkpoint/roles'
import { type Missing, missingParts } from './survey'

export interface PlanOptions {
  readonly name?: string | undefined
  readonly adapter?: string | undefined
  readonly names?: string | undefined
  readonly prompt?: string | undefined
}

export interface Plan {
  readonly found: Found
  readonly chosen: Chosen
  readonly text: TextPlan | undefined
  readonly missing: readonly Missing[]
  /** What was found and is not used, with the reason. */
  readonly unused: readonly { readonly file: string; readonly reason: string }[]
  /** What a user should know. */
  readonly notes: readonly string[]
  /** What is wrong with the files; parts that are missing are no problem of those that are there. */
  readonly problems: readonly Problem[]
  /** Why no model can be made of the files; `undefined` if one can. */
  readonly error: IConFaceError | undefined
}

/**
 * Looks at files and folders, and says which are used for what.
 *
 * @param configFile  the `iconface.json` that would name them
 * @throws {IConFaceError} as describeWeights does for a file that is named and cannot be read
 */
export function planModel(paths: readonly string[], configFile: string, options: PlanOptions = {}): Plan {
  const found = collect(paths, options)
  const refusals = new Refusals()
  const ambiguous: string[] = []
  const chosen = choose(found, ambiguous)
  for (const message of ambiguous) refusals.add('ERR_ICONFACE_INVALID_ARGUMENT', 'files', message)
  const notes: string[] = []
  const text = refusals.attempt('text encoder', () => planText(found, chosen, options.prompt, notes))
  const used = [...chosen.single.values(), ...chosen.loras]
  const missing = missingParts([...chosen.single.keys(), ...chosen.loras.map(() => 'lora')])
  refusals.addMissing(paths, missing, found.problems)
  const useless = found.candidates.filter(
    ({ named, part, problems }) => named && part.role === 'unknown' && problems.length > 0,
  )
  refusals.addParts([...used, ...useless])
  if (text && refusals.none) refusals.attempt('text encoder', () => checkText(text, chosen))
  if (refusals.none) {
    refusals.attempt('model', () => {
      const config = configOf(chosen, text, configFile, options, notes)
      refusals.addWhole(wholeProblems(config, chosen))
    })
  }
  notes.push(...used.flatMap(({ warnings }) => warnings.map(({ message }) => message)))
  return { found, chosen, text, missing, unused: unusedFiles(found, chosen), notes, ...refusals.result() }
}

/** The configuration that would name the files where they lie, whether they can stay there or not. */
function configOf(
  chosen: Chosen,
  text: TextPlan | undefined,
  configFile: string,
  options: PlanOptions,
  notes: string[],
): ModelConfig {
  const place = ({ part }: ExaminedPart) => ({ role: part.role as Kind, file: part.file, source: part.file })
  const parts = [...chosen.single.values(), ...chosen.loras].map(place)
  // The embeddings that are still to be made lie nowhere yet.
  if (text?.prompt !== undefined) parts.push({ ...place(text.encoder), role: 'prompt' })
  return parseModelConfig(composeConfig(path.dirname(configFile), parts, chosen, text, options, notes), configFile)
}

/** Contradictions between parts that are each valid. */
function wholeProblems(config: ModelConfig, { single }: Chosen): Problem[] {
  const sizesOf = (role: 'transformer' | 'autoencoder' | 'face' | 'prompt') => single.get(role)?.part.sizes as unknown
  const transformer = sizesOf('transformer') as TransformerSizes
  const adapter = config.adapter && examineAdapter(config.adapter, transformer)
  const expected = transformerTensors(transformer)
  const sizes: ModelSizes = {
    transformer,
    autoencoder: sizesOf('autoencoder') as AutoencoderSizes,
    adapter: adapter?.sizes,
    face: sizesOf('face') as FaceSizes | undefined,
    prompt: sizesOf('prompt') as ModelSizes['prompt'],
  }
  return [
    ...(adapter?.problems ?? []),
    ...config.lora.flatMap((lora) => openLora(lora, expected).problems),
    ...crossProblems(config, sizes),
  ]
}

function examineAdapter(
  { file, names, identity }: NonNullable<ModelConfig['adapter']>,
  { hidden, doubleBlocks, singleBlocks }: TransformerSizes,
): { sizes: AdapterSizes | undefined; problems: readonly Problem[] } {
  const naming = adapterTensorsOf(file, names)
  const { tensors } = identity ? naming : withoutIdentity(naming)
  return checkAdapter(tensors, { hidden, blocks: doubleBlocks + singleBlocks })
}

/** Gathers what keeps files from being a model; the first of it is the error. */
class Refusals {
  private readonly problems: Problem[] = []
  private error: IConFaceError | undefined

  get none(): boolean {
    return this.error === undefined
  }

  result(): Pick<Plan, 'problems' | 'error'> {
    return { problems: this.problems, error: this.error }
  }

  add(code: IConFaceErrorCode, part: string, message: string): void {
    this.error ??= new IConFaceError(code, message)
    this.problems.push({ kind: 'config', part, message })
  }

  /** What `action` returns, or its error as a problem of a part. */
  attempt<T>(part: string, action: () => T): T | undefined {
    try {
      return action()
    } catch (error) {
      if (!isIConFaceError(error)) throw error
      this.error ??= error
      this.problems.push({ kind: 'config', part, message: error.message })
      return undefined
    }
  }

  /** Parts that nothing works without. */
  addMissing(paths: readonly string[], missing: readonly Missing[], unread: readonly Problem[]): void {
    const required = missing.filter((one) => one.required)
    if (required.length === 0) return
    const lines = required.map(({ title, cost }) => `\n  ${title}, ${cost}`).join('')
    const others = unread.length > 0 ? `\nfiles that cannot be used:\n${formatProblems(unread)}` : ''
    const message = `${paths.join(', ') || 'nothing'} is not all that a model needs; missing:${lines}${others}`
    this.error ??= new IConFaceError('ERR_ICONFACE_FILE_NOT_FOUND', message)
  }

  addParts(parts: readonly ExaminedPart[]): void {
    const problems = parts.flatMap(({ part, problems }) =>
      problems.map((problem) => ({ ...problem, part: `${part.file}: ${problem.part}` })),
    )
    this.addAll(problems, 'these files cannot be used as they are')
  }

  addWhole(problems: readonly Problem[]): void {
    this.addAll(problems, 'these files do not make one model')
  }

  private addAll(problems: readonly Problem[], what: string): void {
    if (problems.length === 0) return
    this.error ??= new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `${what}:\n${formatProblems(problems)}`)
    this.problems.push(...problems)
  }
}
