/**
 * `iconface inspect`: what a model folder or a weight file holds, and what is wrong with it.
 */

import { type Description, describePath } from '../prepare/describe'
import { formatProblems } from '../checkpoint/contract'
import type { PartDescription } from '../prepare/findings'
import { TITLES } from '../checkpoint/roles'
import { invalid } from '../errors'
import { findModel } from '../restore'
import { type Command, parse } from './command'
import { print } from './output'
import { missingTable, partRow } from './parts'
import { table } from './terminal'
import { byteSize } from '../util/figures'

export const command: Command = {
  summary: 'say what a model folder or weight file holds, and what is wrong with it',
  usage: `Usage: iconface inspect [<path>] [--all] [--json]

<path> is a folder with iconface.json, or anything that "iconface prepare" could make one of: a folder of downloaded
files, or a single file, safetensors or PyTorch, of a FLUX.2 transformer or autoencoder (Black Forest Labs' or diffusers'
names, whole or in shards, fp8 too), AdaFace, an IConFace adapter, a LoRA, Qwen3-4B, prompt embeddings. Without <path> it is the
model that restore uses: ICONFACE_MODEL, else the package's own small one. Only headers are read, never weights.

  --all    list every problem, not only the first 20
  --json   for programs

The exit code is 1 when there are problems: when a model would not load, or "iconface prepare" would refuse the files.
Parts that are missing are listed, and are no problem of those that are there.
`,
  async run(args) {
    const options = { json: { type: 'boolean', default: false }, all: { type: 'boolean', default: false } } as const
    const { values, positionals } = parse(args, options)
    if (positionals.length > 1) throw invalid('the arguments', 'at most one path', positionals)
    const description = describePath(positionals[0] ?? findModel())
    const limit = values.all ? Infinity : undefined
    print(values.json ? `${JSON.stringify(description, null, 2)}\n` : describeText(description, limit))
    if (description.problems.length > 0) process.exitCode = 1
  },
}

/** The report for people. */
function describeText(
  { path, kind, name, variant, parts, missing, unused, problems, warnings }: Description,
  limit?: number,
): string {
  const heading = kind === 'model' ? `${path}: ${name}` : path
  const rows = variant === undefined ? [] : ([['variant', VARIANTS[variant] ?? variant]] as const)
  const list = kind === 'file' ? '' : `\nparts\n${table(parts.map((part) => partRow(title(part), part, remark(part))))}`
  const sections = parts.map((part) => `\n${title(part)}\n${table(partRows(part, kind !== 'file'))}`)
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
  const lacking = kind === 'folder' && missing.some(({ required }) => required)
  const clean = lacking
    ? 'no problems, but parts are missing that "iconface prepare" has to be given too\n'
    : 'no problems\n'
  const verdict = problems.length === 0 ? clean : `${count}\n${formatProblems(problems, limit)}\n`
  const others =
    unused.length > 0 ? `\nnot used\n${table(unused.map(({ file, reason }) => [`  ${file}`, reason]))}` : ''
  const absent = missing.length > 0 ? `\n${missingTable(missing)}` : ''
  const notes = warnings.length > 0 ? `\nnote\n${warnings.map(({ message }) => `  ${message}\n`).join('')}` : ''
  return `${heading}\n${rows.length > 0 ? table(rows) : ''}${list}${others}${absent}${sections.join('')}${notes}\n${verdict}`
}

/** The rows of the paper's Table 3, in words. */
const VARIANTS: Readonly<Record<string, string>> = {
  Concat: 'Concat (the backbone alone: no identity, no structure pathway)',
  Struct: 'Struct (structure pathway without identity)',
  ID: 'ID (identity pathway without structure)',
  '1-Route': '1-Route (identity and structure, memory without its detail route)',
  Full: 'Full (identity, residual, memory with both routes)',
  Other: 'none of the paper (its combination of parts is not in Table 3)',
}

/** What one part is called, with the prefix that its names have in files of reference tensors. */
export function title({ role, prefix }: PartDescription): string {
  const name = role === 'test data' ? 'test data' : TITLES[role]
  return prefix === '' ? name : `${name} (names begin with "${prefix}")`
}

/** What has to be done before a model can name it. */
function remark({ conversion }: PartDescription): string | undefined {
  if (conversion === undefined) return undefined
  return conversion === 'from fp8'
    ? '"iconface prepare" makes bf16 of it'
    : '"iconface prepare" makes safetensors of it'
}

function partRows(part: PartDescription, withFile: boolean): (readonly [string, string])[] {
  const types = Object.entries(part.dtypes).map(([dtype, count]) => `${count} ${dtype}`)
  const rows: (readonly [string, string])[] = []
  if (withFile) rows.push(['  file', part.file])
  rows.push(['  tensors', `${part.tensors} (${types.join(', ')}), ${part.parameters} values, ${byteSize(part.bytes)}`])
  if (part.naming !== title(part) && part.role !== 'unknown') rows.push(['  names', part.naming])
  if (part.ignored.length > 0) rows.push(['  not needed', `${part.ignored.length} tensors, such as ${part.ignored[0]}`])
  if (remark(part) !== undefined) rows.push(['  stored', `${part.conversion!.slice('from '.length)}: ${remark(part)}`])
  for (const [key, value] of Object.entries(part.sizes)) rows.push([`  ${key}`, sizeText(value)])
  return rows
}

function sizeText(value: unknown): string {
  return Array.isArray(value) ? value.join(', ') : typeof value === 'boolean' ? (value ? 'yes' : 'no') : String(value)
}
