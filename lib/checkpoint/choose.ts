/**
 * The parts of a model among files and folders: which could be which, and which are taken.
 */
import fs from 'node:fs'
import path from 'node:path'
import { IConFaceError, invalid } from '../errors'
import type { IConFaceWarning } from '../warning'
import { formatProblems, type Problem } from './contract'
import { describeWeights, type Finding, type PartDescription } from './findings'
import { notThere } from './hub-id'
import { isLoraFolder, loraWeights } from './lora-file'
import { readNameMap } from './name-map'
import { type Kind, TITLES } from './recognise'
import { isTokenizer, type Missing, surveyFolder } from './survey'

/** Parts a model has once. */
const SINGLE = ['transformer', 'autoencoder', 'adapter', 'face', 'text encoder', 'prompt'] as const
export type Single = (typeof SINGLE)[number]

/** Weights that could be a part. */
export interface Candidate {
  readonly part: PartDescription
  readonly problems: readonly Problem[]
  readonly warnings: readonly IConFaceWarning[]
  /** Its file was named, not found in a folder. */
  readonly named: boolean
}

/** A `tokenizer.json`. */
export interface Tokenizer {
  readonly file: string
  readonly named: boolean
}

export interface Found {
  readonly candidates: readonly Candidate[]
  /** Files in folders that cannot be read. */
  readonly problems: readonly Problem[]
  readonly tokenizers: readonly Tokenizer[]
}

/** What lies at `paths`, and the adapter that has other names. */
export function collect(
  paths: readonly string[],
  { adapter, names }: { readonly adapter?: string; readonly names?: string },
): Found {
  if (names !== undefined && adapter === undefined) throw invalid('adapter', 'the file that the names are for', adapter)
  const candidates: Candidate[] = []
  const problems: Problem[] = []
  const tokenizers: Tokenizer[] = []
  const add = ({ parts, problems, warnings }: Finding, named: boolean) => {
    for (const part of parts) candidates.push({ part, problems, warnings, named })
  }
  if (adapter !== undefined) add(describeWeights(adapter, names === undefined ? undefined : readNameMap(names)), true)
  for (const target of paths) {
    if (!fs.existsSync(target)) throw notThere(target, path.resolve(target))
    if (isTokenizer(target)) tokenizers.push({ file: path.resolve(target), named: true })
    else if (!fs.statSync(target).isDirectory()) add(describeWeights(target), true)
    else if (isLoraFolder(target)) add(describeWeights(loraWeights(target)), true)
    else {
      const survey = surveyFolder(path.resolve(target))
      survey.findings.forEach((finding) => add(finding, false))
      problems.push(...survey.problems)
      survey.tokenizers.forEach((file) => tokenizers.push({ file, named: false }))
    }
  }
  return { candidates: withoutRepeats(candidates), problems, tokenizers }
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

/** The candidates that are taken; a LoRA is the only part of which there may be several. */
export interface Chosen {
  readonly single: Map<Single, Candidate>
  readonly loras: readonly Candidate[]
}

export function choose({ candidates }: Found): Chosen {
  const single = new Map<Single, Candidate>()
  for (const role of SINGLE) {
    const [one] = preferNamed(role, candidates, 1)
    if (one) single.set(role, one)
  }
  return { single, loras: preferNamed('lora', candidates, Infinity) }
}

/** Those of a role that were named, else the one that was found; two that were found are one too many. */
function preferNamed(role: Kind, candidates: readonly Candidate[], most: number): readonly Candidate[] {
  const fitting = candidates.filter(({ part }) => part.role === role && part.prefix === '')
  const named = fitting.filter((candidate) => candidate.named)
  const chosen = named.length > 0 ? named : withoutTwins(fitting)
  if (chosen.length <= (named.length > 0 ? most : 1)) return chosen
  const files = chosen.map(({ part }) => `\n  ${part.file}`).join('')
  const what = `${chosen.length} files could be the ${TITLES[role]}; name the one to use:${files}`
  throw new IConFaceError('ERR_ICONFACE_INVALID_ARGUMENT', what)
}

/** Without what holds the same weights as another one that was found does. */
function withoutTwins(found: readonly Candidate[]): readonly Candidate[] {
  // What has to be converted is taken for what the other was made of.
  const ready = found.filter(({ problems }) => !conversion(problems))
  if (ready.length === 1) return ready
  // A diffusers pipeline may hold its transformer once more, as a single file beside model_index.json.
  const inFolders = found.filter(({ part }) => !fs.existsSync(path.join(path.dirname(part.file), 'model_index.json')))
  return inFolders.length === 1 ? inFolders : found
}

/** Throws when a part is missing that nothing works without. */
export function refuseIncomplete(
  paths: readonly string[],
  missing: readonly Missing[],
  problems: readonly Problem[],
): void {
  const required = missing.filter((one) => one.required)
  if (required.length === 0) return
  const lines = required.map(({ title, cost }) => `\n  ${title}, ${cost}`).join('')
  const unread = problems.length > 0 ? `\nfiles that cannot be used:\n${formatProblems(problems)}` : ''
  const message = `${paths.join(', ') || 'nothing'} is not all that a model needs; missing:${lines}${unread}`
  throw new IConFaceError('ERR_ICONFACE_FILE_NOT_FOUND', message)
}

/** Throws when something keeps the files from being used. What has to be converted is no problem here; everything else is. */
export function refuseProblems(candidates: readonly Candidate[]): void {
  const problems = candidates.flatMap(({ part, problems }) =>
    problems
      .filter(({ kind }) => kind !== 'conversion')
      .map((problem) => ({ ...problem, part: `${part.file}: ${problem.part}` })),
  )
  if (problems.length === 0) return
  const message = `these files cannot be used as they are:\n${formatProblems(problems)}`
  throw new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', message)
}

/** What was found and is not taken. */
export function unusedFiles(
  { candidates, problems }: Found,
  { single, loras }: Chosen,
): { readonly file: string; readonly reason: string }[] {
  const used = new Set<Candidate>([...single.values(), ...loras])
  const others = candidates.filter((candidate) => !used.has(candidate))
  return [
    ...others.map(({ part }) => ({ file: part.file, reason: unusedReason(part) })),
    ...problems.map(({ part, message }) => ({ file: part, reason: message })),
  ]
}

function unusedReason({ role }: PartDescription): string {
  if (role === 'test data' || role === 'unknown') return 'of no network known here'
  if (role === 'face detector') return `${TITLES[role]}: not part of a model folder, FaceDetector reads it by itself`
  return `${TITLES[role]}: ${SINGLE.includes(role as Single) ? 'another one is used' : 'not part of a model folder'}`
}

/** Why weights have to be written once more. */
export function conversion(problems: readonly Problem[]): 'from fp8' | 'from PyTorch' | undefined {
  const needed = problems.find(({ kind }) => kind === 'conversion')
  if (!needed) return undefined
  return /PyTorch/.test(needed.message) ? 'from PyTorch' : 'from fp8'
}
