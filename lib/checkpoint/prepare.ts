/**
 * From downloaded files to a model folder: which file is which part, what has to be converted first, and an
 * `iconface.json` that names them where they lie.
 */
import fs from 'node:fs'
import path from 'node:path'
import { fileError, IConFaceError, invalid } from '../errors'
import { CONFIG_NAME, FORMAT, parseModelConfig, readJson } from './config'
import { formatProblems, type Problem } from './contract'
import { convertWeights } from './convert'
import { checkSpace } from './disk'
import type { TransformerSizes } from './expected'
import { describeWeights, type Finding, type PartDescription } from './findings'
import { examineConfig, type ModelSizes } from './layout'
import { isLoraFolder, loraWeights } from './lora'
import { readNameMap } from './name-map'
import { type Kind, TITLES } from './recognise'
import { type Missing, missingParts, surveyFolder } from './survey'

export interface PrepareOptions {
  /** Of the model, for people. Default: the folder's. */
  readonly name?: string
  /** The adapter's file, where its tensors have other names, and the file that says which (name-map.ts). */
  readonly adapter?: string
  readonly names?: string
  /** Replace an `iconface.json` that is there. */
  readonly force?: boolean
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: { file: string; bytes: number; totalBytes: number }) => void
}

/** A part of the model, and what was done about it. */
export interface PreparedPart {
  readonly role: Kind
  readonly title: string
  /** What was given: absolute. */
  readonly source: string
  /** What `iconface.json` names: absolute. */
  readonly file: string
  readonly naming: string
  /** Why `file` is not `source`. */
  readonly converted: 'from fp8' | 'from PyTorch' | undefined
  readonly bytes: number
}

/** What {@link prepareModel} did. */
export interface Preparation {
  readonly folder: string
  readonly parts: readonly PreparedPart[]
  /** What was found and is not used, with the reason. */
  readonly unused: readonly { readonly file: string; readonly reason: string }[]
  readonly missing: readonly Missing[]
  /** What a user should know. */
  readonly notes: readonly string[]
}

/** Parts a model has once. */
const SINGLE = ['transformer', 'autoencoder', 'adapter', 'face', 'prompt'] as const
type Single = (typeof SINGLE)[number]

/**
 * Makes a model folder. Files stay where they lie and are named by relative path; only PyTorch and fp8 files are written
 * once more, into the folder. `iconface.json` appears last, and only if the model would load.
 *
 * @param paths  files, and folders to look for files in; a file that is named goes before one that was found
 * @throws {IConFaceError} `ERR_ICONFACE_FILE_NOT_FOUND` when a part is missing that nothing works without (the message
 *         says which, and where to get it); `ERR_ICONFACE_INVALID_ARGUMENT` when two files could be the same part, or
 *         the folder holds a model; `ERR_ICONFACE_INVALID_CHECKPOINT` with all that is wrong with the files;
 *         `ERR_ICONFACE_IO`, `ERR_ICONFACE_ABORTED`
 * @example
 * await prepareModel(['FLUX.2-klein-base-4B', 'FaceIR-LoRA', 'adaface_ir50_ms1mv2.ckpt'], 'models/iconface-4b')
 */
export async function prepareModel(
  paths: readonly string[],
  folder: string,
  options: PrepareOptions = {},
): Promise<Preparation> {
  const destination = path.resolve(folder)
  const configFile = path.join(destination, CONFIG_NAME)
  if (!options.force && fs.existsSync(configFile)) {
    throw invalid('the folder', 'one without a model (--force replaces its iconface.json)', destination)
  }
  const found = collect(paths, options)
  const chosen = choose(found)
  const roles = [...chosen.single.keys(), ...chosen.loras.map(() => 'lora')]
  const missing = missingParts(roles)
  refuseIncomplete(paths, missing, found.problems)
  refuseProblems([...chosen.single.values(), ...chosen.loras])

  const created: string[] = []
  try {
    makeFolder(destination, created)
    const convert = new Converter(destination, options, created)
    await convert.plan([...chosen.single.values(), ...chosen.loras])
    const parts: PreparedPart[] = []
    for (const candidate of [...chosen.single.values(), ...chosen.loras]) parts.push(await convert.run(candidate))
    const { config, notes } = describeModel(destination, parts, chosen, options)
    checkModel(config, configFile)
    writeAtOnce(configFile, `${JSON.stringify(config, null, 2)}\n`)
    return { folder: destination, parts, unused: unusedFiles(found, chosen), missing, notes }
  } catch (error) {
    for (const file of created.reverse()) removeCreated(file)
    throw error
  }
}

// Finding -------------------------------------------------------------------------------------------------------------

/** Weights that could be a part. */
interface Candidate {
  readonly part: PartDescription
  readonly problems: readonly Problem[]
  /** Its file was named, not found in a folder. */
  readonly named: boolean
}

interface Found {
  readonly candidates: readonly Candidate[]
  /** Files in folders that cannot be read. */
  readonly problems: readonly Problem[]
}

function collect(paths: readonly string[], { adapter, names }: PrepareOptions): Found {
  if (names !== undefined && adapter === undefined) throw invalid('adapter', 'the file that the names are for', adapter)
  const candidates: Candidate[] = []
  const problems: Problem[] = []
  const add = ({ parts, problems }: Finding, named: boolean) => {
    for (const part of parts) candidates.push({ part, problems, named })
  }
  if (adapter !== undefined) add(describeWeights(adapter, names === undefined ? undefined : readNameMap(names)), true)
  for (const target of paths) {
    if (!fs.existsSync(target)) throw fileError('read', path.resolve(target), { code: 'ENOENT' })
    if (!fs.statSync(target).isDirectory()) add(describeWeights(target), true)
    else if (isLoraFolder(target)) add(describeWeights(loraWeights(target)), true)
    else {
      const survey = surveyFolder(path.resolve(target))
      survey.findings.forEach((finding) => add(finding, false))
      problems.push(...survey.problems)
    }
  }
  return { candidates: withoutRepeats(candidates), problems }
}

/** A file that is named and lies in a folder that is named too counts once. */
function withoutRepeats(candidates: readonly Candidate[]): Candidate[] {
  const seen = new Map<string, Candidate>()
  for (const candidate of candidates) {
    const key = `${fs.realpathSync(candidate.part.file)}\0${candidate.part.prefix}`
    if (!seen.has(key) || candidate.named) seen.set(key, candidate)
  }
  return [...seen.values()]
}

interface Chosen {
  readonly single: ReadonlyMap<Single, Candidate>
  readonly loras: readonly Candidate[]
}

function choose({ candidates }: Found): Chosen {
  const single = new Map<Single, Candidate>()
  for (const role of SINGLE) {
    const [one] = preferNamed(role, candidates, 1)
    if (one) single.set(role, one)
  }
  return { single, loras: preferNamed('lora', candidates, Infinity) }
}

/** Those of a role that were named, else the one that was found; two that were found are one too many. */
function preferNamed(role: Kind, candidates: readonly Candidate[], most: number): Candidate[] {
  const fitting = candidates.filter(({ part }) => part.role === role && part.prefix === '')
  const named = fitting.filter((candidate) => candidate.named)
  // Of two that were found, one that has to be converted is taken for what the other was made of.
  const ready = fitting.filter(({ problems }) => !conversion(problems))
  const chosen = named.length > 0 ? named : ready.length === 1 ? ready : fitting
  if (chosen.length <= (named.length > 0 ? most : 1)) return chosen
  const files = chosen.map(({ part }) => `\n  ${part.file}`).join('')
  const what = `${chosen.length} files could be the ${TITLES[role]}; name the one to use:${files}`
  throw new IConFaceError('ERR_ICONFACE_INVALID_ARGUMENT', what)
}

function refuseIncomplete(paths: readonly string[], missing: readonly Missing[], problems: readonly Problem[]): void {
  const required = missing.filter((one) => one.required)
  if (required.length === 0) return
  const lines = required.map(({ title, cost }) => `\n  ${title}, ${cost}`).join('')
  const unread = problems.length > 0 ? `\nfiles that cannot be used:\n${formatProblems(problems)}` : ''
  const message = `${paths.join(', ') || 'nothing'} is not all that a model needs; missing:${lines}${unread}`
  throw new IConFaceError('ERR_ICONFACE_FILE_NOT_FOUND', message)
}

/** What has to be converted is no problem here; everything else is. */
function refuseProblems(candidates: readonly Candidate[]): void {
  const problems = candidates.flatMap(({ part, problems }) =>
    problems
      .filter(({ kind }) => kind !== 'conversion')
      .map((problem) => ({ ...problem, part: `${part.file}: ${problem.part}` })),
  )
  if (problems.length === 0) return
  const message = `these files cannot be used as they are:\n${formatProblems(problems)}`
  throw new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', message)
}

function unusedFiles({ candidates, problems }: Found, { single, loras }: Chosen): Preparation['unused'] {
  const used = new Set<Candidate>([...single.values(), ...loras])
  const others = candidates.filter((candidate) => !used.has(candidate))
  return [
    ...others.map(({ part }) => ({ file: part.file, reason: unusedReason(part) })),
    ...problems.map(({ part, message }) => ({ file: part, reason: message })),
  ]
}

function unusedReason({ role }: PartDescription): string {
  if (role === 'test data' || role === 'unknown') return 'of no network known here'
  if (role === 'face detector') return `${TITLES[role]}: this version finds no faces, photos have to be cropped before`
  return `${TITLES[role]}: ${SINGLE.includes(role as Single) ? 'another one was named' : 'not part of a model folder'}`
}

// Converting ----------------------------------------------------------------------------------------------------------

/** Writes what cannot be mapped as it lies once more. */
class Converter {
  constructor(
    private readonly folder: string,
    private readonly options: PrepareOptions,
    private readonly created: string[],
  ) {}

  /** @throws {IConFaceError} `ERR_ICONFACE_IO` when the disk is too small for all of it */
  async plan(candidates: readonly Candidate[]): Promise<void> {
    const bytes = candidates
      .filter(({ problems }) => conversion(problems))
      .reduce((sum, { part, problems }) => sum + part.bytes * (conversion(problems) === 'from fp8' ? 2 : 1), 0)
    if (bytes > 0) checkSpace(this.folder, bytes)
  }

  async run({ part, problems }: Candidate): Promise<PreparedPart> {
    const { role, file: source, naming, bytes } = part
    const converted = conversion(problems)
    const known = { role: role as Kind, title: TITLES[role as Kind], source, naming, converted }
    if (!converted) return { ...known, file: source, bytes }
    const file = path.join(this.folder, convertedName(source, converted))
    if (!fs.existsSync(file)) this.created.push(file)
    const ignored = new Set(part.ignored)
    const { bytes: written } = await convertWeights(source, file, {
      filter: (name) => !ignored.has(name),
      signal: this.options.signal,
      onProgress: (progress) => this.options.onProgress?.({ file: path.basename(file), ...progress }),
    })
    return { ...known, file, bytes: written }
  }
}

function conversion(problems: readonly Problem[]): PreparedPart['converted'] {
  const needed = problems.find(({ kind }) => kind === 'conversion')
  if (!needed) return undefined
  return /PyTorch/.test(needed.message) ? 'from PyTorch' : 'from fp8'
}

function convertedName(source: string, converted: PreparedPart['converted']): string {
  const stem = path.basename(source).replace(/\.(safetensors(\.index\.json)?|pt|pth|ckpt|bin)$/, '')
  return `${stem.replace(/[-_.]?fp8(_scaled|_e4m3fn)?$/i, '')}${converted === 'from fp8' ? '-bf16' : ''}.safetensors`
}

// iconface.json -------------------------------------------------------------------------------------------------------

function describeModel(folder: string, parts: readonly PreparedPart[], chosen: Chosen, options: PrepareOptions) {
  const notes: string[] = []
  const file = (role: Single) => relative(folder, parts.find((part) => part.role === role)!.file)
  const has = (role: Single) => chosen.single.has(role)
  const transformer = chosen.single.get('transformer')!.part
  const adapter = chosen.single.get('adapter')?.part
  const identity = has('face') || !adapter?.sizes.identity ? {} : { identity: false }
  if (!/base/i.test(transformer.file) && /klein/i.test(transformer.file)) {
    notes.push(
      `${transformer.file} does not say "base": the distilled klein has the same shapes and cannot be told apart by them, and IConFace needs the base model`,
    )
  }
  const config = {
    format: FORMAT,
    name: options.name ?? path.basename(folder),
    transformer: { file: file('transformer'), ...ropeOf(transformer, notes) },
    autoencoder: { file: file('autoencoder'), ...groupsOf(chosen.single.get('autoencoder')!.part) },
    ...(adapter && {
      adapter: {
        file: file('adapter'),
        ...(options.names === undefined ? {} : { names: relative(folder, path.resolve(options.names)) }),
        ...identity,
      },
    }),
    ...(chosen.loras.length > 0 && {
      lora: parts
        .filter(({ role }) => role === 'lora')
        .map((part) => ({ file: relative(folder, part.file), strength: 1 })),
    }),
    ...(has('face') && { identity: { file: file('face') } }),
    prompt: { file: file('prompt') },
  }
  return { config, notes }
}

/** With `/` on every system. */
function relative(folder: string, file: string): string {
  return path.relative(folder, file).split(path.sep).join('/')
}

/** The `config.json` that diffusers puts beside weights. */
function diffusersConfig(file: string): Record<string, unknown> {
  const config = path.join(path.dirname(file), 'config.json')
  const json = fs.existsSync(config) ? readJson(config) : undefined
  return typeof json === 'object' && json !== null && '_class_name' in json ? (json as Record<string, unknown>) : {}
}

/** The rotary embedding, where it is not the published one. */
function ropeOf({ file, sizes }: PartDescription, notes: string[]): { ropeAxes?: unknown; ropeTheta?: unknown } {
  const { headDim } = sizes as unknown as TransformerSizes
  const { axes_dims_rope: ropeAxes, rope_theta: ropeTheta } = diffusersConfig(file)
  if (ropeAxes !== undefined) return { ropeAxes, ...(ropeTheta === undefined ? {} : { ropeTheta }) }
  if (headDim === 128) return {}
  notes.push(`heads of ${headDim} values: ropeAxes is assumed to be four times ${headDim / 4}`)
  return { ropeAxes: Array.from({ length: 4 }, () => headDim / 4) }
}

/** The groups of GroupNorm, where diffusers says them. */
function groupsOf({ file }: PartDescription): { groups?: unknown } {
  const { norm_num_groups: groups } = diffusersConfig(file)
  return groups === undefined ? {} : { groups }
}

/** The model must be such as would load. */
function checkModel(config: object, configFile: string): ModelSizes {
  const { problems, sizes } = examineConfig(parseModelConfig(config, configFile))
  if (problems.length === 0) return sizes
  const message = `these files do not make one model:\n${formatProblems(problems)}`
  throw new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', message)
}

// Files ---------------------------------------------------------------------------------------------------------------

function makeFolder(folder: string, created: string[]): void {
  try {
    const first = fs.mkdirSync(folder, { recursive: true })
    if (first !== undefined) created.push(folder)
  } catch (cause) {
    throw fileError('create', folder, cause)
  }
}

/** Removes a file, or a folder if nothing else is in it. */
function removeCreated(file: string): void {
  try {
    if (fs.statSync(file).isDirectory()) fs.rmdirSync(file)
    else fs.rmSync(file)
  } catch {
    // It was not written in the end, or somebody else put something in it.
  }
}

function writeAtOnce(file: string, text: string): void {
  const temporary = `${file}.${process.pid}.partial`
  try {
    fs.writeFileSync(temporary, text)
    fs.renameSync(temporary, file)
  } catch (cause) {
    fs.rmSync(temporary, { force: true })
    throw fileError('write', file, cause)
  }
}
