/**
 * Weights from the Hugging Face Hub, in the cache that all Hugging Face libraries share (hub-cache.ts). The server is
 * `HF_ENDPOINT`, else https://huggingface.co; the token `HF_TOKEN`, else what `hf auth login` stored. The list of files
 * comes through `@huggingface/hub`; their content does not, because its downloads neither go on where they broke off
 * nor check what came.
 */
import type { HubApiError, ListFileEntry } from '@huggingface/hub'
import fs from 'node:fs'
import path, { posix } from 'node:path'
import { abortError, checkAborted, onAbort } from '../util/abort'
import { loadDependency } from '../util/dependency'
import { describeValue, IConFaceError, invalid, isIConFaceError } from '../errors'
import { checkKnown, namesOf } from '../options'
import { statusOf } from '../util/file-status'
import { messageOf } from '../util/realm'
import { checkSpace } from './disk'
import { type Checksum, downloadFile } from './download'
import { locked } from './file-lock'
import { foreignName } from '../formats/foreign'
import { request } from './http'
import {
  blobPath,
  findCached,
  hubHome,
  type HubFile,
  isComplete,
  isOffline,
  linkFile,
  makeFolder,
  snapshotPath,
  storageOf,
  type Wanted,
  writeList,
  writeReference,
} from './hub-cache'

export interface HubOptions {
  /** Default: `HF_ENDPOINT`, else https://huggingface.co. */
  readonly hubUrl?: string | undefined
  readonly cacheDir?: string | undefined
  readonly token?: string | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: { file: string; bytes: number; totalBytes: number }) => void) | undefined
  /** Milliseconds without a byte after which a connection counts as lost. */
  readonly idleMs?: number | undefined
  /** Milliseconds before a lost connection is taken up again. */
  readonly pauseMs?: number | undefined
}

const OPTIONS = namesOf<HubOptions>({
  hubUrl: true,
  cacheDir: true,
  token: true,
  signal: true,
  onProgress: true,
  idleMs: true,
  pauseMs: true,
})

/**
 * Downloads the weights of a repository, or one file or folder of it, into the cache; what is there is not asked for
 * again.
 *
 * @param text  `owner/name`, with `@revision` (a branch, tag or commit; default `main`) and `:path` (a file or folder
 *          in it)
 * @returns     where it lies: a folder, or the file that `path` names
 * @throws {IConFaceError} `ERR_ICONFACE_FILE_NOT_FOUND` for no such repository, revision or path; `ERR_ICONFACE_IO`,
 *         `ERR_ICONFACE_INVALID_CHECKPOINT` (damaged on the way), `ERR_ICONFACE_ABORTED`; with `HF_HUB_OFFLINE`
 *         `ERR_ICONFACE_FILE_NOT_FOUND` for a file that the cache does not hold; for proxies as {@link request}
 * @example
 * const folder = await downloadFromHub('black-forest-labs/FLUX.2-klein-base-4B')
 */
export async function downloadFromHub(text: string, options: HubOptions = {}): Promise<string> {
  checkKnown('options', options, OPTIONS)
  const wanted = parseWanted(text)
  const storage = storageOf(wanted.repo, options.cacheDir)
  if (isOffline()) return findCached(wanted, storage, (files) => selectFiles(wanted, files))
  const access = accessOf(options)
  const { commit, files } = await listRepository(wanted, access, options.signal)
  const chosen = selectFiles(wanted, files)
  await writeList(storage, commit, { revision: wanted.revision, files })
  await fetchFiles(wanted, commit, chosen, storage, access, options)
  for (const file of chosen) linkFile(storage, commit, file)
  await writeReference(storage, wanted.revision, commit)
  return path.join(snapshotPath(storage, commit), wanted.path ?? '')
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
  /** Has to be called when the listing is there. */
  readonly close: () => void
}

/** Milliseconds in which a listing, or a page of it, has to be there. */
const LISTING_MS = 60_000

function accessOf({ hubUrl, token, signal }: HubOptions): Access {
  const accessToken =
    token || process.env.HF_TOKEN?.trim() || process.env.HUGGING_FACE_HUB_TOKEN?.trim() || storedToken()
  const stop = new AbortController()
  const release = onAbort(signal, () => stop.abort(abortError(signal!)))
  let watch: NodeJS.Timeout | undefined
  const listed: typeof fetch = (input, init) => {
    clearTimeout(watch)
    watch = setTimeout(() => stop.abort(new Error(`no answer for ${LISTING_MS} ms`)), LISTING_MS)
    return request(input, { ...init, signal: stop.signal })
  }
  const close = () => {
    clearTimeout(watch)
    release()
  }
  return { hubUrl: endpoint(hubUrl), ...(accessToken ? { accessToken } : {}), fetch: listed, close }
}

/** The server's address, without a slash at its end. */
function endpoint(given: string | undefined): string {
  const url = given ?? (process.env.HF_ENDPOINT?.trim() || 'https://huggingface.co')
  if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) return url.replace(/\/+$/, '')
  const message = `expected the address of a server, https://host, in HF_ENDPOINT but received ${describeValue(url)}`
  throw new IConFaceError('ERR_ICONFACE_INVALID_ARGUMENT', message)
}

/** What `hf auth login` wrote. */
function storedToken(): string | undefined {
  const file = process.env.HF_TOKEN_PATH || path.join(hubHome(), 'token')
  try {
    return fs.readFileSync(file, 'utf8').trim() || undefined
  } catch {
    return undefined // nobody logged in
  }
}

async function listRepository({ repo, revision }: Wanted, access: Access, signal: AbortSignal | undefined) {
  const { listFiles, modelInfo } = loadDependency('@huggingface/hub') as typeof import('@huggingface/hub')
  try {
    const { sha } = await modelInfo({ name: repo, revision, additionalFields: ['sha'], ...access })
    if (!/^[0-9a-f]{40}$/.test(sha)) throw new Error(`it names the commit ${JSON.stringify(sha)}`)
    const files: HubFile[] = []
    for await (const entry of listFiles({ repo, revision: sha, recursive: true, ...access })) {
      if (entry.type === 'file') files.push(hubFile(entry))
    }
    return { commit: sha, files }
  } catch (cause) {
    checkAborted(signal)
    throw listingError(repo, revision, access, cause)
  } finally {
    access.close()
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
  if (isIConFaceError(cause)) return cause
  const status = (cause as Partial<HubApiError>).statusCode
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
  const reason = inner ? `${message}: ${messageOf(inner)}` : message
  return new IConFaceError('ERR_ICONFACE_IO', `${hubUrl} did not list ${repo}: ${reason}`, { cause })
}

// Choosing ------------------------------------------------------------------------------------------------------------

/** Weights, those of older libraries, and the small files that say how to read them. */
const SAFETENSORS = /\.(safetensors|sft)$/i
const WEIGHTS = /\.(safetensors|sft|pth|pt|ckpt)$/i
const PICKLES = /(^|\/)(pytorch_lora_weights|adapter_model|diffusion_pytorch_model[^/]*|pytorch_model[^/]*)\.bin$/i
const SMALL =
  /(^|\/)(config|adapter_config|model_index|tokenizer|tokenizer_config|generation_config)\.json$|\.(safetensors|sft)\.index\.json$/i

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
  const safe = new Set(
    below.filter(({ path: name }) => SAFETENSORS.test(name)).map(({ path: name }) => posix.dirname(name)),
  )
  const chosen = below.filter(({ path: name }) => {
    if (SMALL.test(name)) return true
    // PyTorch's form is there for those that cannot read the other.
    if (PICKLES.test(name)) return !safe.has(posix.dirname(name))
    return WEIGHTS.test(name) && !(folders && inside === undefined && !name.includes('/'))
  })
  if (chosen.some(({ path: name }) => WEIGHTS.test(name) || PICKLES.test(name))) return chosen
  const others = below
    .map(({ path: name }) => ({ name, format: foreignName(name) }))
    .find(({ format }) => format !== undefined)
  const found = others ? `; ${others.name} is ${others.format}` : ''
  const message = `${repo}${inside === undefined ? '' : `:${inside}`} holds no weights (safetensors, .pth, .ckpt)${found}`
  throw new IConFaceError('ERR_ICONFACE_FILE_NOT_FOUND', message)
}

// Fetching ------------------------------------------------------------------------------------------------------------

async function fetchFiles(
  { repo }: Wanted,
  commit: string,
  files: readonly HubFile[],
  storage: string,
  { hubUrl, accessToken }: Access,
  { signal, onProgress, idleMs, pauseMs }: HubOptions,
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
    // Of processes that want the same file one downloads it, the others wait.
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
        pauseMs,
        onProgress: (bytes) => onProgress?.({ file: file.path, bytes: done + bytes, totalBytes }),
      })
    })
    done += file.bytes
    onProgress?.({ file: file.path, bytes: done, totalBytes })
  }
}

function sizeOf(file: string): number {
  return statusOf(file)?.size ?? 0
}
