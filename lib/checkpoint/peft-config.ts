/**
 * `adapter_config.json`, which PEFT writes beside a LoRA and diffusers into its metadata: alpha, and other alphas and
 * ranks for some modules.
 */
import fs from 'node:fs'
import type { RE2JS } from 're2js'
import { describeValue, expectation, IConFaceError } from '../errors'
import { readJson } from '../formats/json'

/** What a LoRA's configuration says. */
export interface PeftConfig {
  /** Where it was read. */
  readonly source: 'adapter_config.json' | 'metadata'
  readonly alpha: number | undefined
  readonly alphaPatterns: readonly Pattern[]
  readonly rankPatterns: readonly Pattern[]
  /** Scaled by the root of the rank (`use_rslora`). */
  readonly rootOfRank: boolean
}

/** A number for the modules whose names match. */
interface Pattern {
  readonly expression: RE2JS
  readonly value: number
}

export const NO_CONFIG: PeftConfig = {
  source: 'metadata',
  alpha: undefined,
  alphaPatterns: [],
  rankPatterns: [],
  rootOfRank: false,
}

export const ADAPTER_CONFIG = 'adapter_config.json'

/** Keys of the metadata: what `prepare` keeps of a file that it converts, and what diffusers writes. */
export const CONFIG_METADATA = 'adapter_config'
const DIFFUSERS_METADATA = 'lora_adapter_metadata'

/** No LoRA in use has nearly as many or as long ones; they bound the time that a file can ask for. */
const MAX_PATTERNS = 4096
const MAX_PATTERN_LENGTH = 1024
/** Of one pattern, and of all: {@link patternCost}. */
const MAX_COST = 4096
const MAX_COST_OF_ALL = 16_384

/**
 * Reads the configuration of a LoRA.
 *
 * @param file      `adapter_config.json` beside its weights, which need not exist
 * @param weights   path and metadata of the weights
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT` for what cannot be understood, `ERR_ICONFACE_UNSUPPORTED`
 *         for another kind of adapter
 */
export function readPeftConfig(
  file: string,
  weights: { readonly path: string; readonly metadata: Readonly<Record<string, string>> },
): PeftConfig {
  if (fs.existsSync(file)) return parse(readJson(file), '', file, 'adapter_config.json')
  for (const [key, prefix] of [
    [CONFIG_METADATA, ''],
    [DIFFUSERS_METADATA, 'transformer.'],
  ] as const) {
    const text = weights.metadata[key]
    if (text === undefined) continue
    const label = `${key} in ${weights.path}`
    return parse(parseJson(text, label), prefix, label, 'metadata')
  }
  return NO_CONFIG
}

function parseJson(text: string, label: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (cause) {
    const message = `${label} is no valid JSON: ${(cause as Error).message}`
    throw new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', message, { cause })
  }
}

function parse(json: unknown, prefix: string, label: string, source: PeftConfig['source']): PeftConfig {
  if (typeof json !== 'object' || json === null) throw unexpected(label, 'the file', 'an object', json)
  const value = (key: string) => (json as Record<string, unknown>)[prefix + key] ?? undefined
  checkOthers(value, label)
  const alpha = value('lora_alpha')
  if (alpha !== undefined && !Number.isFinite(alpha)) throw unexpected(label, '"lora_alpha"', 'a finite number', alpha)
  return {
    source,
    alpha: alpha as number | undefined,
    alphaPatterns: patterns('alpha_pattern', value, label),
    rankPatterns: patterns('rank_pattern', value, label),
    rootOfRank: value('use_rslora') === true,
  }
}

type Value = (key: string) => unknown

/** Throws for a configuration of another adapter than a plain LoRA. */
function checkOthers(value: Value, label: string): void {
  const refuse = (what: string) => {
    throw new IConFaceError('ERR_ICONFACE_UNSUPPORTED', `${label} says ${what}, which cannot be merged as a LoRA`)
  }
  const type = value('peft_type')
  if (typeof type === 'string' && type !== 'LORA')
    refuse(`peft_type ${describeValue(type)}: an adapter of another kind`)
  if (value('use_dora') === true) refuse('use_dora: a DoRA')
  if (value('fan_in_fan_out') === true) refuse('fan_in_fan_out: weights that are transposed')
}

function patterns(key: string, value: Value, label: string): Pattern[] {
  const given = value(key) ?? {}
  if (typeof given !== 'object' || Array.isArray(given) || !Object.values(given).every(Number.isFinite)) {
    throw unexpected(label, `"${key}"`, 'an object of finite numbers', given)
  }
  const entries = Object.entries(given as Record<string, number>)
  if (entries.length > MAX_PATTERNS)
    throw unexpected(label, `"${key}"`, `at most ${MAX_PATTERNS} patterns`, entries.length)
  const heavy = entries.find(([text]) => patternCost(text) > MAX_COST)?.[0]
  if (heavy !== undefined) throw unexpected(label, `"${key}"`, 'a pattern that repeats less', heavy)
  const cost = entries.reduce((sum, [text]) => sum + patternCost(text), 0)
  if (cost > MAX_COST_OF_ALL) throw unexpected(label, `"${key}"`, 'simpler patterns, or fewer', entries[0]![0])
  return entries.map(([text, number]) => ({ expression: compile(text, key, label), value: number }))
}

/**
 * How much there is to try at each character of a name: a pattern's length times what it repeats; nothing for a plain
 * name.
 */
function patternCost(text: string): number {
  if (!/[*+?{}()|[\]]/.test(text)) return 0
  const counts = [...text.matchAll(/\{(\d+)(?:,(\d*))?\}/g)].map(([, least, most]) => Number(most || least))
  return counts.reduce((product, count) => product * Math.max(count, 1), text.length)
}

/**
 * PEFT takes the first pattern for which Python's `re.match(rf"(.*\.)?({pattern})$", name)` holds. RE2 understands the
 * same expressions but for those (looking around, references back) that would make matching take more than linear time.
 */
function compile(text: string, key: string, label: string): RE2JS {
  if (text.length > MAX_PATTERN_LENGTH) {
    throw unexpected(label, `"${key}"`, `patterns of at most ${MAX_PATTERN_LENGTH} characters`, text)
  }
  // Most LoRAs have no patterns, and the library takes a while to load.
  const re2 = require('re2js') as typeof import('re2js')
  try {
    return re2.RE2JS.compile(`^(?:(?:.*\\.)?(?:${text}))$`)
  } catch (cause) {
    const expected = 'regular expressions without looking around and references back'
    const reason = `${expectation(`"${key}"`, expected, text)} (${(cause as Error).message})`
    throw new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `${label}: ${reason}`, { cause })
  }
}

/** The number of the first pattern that `name` matches. */
export function valueFor(patterns: readonly Pattern[], name: string): number | undefined {
  return patterns.find(({ expression }) => expression.matches(name))?.value
}

function unexpected(label: string, key: string, expected: string, received: unknown): IConFaceError {
  const sentence = expectation(key, expected, received)
  return new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `${label}: ${sentence}`)
}
