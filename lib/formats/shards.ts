/**
 * The weights of one network, in one safetensors file or in several: the shards that Hugging Face libraries write,
 * `model-00001-of-00003.safetensors` with a `model.safetensors.index.json` beside them, in a folder of their own.
 */
import fs from 'node:fs'
import path from 'node:path'
import { describeValue, fileError, IConFaceError } from '../errors'
import { statusOf } from '../util/file-status'
import { readJson } from './json'
import { type NamedTensors, sourceTensors } from './named-tensors'
import { openSafetensors, type SafetensorsFile } from './safetensors'

/** An index of Qwen3-4B has 30 kB; the largest published models have some MB. */
const MAX_INDEX_BYTES = 1 << 26
/** Far more than any model in use has. */
const MAX_SHARDS = 1000

/** `.sft` is another ending of the same format. */
const SAFETENSORS = /\.(safetensors|sft)$/i
const INDEX = /\.(safetensors|sft)\.index\.json$/i
const SHARD = /^(.*)-(\d{5})-of-(\d{5})(\.(?:safetensors|sft))$/i

/** The opened weights of one network. */
export interface WeightFiles {
  /** Absolute: the file, or the index. */
  readonly path: string
  readonly files: readonly SafetensorsFile[]
  /** All of them, under the names in the files. */
  readonly tensors: NamedTensors
}

/**
 * Opens weights: a safetensors file, an index, one shard of several (then all of them), or a folder that holds any of
 * these once.
 *
 * @param firstFile  number that the first file gets in byte ranges
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT` when a header or an index is damaged, or shards do not
 *         belong together; `ERR_ICONFACE_FILE_NOT_FOUND` when a shard is missing (the message says which)
 */
export function openWeights(target: string, firstFile = 0): WeightFiles {
  const chosen = weightsPath(target)
  const name = path.basename(chosen)
  if (INDEX.test(name)) return openIndex(chosen, firstFile)
  return SHARD.test(name) ? openNumbered(chosen, firstFile) : openFiles(chosen, [chosen], firstFile)
}

/** The safetensors file or index that `target` stands for; a shard becomes its index, where it has one. */
export function weightsPath(target: string): string {
  const absolute = path.resolve(target)
  const status = statusOf(absolute)
  if (status?.isDirectory()) return weightsOfFolder(absolute)
  const [, stem, , , ending] = SHARD.exec(path.basename(absolute)) ?? []
  if (stem === undefined) return absolute
  const indices = [ending, '.safetensors', '.sft'].map((one) =>
    path.join(path.dirname(absolute), `${stem}${one}.index.json`),
  )
  return indices.find((index) => fs.existsSync(index)) ?? absolute
}

/** The weights that lie in a folder, each once: files, and one path for all shards of a set. */
export function listWeights(folder: string): string[] {
  const names = listFiles(folder).filter((name) => SAFETENSORS.test(name) || INDEX.test(name))
  const indexed = new Set(names.filter((name) => INDEX.test(name)).map((name) => name.replace(INDEX, '')))
  const firsts = new Set<string>()
  const found = names.filter((name) => {
    const [, stem] = SHARD.exec(name) ?? []
    if (stem === undefined) return true
    if (indexed.has(stem) || firsts.has(stem)) return false
    firsts.add(stem)
    return true
  })
  return found.map((name) => path.join(folder, name))
}

function weightsOfFolder(folder: string): string {
  const found = listWeights(folder)
  if (found.length === 1) return found[0]!
  const reason =
    found.length === 0
      ? 'holds no safetensors file'
      : `holds ${found.length} sets of weights (${found.map((one) => path.basename(one)).join(', ')}); name one of them`
  throw new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `${folder} ${reason}`)
}

function listFiles(folder: string): string[] {
  try {
    return fs.readdirSync(folder).sort()
  } catch (cause) {
    throw fileError('read', folder, cause)
  }
}

/** Shards that an index names. */
function openIndex(index: string, firstFile: number): WeightFiles {
  const map = readIndex(index)
  const folder = path.dirname(index)
  const shards = [...new Set(map.values())].sort()
  const missing = shards.filter((name) => !fs.existsSync(path.join(folder, name)))
  if (missing.length > 0) throw missingShards(index, missing, shards.length)
  const opened = openFiles(
    index,
    shards.map((name) => path.join(folder, name)),
    firstFile,
  )
  for (const [name, shard] of map) checkPlace(index, name, shard, opened, firstFile)
  for (const [name, { parts }] of opened.tensors) {
    if (map.has(name)) continue
    const shard = shards[parts[0]!.file - firstFile]!
    throw malformed(
      index,
      `it does not know the tensor ${describeValue(name)} of ${shard}; they are of different models`,
    )
  }
  return opened
}

function checkPlace(index: string, name: string, shard: string, opened: WeightFiles, firstFile: number): void {
  const place = opened.tensors.get(name)?.parts[0]?.file
  const actual = place === undefined ? undefined : path.basename(opened.files[place - firstFile]!.path)
  if (actual === shard) return
  const where = actual === undefined ? 'which does not hold it' : `but it lies in ${actual}`
  throw malformed(
    index,
    `it says that the tensor ${describeValue(name)} lies in ${shard}, ${where}; a file is of another model or an older download`,
  )
}

/** The tensor's name -> the shard's file name, checked. */
function readIndex(index: string): Map<string, string> {
  const json = readJson(index, MAX_INDEX_BYTES)
  const map: unknown = isObject(json) ? json.weight_map : undefined
  if (!isObject(map)) throw malformed(index, 'it has no object "weight_map"')
  const entries = Object.entries(map)
  if (entries.length === 0) throw malformed(index, 'its weight_map is empty')
  for (const [name, shard] of entries) {
    if (typeof shard !== 'string' || !/^[^/\\\0]+\.(safetensors|sft)$/i.test(shard)) {
      const what = 'expected the name of a safetensors file beside it'
      throw malformed(index, `${what} for the tensor ${describeValue(name)} but received ${describeValue(shard)}`)
    }
  }
  const count = new Set(Object.values(map)).size
  if (count > MAX_SHARDS) throw malformed(index, `it names ${count} files, more than ${MAX_SHARDS}`)
  return new Map(entries as [string, string][])
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** All shards of the set that `shard` is of, where there is no index. */
function openNumbered(shard: string, firstFile: number): WeightFiles {
  const [, stem = '', , of = '', ending = ''] = SHARD.exec(path.basename(shard))!
  const count = Number(of)
  if (count < 1 || count > MAX_SHARDS) throw malformed(shard, `its name says that it is one of ${count} files`)
  const names = Array.from({ length: count }, (_, i) => `${stem}-${String(i + 1).padStart(5, '0')}-of-${of}${ending}`)
  const folder = path.dirname(shard)
  const missing = names.filter((name) => !fs.existsSync(path.join(folder, name)))
  if (missing.length > 0) throw missingShards(shard, missing, count)
  return openFiles(
    shard,
    names.map((name) => path.join(folder, name)),
    firstFile,
  )
}

function openFiles(target: string, paths: readonly string[], firstFile: number): WeightFiles {
  const files = paths.map(openSafetensors)
  const tensors: NamedTensors = new Map()
  for (const [i, file] of files.entries()) {
    for (const [name, tensor] of sourceTensors(file.tensors, firstFile + i)) {
      const other = tensors.get(name)
      if (other) {
        const first = path.basename(files[other.parts[0]!.file - firstFile]!.path)
        throw malformed(target, `the tensor ${describeValue(name)} is in ${first} and in ${path.basename(file.path)}`)
      }
      tensors.set(name, tensor)
    }
  }
  return { path: target, files, tensors }
}

function missingShards(target: string, missing: readonly string[], count: number): IConFaceError {
  const shown = missing.slice(0, 3).join(', ') + (missing.length > 3 ? ', …' : '')
  const message = `${target} needs ${count} files, of which ${missing.length} are missing beside it: ${shown}; download them`
  return new IConFaceError('ERR_ICONFACE_FILE_NOT_FOUND', message)
}

function malformed(file: string, reason: string): IConFaceError {
  return new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `${file} cannot be used: ${reason}`)
}
