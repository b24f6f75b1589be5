/**
 * The cache that all Hugging Face libraries share:
 *
 *     <cache>/models--<owner>--<name>/blobs/<checksum>                     the content
 *                                    /snapshots/<commit>/<path>           links to it
 *                                    /refs/<revision>                      the commit that a branch or tag meant
 *                                    /.iconface/<commit>.json              ours: which files the commit has
 *
 * It is `HF_HUB_CACHE`, else `HF_HOME/hub`, else `huggingface/hub` in `XDG_CACHE_HOME` or `~/.cache`. With
 * `HF_HUB_OFFLINE` it is all there is. Format: https://huggingface.co/docs/hub/local-cache
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileError, IConFaceError } from '../errors'
import { statusOf } from '../util/file-status'
import { writeWhole } from '../formats/whole-file'
import { readJson } from '../formats/json'
import type { Checksum } from './download'

/** A file of a repository. */
export interface HubFile {
  readonly path: string
  readonly bytes: number
  readonly checksum: Checksum
}

/** What is wanted of a repository: `owner/name`, `owner/name@revision`, `owner/name:path`. */
export interface Wanted {
  readonly repo: string
  readonly revision: string
  /** A file or a folder in it; absent: all weights. */
  readonly path: string | undefined
}

/** A repository's list of files is some MB at most. */
const MAX_LIST_BYTES = 1 << 26

// Places --------------------------------------------------------------------------------------------------------------

/** Where Hugging Face libraries keep the token and, in `hub`, the cache. */
export function hubHome(): string {
  const { HF_HOME, XDG_CACHE_HOME } = process.env
  return expand(HF_HOME || path.join(XDG_CACHE_HOME || path.join(os.homedir(), '.cache'), 'huggingface'))
}

/** The folder of a repository in the cache. */
export function storageOf(repo: string, cacheDir: string | undefined): string {
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE } = process.env
  const cache = cacheDir ?? expand(HF_HUB_CACHE || HUGGINGFACE_HUB_CACHE || path.join(hubHome(), 'hub'))
  return path.resolve(cache, `models--${repo.replaceAll('/', '--')}`)
}

/** `~` is the home, as it is in these variables for Python. */
function expand(folder: string): string {
  return folder.replace(/^~(?=$|\/)/, () => os.homedir())
}

/** Where the content of a file lies, whatever it is called. */
export function blobPath(storage: string, { checksum }: HubFile): string {
  return path.join(storage, 'blobs', checksum.hex)
}

/** Content gets its name only when it has been checked, so its size is enough here. */
export function isComplete(blob: string, bytes: number): boolean {
  const status = statusOf(blob)
  return status !== undefined && status.size === bytes
}

export function snapshotPath(storage: string, commit: string): string {
  return path.join(storage, 'snapshots', commit)
}

// Writing -------------------------------------------------------------------------------------------------------------

/** A relative link from a snapshot to content. */
export function linkFile(storage: string, commit: string, file: HubFile): void {
  const pointer = path.join(snapshotPath(storage, commit), file.path)
  makeFolder(path.dirname(pointer))
  try {
    fs.rmSync(pointer, { force: true })
    fs.symlinkSync(path.relative(path.dirname(pointer), blobPath(storage, file)), pointer)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw fileError('write', pointer, cause)
  }
}

export async function writeReference(storage: string, revision: string, commit: string): Promise<void> {
  if (revision === commit) return
  const file = path.join(storage, 'refs', revision)
  makeFolder(path.dirname(file))
  await writeWhole(file, Buffer.from(commit))
}

/** Which files a commit has. */
interface FileList {
  readonly revision: string
  readonly files: readonly HubFile[]
}

/** Keeps which files a commit has, so that what is missing can be named without the server. */
export async function writeList(storage: string, commit: string, list: FileList): Promise<void> {
  const file = listPath(storage, commit)
  makeFolder(path.dirname(file))
  await writeWhole(file, Buffer.from(JSON.stringify(list)))
}

function listPath(storage: string, commit: string): string {
  return path.join(storage, '.iconface', `${commit}.json`)
}

export function makeFolder(folder: string): void {
  try {
    fs.mkdirSync(folder, { recursive: true })
  } catch (cause) {
    throw fileError('create', folder, cause)
  }
}

// Offline -------------------------------------------------------------------------------------------------------------

/** Whether Hugging Face libraries are told to ask no server. */
export function isOffline(): boolean {
  const { HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE } = process.env
  return /^(1|on|yes|true)$/i.test(HF_HUB_OFFLINE || TRANSFORMERS_OFFLINE || '')
}

/**
 * What the cache holds of a repository.
 *
 * @param select  which of a commit's files are wanted
 * @returns       the snapshot, or what `wanted.path` names in it; it is complete
 * @throws {IConFaceError} `ERR_ICONFACE_FILE_NOT_FOUND` with the file that is missing
 */
export function findCached(wanted: Wanted, storage: string, select: (files: readonly HubFile[]) => HubFile[]): string {
  const commit = cachedCommit(wanted, storage)
  const snapshot = snapshotPath(storage, commit)
  const list = readList(storage, commit)
  const missing = list ? missingOfList(snapshot, select(list.files)) : missingByItself(snapshot, wanted.path)
  if (missing !== undefined) throw notCached(wanted, path.join(snapshot, missing))
  return wanted.path === undefined ? snapshot : path.join(snapshot, wanted.path)
}

function cachedCommit(wanted: Wanted, storage: string): string {
  if (/^[0-9a-f]{40}$/.test(wanted.revision)) return wanted.revision
  const reference = path.join(storage, 'refs', wanted.revision)
  let commit: string
  try {
    commit = fs.readFileSync(reference, 'utf8').trim()
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw fileError('read', reference, cause)
    return begunCommit(wanted, storage) ?? fail(notCached(wanted, reference))
  }
  if (/^[0-9a-f]{40}$/.test(commit)) return commit
  throw new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `${reference} does not name a commit; remove it`)
}

/** The commit that a download which did not end has begun with: the reference is written last. */
function begunCommit({ revision }: Wanted, storage: string): string | undefined {
  const folder = path.dirname(listPath(storage, ''))
  const commits = fs.existsSync(folder) ? fs.readdirSync(folder).map((name) => path.parse(name).name) : []
  return commits.find((commit) => readList(storage, commit)?.revision === revision)
}

function readList(storage: string, commit: string): FileList | undefined {
  const file = listPath(storage, commit)
  if (!fs.existsSync(file)) return undefined
  const list = readJson(file, MAX_LIST_BYTES) as Partial<FileList> | null
  const fits = (one: Partial<HubFile> | null) => typeof one?.path === 'string' && typeof one.bytes === 'number'
  if (typeof list?.revision === 'string' && Array.isArray(list.files) && list.files.every(fits)) return list as FileList
  throw new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `${file} is damaged; remove it`)
}

function missingOfList(snapshot: string, files: readonly HubFile[]): string | undefined {
  return files.find((file) => !isComplete(path.join(snapshot, file.path), file.bytes))?.path
}

/** The parts of a diffusers pipeline that a model takes. */
const COMPONENTS = ['transformer', 'vae', 'text_encoder', 'tokenizer']

/**
 * What is missing of a snapshot that another library made, as far as it tells: links to nothing, and folders of parts.
 */
function missingByItself(snapshot: string, inside: string | undefined): string | undefined {
  const start = inside ?? ''
  if (!fs.existsSync(path.join(snapshot, start))) return start
  if (!fs.statSync(path.join(snapshot, start)).isDirectory()) return undefined
  const names = fs.readdirSync(path.join(snapshot, start), { recursive: true, encoding: 'utf8' }).sort()
  const dangling = names.find((name) => !fs.existsSync(path.join(snapshot, start, name)))
  if (dangling !== undefined) return path.join(start, dangling)
  if (names.length === 0) return start
  const index = path.join(snapshot, 'model_index.json')
  if (inside !== undefined || !fs.existsSync(index)) return undefined
  const parts = Object.keys((readJson(index) ?? {}) as object)
  return COMPONENTS.find((name) => parts.includes(name) && !names.some((one) => path.dirname(one) === name))
}

function notCached({ repo, revision }: Wanted, file: string): IConFaceError {
  const message = `HF_HUB_OFFLINE is set, and the cache has not all of ${repo} (${revision}): ${file} is missing; clear HF_HUB_OFFLINE to download it`
  return new IConFaceError('ERR_ICONFACE_FILE_NOT_FOUND', message)
}

function fail(error: Error): never {
  throw error
}
