/**
 * What a model folder, any other folder or a single file of weights is, for people: `iconface inspect`.
 */
import fs from 'node:fs'
import path from 'node:path'
import { IConFaceError, isIConFaceError } from '../errors'
import { statusOf } from '../util/file-status'
import { openTextEncoder, tokenizerFile } from '../text/encoder'
import { CONFIG_NAME, type TextEncoderConfig } from '../checkpoint/config'
import { adapterVariant, type Problem } from '../checkpoint/contract'
import type { AdapterSizes } from '../checkpoint/expected'
import { describeWeights, type PartDescription, totals } from './findings'
import { notThere } from '../checkpoint/hub-id'
import { examineCheckpoint, type PartReport } from '../checkpoint/open'
import { isLoraFolder, loraWeights } from '../checkpoint/lora-file'
import { TITLES } from '../checkpoint/roles'
import type { IConFaceWarning } from '../warning'
import { planModel } from './plan'
import { type Missing, missingParts } from './survey'

export interface Description {
  readonly path: string
  readonly kind: 'model' | 'folder' | 'file'
  /** Of a model, or of a file with an adapter: the row of the paper's Table 3. */
  readonly variant: string | undefined
  readonly name: string | undefined
  readonly parts: readonly PartDescription[]
  /** Of a model or folder: the parts that are not there, and what that costs. */
  readonly missing: readonly Missing[]
  /** Of a folder: what `prepare` would not use, with the reason. */
  readonly unused: readonly { readonly file: string; readonly reason: string }[]
  /** What keeps a model from loading, or `prepare` from using the files. */
  readonly problems: readonly Problem[]
  /** What a user should know. */
  readonly warnings: readonly IConFaceWarning[]
}

/**
 * Describes a folder with `iconface.json`, any other folder with weights in it, or weights: a safetensors or PyTorch
 * file, the index of several.
 *
 * @throws `IConFaceError` when a named file is missing or holds no weights at all; everything else is in `problems`
 */
export function describePath(target: string): Description {
  const absolute = path.resolve(target)
  const status = statusOf(absolute)
  if (!status) throw notThere(target, absolute)
  if (!status.isDirectory()) return describeFile(absolute)
  if (fs.existsSync(path.join(absolute, CONFIG_NAME))) return describeModel(absolute)
  return isLoraFolder(absolute) ? describeFile(loraWeights(absolute)) : describeFolder(absolute)
}

function describeModel(folder: string): Description {
  const { config, parts, problems, warnings, sizes } = examineCheckpoint(folder)
  const describe = ({ role, path, files, naming, ignored }: PartReport): PartDescription => ({
    role,
    file: path,
    naming,
    prefix: '',
    ...totals(files.flatMap(({ tensors }) => [...tensors.values()])),
    ignored,
    sizes: role === 'lora' ? {} : { ...sizes[role] },
  })
  const variant = config.adapter && !sizes.adapter ? undefined : adapterVariant(sizes.adapter)
  const text = config.textEncoder && describeTextEncoder(config.textEncoder)
  const described = [...parts.map(describe), ...(text?.parts ?? [])]
  return {
    path: folder,
    kind: 'model',
    variant,
    name: config.name,
    parts: described,
    missing: missingParts(described.map(({ role }) => role)),
    unused: [],
    problems: [...problems, ...(text?.problems ?? [])],
    warnings,
  }
}

/**
 * The text encoder, which a model opens only for a prompt that it does not know: what is wrong with it is said here.
 */
function describeTextEncoder({ file, ...settings }: TextEncoderConfig): {
  parts: readonly PartDescription[]
  problems: readonly Problem[]
} {
  try {
    const own = describeWeights(file).parts.filter(({ part }) => part.role === 'text encoder')
    const problems = own.flatMap((one) => one.problems)
    if (problems.length === 0) tokenizerFile(openTextEncoder(file, settings).weights, settings)
    return { parts: own.map(({ part }) => part), problems }
  } catch (error) {
    if (!isIConFaceError(error)) throw error
    return { parts: [], problems: [{ kind: 'file', part: 'text encoder', message: error.message }] }
  }
}

function describeFolder(folder: string): Description {
  const plan = planModel([folder], path.join(folder, CONFIG_NAME))
  const { found, missing, unused, problems } = plan
  if (found.candidates.length + found.problems.length === 0) {
    const message = `${folder} holds no ${CONFIG_NAME} and no weights (safetensors, .pth, .ckpt)`
    throw new IConFaceError('ERR_ICONFACE_FILE_NOT_FOUND', message)
  }
  const roles = Object.keys(TITLES)
  const parts = found.candidates.map(({ part }) => part).sort((a, b) => roles.indexOf(a.role) - roles.indexOf(b.role))
  const warnings = found.candidates.flatMap((candidate) => candidate.warnings)
  return {
    path: folder,
    kind: 'folder',
    variant: undefined,
    name: undefined,
    parts,
    missing,
    unused,
    problems,
    warnings,
  }
}

function describeFile(target: string): Description {
  const { path, parts } = describeWeights(target)
  const adapter = parts.find(({ part }) => part.role === 'adapter')?.part
  const complete = adapter && Object.keys(adapter.sizes).length > 0
  return {
    path,
    kind: 'file',
    variant: complete ? adapterVariant(adapter.sizes as unknown as AdapterSizes) : undefined,
    name: undefined,
    parts: parts.map(({ part }) => part),
    missing: [],
    unused: [],
    problems: parts.flatMap(({ problems }) => problems),
    warnings: parts.flatMap(({ warnings }) => warnings),
  }
}
