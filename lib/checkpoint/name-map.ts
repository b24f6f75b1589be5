/**
 * Adapters whose tensors have other names: a JSON file, which `adapter.names` of iconface.json names, says which is
 * which.
 *
 * ```jsonc
 * {
 *   "rules": [
 *     { "from": "id_encoder.fc1.{x}", "to": "identity.global.in.{x}" },
 *     { "from": "single.{i}.gate", "to": "structure.blocks.{i+5}.gate" },
 *     { "from": "blocks.{i}.kv_up", "to": ["structure.blocks.{i}.key.up.weight", "structure.blocks.{i}.value.up.weight"] },
 *     { "from": ["pool.{i}.k_upper", "pool.{i}.k_lower"], "to": "structure.base.key.weight" }
 *   ],
 *   "ignore": ["ema.{x}", "step"]
 * }
 * ```
 *
 * `{i}`, `{j}`, `{k}` and `{n}` stand for whole numbers, which `{i+5}` raises; any other name in braces stands for one
 * or more letters, digits, `_`, `-` and `.`. A list in `to` receives equal pieces of the rows, a list in `from` is
 * joined row under row. A tensor that no rule fits keeps its name. Further axes of size 1, such as those of queries [1,
 * N, D], are dropped. Nothing is copied: rules move byte ranges.
 */
import { expectation, IConFaceError } from '../errors'
import { readJson } from '../formats/json'
import { cutRows, joinRows, type Naming } from './canonical-names'
import { type NamedTensor, type NamedTensors } from '../formats/named-tensors'

/** A parsed file of names. */
export interface NameMap {
  readonly path: string
  readonly rules: readonly Rule[]
  readonly ignore: readonly Template[]
}

interface Rule {
  readonly from: readonly Template[]
  readonly to: readonly Template[]
}

/** What the placeholders of a template stood for. */
type Captures = ReadonlyMap<string, string>

const MAX_RULES = 10_000
const MAX_TEMPLATE = 512
const NUMBERS = ['i', 'j', 'k', 'n']

/**
 * Reads a file of names.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT` with the rule and what is wrong with it
 */
export function readNameMap(file: string): NameMap {
  const json = readJson(file)
  const fail = (key: string, expected: string, received: unknown): never => {
    const message = `${file}: ${expectation(key, expected, received)}`
    throw new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', message)
  }
  if (!isObject(json)) return fail('the file', 'an object', json)
  const unknown = Object.keys(json).find((key) => !['rules', 'ignore'].includes(key))
  if (unknown !== undefined) fail('the keys', '"rules" and "ignore"', unknown)
  const { rules = [], ignore = [] } = json
  if (!Array.isArray(rules) || rules.length > MAX_RULES) return fail('rules', `a list of at most ${MAX_RULES}`, rules)
  if (!Array.isArray(ignore) || ignore.length > MAX_RULES)
    return fail('ignore', `a list of at most ${MAX_RULES}`, ignore)
  return {
    path: file,
    rules: rules.map((rule, i) => parseRule(rule, (key, ...rest) => fail(`rules[${i}]${key}`, ...rest))),
    ignore: ignore.map((text, i) => Template.parse(text, (...rest) => fail(`ignore[${i}]`, ...rest))),
  }
}

type Fail = (key: string, expected: string, received: unknown) => never

function parseRule(json: unknown, fail: Fail): Rule {
  if (!isObject(json)) return fail('', 'an object with "from" and "to"', json)
  const unknown = Object.keys(json).find((key) => !['from', 'to'].includes(key))
  if (unknown !== undefined) fail('', 'no keys but "from" and "to"', unknown)
  const templates = (key: 'from' | 'to') => {
    const list = Array.isArray(json[key]) ? (json[key] as unknown[]) : [json[key]]
    if (list.length === 0 || list.length > 64) fail(`.${key}`, 'a name, or 1 to 64 of them', json[key])
    return list.map((text) => Template.parse(text, (...rest) => fail(`.${key}`, ...rest)))
  }
  const [from, to] = [templates('from'), templates('to')]
  if (from.length > 1 && to.length > 1) fail('', 'a list in "from" or in "to", not in both', json)
  const names = from[0]!.names
  if (new Set(names).size < names.length) fail('.from', 'each placeholder once', from[0]!.text)
  for (const one of [...from, ...to]) {
    if (one.raised && from.includes(one)) fail('.from', 'placeholders without a sum', one.text)
    const stray = one.names.find((name) => !names.includes(name))
    if (stray !== undefined) fail('', `placeholders of the first "from" (${names.join(', ') || 'it has none'})`, stray)
  }
  for (const one of from.slice(1)) {
    if (one.names.length !== names.length) fail('.from', 'the same placeholders in all of them', one.text)
  }
  return { from, to }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A name with placeholders. */
class Template {
  /** Names of the placeholders, in order. */
  readonly names: readonly string[]
  /** It has a placeholder such as `{i+5}`. */
  readonly raised: boolean
  private readonly pattern: RegExp

  /** @param pieces  literal, placeholder, sum, literal, placeholder, sum, … literal */
  private constructor(
    readonly text: string,
    pieces: readonly (string | undefined)[],
  ) {
    this.names = pieces.filter((_, i) => i % 3 === 1) as string[]
    this.raised = pieces.some((piece, i) => i % 3 === 2 && piece !== undefined)
    const source = pieces.map((piece = '', i) => {
      if (i % 3 === 0) return piece.replace(/[^\w]/g, '\\$&')
      return i % 3 === 2 ? '' : NUMBERS.includes(piece) ? '(\\d{1,9})' : '([\\w.-]+)'
    })
    this.pattern = new RegExp(`^${source.join('')}$`)
  }

  static parse(text: unknown, fail: (expected: string, received: unknown) => never): Template {
    if (typeof text !== 'string' || text === '' || text.length > MAX_TEMPLATE) {
      return fail(`a name of at most ${MAX_TEMPLATE} characters`, text)
    }
    const pieces = text.split(/\{([a-z]+)(\+\d{1,9})?\}/)
    const literals = pieces.filter((_, i) => i % 3 === 0)
    if (/[{}]/.test(literals.join(''))) fail('placeholders such as {i}, {x} or {i+5}', text)
    const template = new Template(text, pieces)
    // One placeholder of unknown length and no digits beside a number: then matching takes no time worth mentioning.
    const words = template.names.filter((name) => !NUMBERS.includes(name))
    if (words.length > 1) fail(`at most one placeholder other than ${NUMBERS.join(', ')}`, text)
    const between = literals.slice(1, -1)
    if (
      between.includes('') ||
      literals.some((one, i) => (i > 0 && /^\d/.test(one)) || (i < literals.length - 1 && /\d$/.test(one)))
    ) {
      fail('something other than digits before and after placeholders', text)
    }
    return template
  }

  match(name: string): Captures | undefined {
    const match = name.length <= 2 * MAX_TEMPLATE ? this.pattern.exec(name) : null
    return match ? new Map(this.names.map((key, i) => [key, match[i + 1]!])) : undefined
  }

  fill(captures: Captures): string {
    return this.text.replace(/\{([a-z]+)(?:\+(\d+))?\}/g, (_, name: string, sum?: string) =>
      sum === undefined ? captures.get(name)! : String(Number(captures.get(name)) + Number(sum)),
    )
  }
}

/** Renames the tensors of an adapter by a map. */
export function applyNameMap(map: NameMap, sources: NamedTensors): Naming {
  const tensors: NamedTensors = new Map()
  const ignored: string[] = []
  const problems: string[] = []
  const put = (name: string, tensor: NamedTensor) => {
    const other = tensors.get(name)
    if (other) problems.push(`${tensor.published} and ${other.published} are both ${name}`)
    else tensors.set(name, tensor)
  }
  for (const [name, tensor] of sources) {
    const fitting = map.rules.flatMap((rule) => fit(rule, name) ?? [])
    if (fitting.length > 1) problems.push(`${name} fits ${fitting.length} rules of ${map.path}`)
    const [first] = fitting
    if (!first) {
      if (map.ignore.some((one) => one.match(name))) ignored.push(name)
      else put(name, matrix(tensor))
    } else if (first.index === 0) {
      const result = place(first.rule, first.captures, sources)
      if (typeof result === 'string') problems.push(result)
      else for (const [target, placed] of result) put(target, placed)
    }
  }
  return { tensors, naming: `those of ${map.path}`, ignored, problems }
}

/** The rule, which of its `from` fits, and what the placeholders stand for. */
function fit(rule: Rule, name: string): { rule: Rule; index: number; captures: Captures } | undefined {
  for (const [index, template] of rule.from.entries()) {
    const captures = template.match(name)
    if (captures) return { rule, index, captures }
  }
  return undefined
}

/** What one rule makes of the tensors that it fits, or what is wrong. */
function place({ from, to }: Rule, captures: Captures, sources: NamedTensors): [string, NamedTensor][] | string {
  const names = from.map((template) => template.fill(captures))
  const parts = names.map((name) => sources.get(name))
  const missing = parts.indexOf(undefined)
  if (missing >= 0) return `${names[missing]} is missing, which ${names[0]} is to be joined with`
  const targets = to.map((template) => template.fill(captures))
  const joined = parts.length === 1 ? matrix(parts[0]!) : joinRows(parts.map((part) => matrix(part!)))
  if (!joined) return `${names.join(', ')} differ in type or width and cannot be joined`
  const pieces = cutRows(joined, targets.length)
  if (!pieces) return `${names[0]} [${joined.shape.join(', ')}] cannot be cut into ${targets.length} equal pieces`
  return targets.map((target, i) => [target, pieces[i]!])
}

/** Without axes of size 1 beyond two; a number as a list of one. */
function matrix(tensor: NamedTensor): NamedTensor {
  let { shape } = tensor
  if (shape.length === 0) shape = [1]
  while (shape.length > 2 && shape[0] === 1) shape = shape.slice(1)
  while (shape.length > 2 && shape.at(-1) === 1) shape = shape.slice(0, -1)
  return { ...tensor, shape }
}
