/**
 * Weights from the Hugging Face Hub, in the cache that all Hugging Face libraries share:
 *
 *     <cache>/models--<owner>--<name>/blobs/<checksum>                     the content
 *                                    /snapshots/<commit>/<path>           links to it
 *                                    /refs/<revision>                      the commit that a branch or tag meant
 *
 * The cache is `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`; the server `HF_ENDPOINT`, else
 * https://huggingface.co; the token `HF_TOKEN`, else what `hf auth login` stored. The list of files comes through
 * `@huggingface/hub`; their content does not, because its downloads neither go on where they broke off nor check what came.
 *
 * Format: https://huggingface.co/docs/hub/local-cache
 */
import {
  getHFHubCachePath,
  getRepoFolderName,
  HubApiError,
  type ListFileEntry,
  listFiles,
  modelInfo,
} from '@huggingface/hub'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileError, IConFaceError, invalid } from '../errors'
import { abortError } from '../queue'
import { writeWhole } from '../whole-file'
import { checkSpace } from './disk'
import { type Checksum, downloadFile } from './download'

export interface HubOptions {
  /** Default: `HF_ENDPOINT`, else https://huggingface.co. */
  readonly hubUrl?: string
  readonly cacheDir?: string
  readonly token?: string
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: { file: string; bytes: number; totalBytes: number }) => void
  /** Milliseconds without a byte after which a connection counts as lost. */
  readonly idleMs?: number
}

/** What is wanted of a repository: `owner/name`, `owner/name@revision`, `owner/name:path`. */
interface Wanted {
  readonly repo: string
  readonly revision: string
  /** A file or a folder in it; absent: all weights. */
  readonly path: string | undefined
}

/** A file of a repository. */
interface HubFile {
  readonly path: string
  readonly bytes: number
  readonly checksum: Checksum
}

/**
 * Downloads the weights of a repository, or one file or folder of it, into the cache; what is there is not asked for
 * again.
 *
 * @param text  `owner/name`, with `@revision` (a branch, tag or commit; default `main`) and `:path` (a file or folder in it)
 * @returns     where it lies: a folder, or the file that `path` names
 * @throws {IConFaceError} `ERR_ICONFACE_FILE_NOT_FOUND` for no such repository, revision or path; `ERR_ICONFACE_IO`,
 *         `ERR_ICONFACE_INVALID_CHECKPOINT` (damaged on the way), `ERR_ICONFACE_ABORTED`
 * @example
 * const folder = await downloadFromHub('black-forest-labs/FLUX.2-klein-base-4B')
 */
export async function downloadFromHub(text: string, options: HubOptions = {}): Promise<string> {
  const wanted = parseWanted(text)
  const access = accessOf(options)
  const { commit, files } = await listRepository(wanted, access)
  const chosen = selectFiles(wanted, files)
  const storage = path.join(
    options.cacheDir ?? getHFHubCachePath(),
    getRepoFolderName({ name: wanted.repo, type: 'model' }),
  )
  const snapshot = path.join(storage, 'snapshots', commit)
  await fetchFiles(wanted, commit, chosen, storage, access, options)
  for (const file of chosen) linkFile(path.join(snapshot, file.path), blobPath(storage, file))
  await writeReference(storage, wanted.revision, commit)
  return wanted.path === undefined ? snapshot : path.join(snapshot, wanted.path)
}

function parseWanted(text: string): Wanted {
  const [, repo, revision = 'main', inside] = /^([\w.-]+\/[\w.-]+)(?:@([\w./-]+))?(?::(.+))?$/.exec(text) ?? []
  if (
    repo === undefined ||
    repo.includes('..') ||
    revision.includes('..') ||
    (inside !== undefined && !isInside(inside))
  ) {
    throw invalid('the repository', 'owner/name, owner/name@revision or owner/name:path', text)
  }
  return { repo, revision, path: inside?.replace(/\/+$/, '') }
}

/** Whether a path of a repository stays in it. */
function isInside(name: string): boolean {
  return (
    name !== '' && !/[\\\0]|^\/|^[a-zA-Z]:/.test(name) && !name.split('/').some((part) => part === '..' || part === '.')
  )
}

// Asking --------------------------------------------------------------------------------------------------------------

interface Access {
  readonly hubUrl: string
  readonly accessToken?: string
  readonly fetch: typeof fetch
}

function accessOf({ hubUrl, token, signal }: HubOptions): Access {
  const url = (hubUrl ?? process.env.HF_ENDPOINT ?? 'https://huggingface.co').replace(/\/+$/, '')
  const accessToken = token ?? process.env.HF_TOKEN ?? storedToken()
  const stop = () => AbortSignal.any([...(signal ? [signal] : []), AbortSignal.timeout(60_000)])
  const request: typeof fetch = (input, init) => fetch(input, { ...init, signal: stop() })
  return { hubUrl: url, ...(accessToken ? { accessToken } : {}), fetch: request }
}

/** What `hf auth login` wrote. */
function storedToken(): string | undefined {
  const home =
    process.env.HF_HOME ?? path.join(process.env.XDG_CACHE_HOME ?? path.join(os.homedir(), '.cache'), 'huggingface')
  const file = process.env.HF_TOKEN_PATH ?? path.join(home, 'token')
  try {
    return fs.readFileSync(file, 'utf8').trim() || undefined
  } catch {
    return undefined // nobody logged in
  }
}

async function listRepository({ repo, revision }: Wanted, access: Access) {
  try {
    const { sha } = await modelInfo({ name: repo, revision, additionalFields: ['sha'], ...access })
    if (!/^[0-9a-f]{40}$/.test(sha)) throw new Error(`it names the commit ${JSON.stringify(sha)}`)
    const files: HubFile[] = []
    for await (const entry of listFiles({ repo, revision: sha, recursive: true, ...access })) {
      if (entry.type === 'file') files.push(hubFile(entry))
    }
    return { commit: sha, files }
  } catch (cause) {
    throw listingError(repo, revision, access, cause)
  }
}

function hubFile({ path: name, size, oid, lfs }: ListFileEntry): HubFile {
  const checksum: Checksum = lfs ? { algorithm: 'sha256', hex: lfs.oid } : { algorithm: 'git-sha1', hex: oid ?? '' }
  const bytes = lfs?.size ?? size
  const expected = lfs ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/
  if (!isInside(name) || !expected.test(checksum.hex) || !Number.isSafeInteger(bytes) || bytes < 0) {
    throw new Error(`it lists ${JSON.stringify({ name, bytes, checksum: checksum.hex })}`)
  }
  return { path: name, bytes, checksum }
}

function listingError(repo: string, revision: string, { hubUrl }: Access, cause: unknown): IConFaceError {
  if (cause instanceof IConFaceError) return cause
  const status = cause instanceof HubApiError ? cause.statusCode : undefined
  if (status === 404) {
    return new IConFaceError(
      'ERR_ICONFACE_FILE_NOT_FOUND',
      `${hubUrl} has no model ${repo} with the revision ${revision}`,
    )
  }
  if (status === 401 || status === 403) {
    const message = `${hubUrl}/${repo} is not open to everybody, or does not exist: accept its licence on that page and set HF_TOKEN`
    return new IConFaceError('ERR_ICONFACE_IO', message, { cause })
  }
  const { message, cause: inner } = cause as Error
  const reason = inner instanceof Error && inner.message !== '' ? `${message}: ${inner.message}` : message
  return new IConFaceError('ERR_ICONFACE_IO', `${hubUrl} did not list ${repo}: ${reason}`, { cause })
}

// Choosing ------------------------------------------------------------------------------------------------------------

/** Weights and the small files that say how to read them. */
const WEIGHTS = /\.(safetensors|pth|pt|ckpt)$/
const SMALL =
  /(^|\/)(config|adapter_config|model_index|tokenizer|tokenizer_config|generation_config)\.json$|\.safetensors\.index\.json$/

function selectFiles({ repo, path: inside }: Wanted, files: readonly HubFile[]): HubFile[] {
  const below = files.filter(
    (file) => inside === undefined || file.path === inside || file.path.startsWith(`${inside}/`),
  )
  if (below.length === 0) {
    throw new IConFaceError('ERR_ICONFACE_FILE_NOT_FOUND', `${repo} has no ${inside ?? 'files'}`)
  }
  if (below.length === 1 && below[0]!.path === inside) return below
  // A repository with diffusers' folders may hold the transformer a second time, as one file beside them.
  const folders = files.some((file) => file.path === 'model_index.json')
  const chosen = below.filter(({ path: name }) => {
    if (SMALL.test(name)) return true
    return WEIGHTS.test(name) && !(folders && inside === undefined && !name.includes('/'))
  })
  if (chosen.some(({ path: name }) => WEIGHTS.test(name))) return chosen
  const message = `${repo}${inside === undefined ? '' : `:${inside}`} holds no weights (safetensors, .pth, .ckpt)`
  throw new IConFaceError('ERR_ICONFACE_FILE_NOT_FOUND', message)
}

// Fetching ------------------------------------------------------------------------------------------------------------

async function fetchFiles(
  { repo }: Wanted,
  commit: string,
  files: readonly HubFile[],
  storage: string,
  { hubUrl, accessToken }: Access,
  { signal, onProgress, idleMs }: HubOptions,
): Promise<void> {
  const blobs = path.join(storage, 'blobs')
  makeFolder(blobs)
  const absent = files.filter((file) => !isComplete(blobPath(storage, file), file.bytes))
  const begun = absent.reduce((sum, file) => sum + sizeOf(`${blobPath(storage, file)}.incomplete`), 0)
  const totalBytes = absent.reduce((sum, { bytes }) => sum + bytes, 0)
  if (totalBytes > begun) checkSpace(blobs, totalBytes - begun)
  let done = 0
  for (const file of absent) {
    const blob = blobPath(storage, file)
    await locked(`${blob}.lock`, signal, async () => {
      if (isComplete(blob, file.bytes)) return
      await downloadFile({
        url: `${hubUrl}/${repo}/resolve/${commit}/${file.path.split('/').map(encodeURIComponent).join('/')}`,
        headers: accessToken ? { Authorization: `Bearer ${accessToken}` } : {},
        file: blob,
        bytes: file.bytes,
        checksum: file.checksum,
        signal,
        idleMs,
        onProgress: (bytes) => onProgress?.({ file: file.path, bytes: done + bytes, totalBytes }),
      })
    })
    done += file.bytes
    onProgress?.({ file: file.path, bytes: done, totalBytes })
  }
}

function blobPath(storage: string, { checksum }: HubFile): string {
  return path.join(storage, 'blobs', checksum.hex)
}

/** Content gets its name only when it has been checked, so its size is enough here. */
function isComplete(blob: string, bytes: number): boolean {
  const status = fs.statSync(blob, { throwIfNoEntry: false })
  return status !== undefined && status.size === bytes
}

function sizeOf(file: string): number {
  return fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0
}

/** Two processes that want the same file download it once: the second waits. A lock of a process that ended is taken over. */
async function locked(lock: string, signal: AbortSignal | undefined, action: () => Promise<void>): Promise<void> {
  while (!takeLock(lock)) {
    if (signal?.aborted) throw abortError(signal)
    await sleep(200, undefined, { signal }).catch(() => undefined)
  }
  try {
    await action()
  } finally {
    fs.rmSync(lock, { force: true })
  }
}

function takeLock(lock: string): boolean {
  try {
    fs.writeFileSync(lock, String(process.pid), { flag: 'wx' })
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw fileError('write', lock, cause)
  }
  if (!ownerLives(lock)) fs.rmSync(lock, { force: true })
  return false
}

function ownerLives(lock: string): boolean {
  let owner: number
  try {
    owner = Number(fs.readFileSync(lock, 'utf8'))
  } catch {
    return false // it was given back in the meantime
  }
  // Between being created and being written a lock is empty.
  if (!Number.isInteger(owner) || owner <= 0)
    return Date.now() - (fs.statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? 0) < 5000
  try {
    process.kill(owner, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** A relative link from a snapshot to content. */
function linkFile(pointer: string, blob: string): void {
  makeFolder(path.dirname(pointer))
  try {
    fs.rmSync(pointer, { force: true })
    fs.symlinkSync(path.relative(path.dirname(pointer), blob), pointer)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw fileError('write', pointer, cause)
  }
}

async function writeReference(storage: string, revision: string, commit: string): Promise<void> {
  if (revision === commit) return
  const file = path.join(storage, 'refs', revision)
  makeFolder(path.dirname(file))
  await writeWhole(file, Buffer.from(commit))
}

function makeFolder(folder: string): void {
  try {
    fs.mkdirSync(folder, { recursive: true })
  } catch (cause) {
    throw fileError('create', folder, cause)
  }
}
