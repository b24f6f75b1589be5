/**
 * Chooses the parts of a model among files and folders: the candidates for every part, and the one that is taken.
 */
import fs from 'node:fs'
import path from 'node:path'
import { invalid } from '../errors'
import type { Problem } from '../checkpoint/contract'
import { describeWeights, type ExaminedPart, type Finding, isLoadable, type PartDescription } from './findings'
import { notThere } from '../checkpoint/hub-id'
import { isLoraFolder, loraWeights } from '../checkpoint/lora-file'
import { readNameMap } from '../checkpoint/name-map'
import { type Kind, TITLES } from '../checkpoint/roles'
import { isTokenizer, surveyFolder } from './survey'

/** Parts a model has once. */
const SINGLE = ['transformer', 'autoencoder', 'adapter', 'face', 'text encoder', 'prompt'] as const
export type Single = (typeof SINGLE)[number]

/** Weights that could be a part. */
export interface Candidate extends ExaminedPart {
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
  const add = ({ parts }: Finding, named: boolean) => candidates.push(...parts.map((part) => ({ ...part, named })))
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

/**
 * Those of each role that were named, else the one that was found.
 *
 * @param ambiguous  gets a sentence for every role that more files could be than are wanted
 */
export function choose({ candidates }: Found, ambiguous: string[]): Chosen {
  const preferred = (role: Kind, most: number): readonly Candidate[] => {
    const fitting = candidates.filter(({ part }) => part.role === role && isLoadable(part))
    const named = fitting.filter((candidate) => candidate.named)
    const chosen = named.length > 0 ? named : withoutTwins(fitting)
    if (chosen.length > (named.length > 0 ? most : 1)) {
      const files = chosen.map(({ part }) => `\n  ${part.file}`).join('')
      ambiguous.push(`${chosen.length} files could be the ${TITLES[role]}; name the one to use:${files}`)
    }
    return chosen
  }
  const single = new Map<Single, Candidate>()
  for (const role of SINGLE) {
    const [one] = preferred(role, 1)
    if (one) single.set(role, one)
  }
  return { single, loras: preferred('lora', Infinity) }
}

/** Drops candidates that hold the same weights as another candidate. */
function withoutTwins(found: readonly Candidate[]): readonly Candidate[] {
  // A file that would have to be converted is taken for the source of the one that need not be.
  const ready = found.filter(({ part }) => !part.conversion)
  if (ready.length === 1) return ready
  // A diffusers pipeline may hold its transformer once more, as a single file beside model_index.json.
  const inFolders = found.filter(({ part }) => !fs.existsSync(path.join(path.dirname(part.file), 'model_index.json')))
  return inFolders.length === 1 ? inFolders : found
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

function unusedReason({ role, prefix }: PartDescription): string {
  const which = prefix === '' ? '' : ` (names that begin with "${prefix}")`
  if (role === 'test data' || role === 'unknown') return `of no network known here${which}`
  if (role === 'face detector') return `${TITLES[role]}: not part of a model folder, FaceDetector reads it by itself`
  return `${TITLES[role]}${which}: ${SINGLE.includes(role as Single) ? 'another one is used' : 'not part of a model folder'}`
}
