/**
 * From downloaded files to a model folder: which file is which part, what has to be converted first, and an
 * `iconface.json` that names them where they lie.
 */
import fs from 'node:fs'
import path from 'node:path'
import { checkAborted } from '../util/abort'
import { fileError, IConFaceError, invalid } from '../errors'
import { checkPromptText, checkKnown, namesOf } from '../options'
import { writeWhole } from '../formats/whole-file'
import type { Candidate } from './choose'
import { composeConfig } from './compose-config'
import { CONFIG_NAME, parseModelConfig } from '../checkpoint/config'
import { readJson } from '../formats/json'
import { formatProblems } from '../checkpoint/contract'
import { convertWeights } from './convert'
import { checkSpace } from './disk'
import type { PartDescription } from './findings'
import { examineConfig } from '../checkpoint/open'
import { ADAPTER_CONFIG, CONFIG_METADATA } from '../checkpoint/peft-config'
import { planModel } from './plan'
import type { Preparation, PreparedPart, PrepareOptions } from './preparation'
import { embedPrompts } from './prepare-text'
import { type Kind, TITLES } from '../checkpoint/roles'

const OPTIONS = namesOf<PrepareOptions>({
  name: true,
  adapter: true,
  names: true,
  prompt: true,
  force: true,
  signal: true,
  onProgress: true,
  onEncode: true,
})

/**
 * Makes a model folder. Files stay where they lie and are named by relative path; only PyTorch and fp8 files are
 * written once more, into the folder. A text encoder makes the embeddings of the prompt and of the empty one, unless
 * those are given. `iconface.json` appears last, and only if the model would load.
 *
 * @param paths  files, and folders to look for files in; a file that is named goes before one that was found
 * @throws {IConFaceError} `ERR_ICONFACE_FILE_NOT_FOUND` when a part is missing that nothing works without (the message
 *         says which, and where to get it); `ERR_ICONFACE_INVALID_ARGUMENT` when two files could be the same part, the
 *         prompt is too long, or the folder holds a model; `ERR_ICONFACE_INVALID_CHECKPOINT` with all that is wrong
 *         with the files; `ERR_ICONFACE_UNSUPPORTED` for what this package would compute wrongly; `ERR_ICONFACE_IO`,
 *         `ERR_ICONFACE_ABORTED`
 * @example
 * await prepareModel(['FLUX.2-klein-base-4B', 'FaceIR-LoRA', 'adaface_ir50_ms1mv2.ckpt'], 'models/iconface-4b')
 */
export async function prepareModel(
  paths: readonly string[],
  folder: string,
  options: PrepareOptions = {},
): Promise<Preparation> {
  checkKnown('options', options, OPTIONS)
  const destination = path.resolve(folder)
  const configFile = path.join(destination, CONFIG_NAME)
  if (!options.force && fs.existsSync(configFile)) {
    throw invalid('the folder', 'one without a model (--force replaces its iconface.json)', destination)
  }
  if (options.prompt !== undefined) checkPromptText(options.prompt)
  const plan = planModel(paths, configFile, options)
  if (plan.error) throw plan.error
  const { chosen, text, missing, unused } = plan
  const notes = [...plan.notes]
  const used = [...chosen.single.values(), ...chosen.loras]

  const created: string[] = []
  try {
    checkAborted(options.signal)
    makeFolder(destination, created)
    const convert = new Converter(destination, options, created)
    await convert.plan(used)
    const parts: PreparedPart[] = []
    for (const candidate of used) parts.push(await convert.run(candidate))
    if (text?.prompt !== undefined) parts.push(await embedPrompts(text, parts, destination, options, created))
    const config = composeConfig(destination, parts, chosen, text, options, [])
    checkModel(config, configFile)
    checkAborted(options.signal)
    await writeWhole(configFile, Buffer.from(`${JSON.stringify(config, null, 2)}\n`))
    return { folder: destination, parts, unused, missing, notes }
  } catch (error) {
    for (const file of created.reverse()) removeCreated(file)
    throw error
  }
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
      .filter(({ part }) => part.conversion !== undefined)
      .reduce((sum, { part }) => sum + part.bytes * (part.conversion === 'from fp8' ? 2 : 1), 0)
    if (bytes > 0) checkSpace(this.folder, bytes)
  }

  async run({ part }: Candidate): Promise<PreparedPart> {
    const { role, file: source, naming, prefix, bytes, conversion: converted } = part
    const known = { role: role as Kind, title: TITLES[role as Kind], source, naming, converted }
    if (!converted) return { ...known, file: source, bytes }
    const file = path.join(this.folder, convertedName(part, converted))
    if (!fs.existsSync(file)) this.created.push(file)
    const ignored = new Set(part.ignored)
    const { bytes: written } = await convertWeights(source, file, {
      prefix,
      filter: (name) => !ignored.has(name),
      ...(role === 'lora' && { metadata: keptConfig(source) }),
      signal: this.options.signal,
      onProgress: (progress) => this.options.onProgress?.({ file: path.basename(file), ...progress }),
    })
    return { ...known, file, bytes: written }
  }
}

/** What lies beside a LoRA and says how to merge it goes into the file that takes its place. */
function keptConfig(lora: string): Record<string, string> {
  const file = path.join(path.dirname(lora), ADAPTER_CONFIG)
  return fs.existsSync(file) ? { [CONFIG_METADATA]: JSON.stringify(readJson(file)) } : {}
}

/** Of its source's name; of a file that holds several networks, each gets its own. */
function convertedName({ file, prefix, role }: PartDescription, converted: PreparedPart['converted']): string {
  const stem = path.basename(file).replace(/\.((safetensors|sft)(\.index\.json)?|pt|pth|ckpt|bin)$/i, '')
  const network = prefix === '' ? '' : `-${role.replaceAll(' ', '-')}`
  const type = converted === 'from fp8' ? '-bf16' : ''
  return `${stem.replace(/[-_.]?fp8(_scaled|_e4m3fn)?$/i, '')}${network}${type}.safetensors`
}

/** What was written must be such as would load. */
function checkModel(config: object, configFile: string): void {
  const { problems } = examineConfig(parseModelConfig(config, configFile))
  if (problems.length === 0) return
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
