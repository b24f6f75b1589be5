/**
 * Downloads one file over HTTP, resuming what is already there. The file gets its name only if its checksum is the
 * expected one.
 */
import { createHash, type Hash } from 'node:crypto'
import fs from 'node:fs'
import fsPromises from 'node:fs/promises'
import { abortError, checkAborted, onAbort, pause } from '../util/abort'
import { fileError, IConFaceError, isIConFaceError } from '../errors'
import { statusOf } from '../util/file-status'
import { messageOf } from '../util/realm'
import { flush } from '../formats/whole-file'
import { request } from './http'

export interface Download {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** Where the file is to be. While it is incomplete it lies there with `.incomplete` after its name. */
  readonly file: string
  readonly bytes: number
  readonly checksum: Checksum
  readonly signal?: AbortSignal | undefined
  /** Bytes of this file that are there. */
  readonly onProgress?: ((bytes: number) => void) | undefined
  /** Milliseconds without a byte after which a connection counts as lost. Default 60 000. */
  readonly idleMs?: number | undefined
  /**
   * Milliseconds before a lost connection is taken up again; every further attempt waits twice as long. Default 500.
   */
  readonly pauseMs?: number | undefined
}

/** Of the whole content; `git-sha1` is that of a Git blob: of "blob <bytes>\0" and the content. */
export interface Checksum {
  readonly algorithm: 'sha256' | 'git-sha1'
  readonly hex: string
}

/** How often in a row a connection may bring nothing. */
const ATTEMPTS = 5

/**
 * Downloads a file. Attempts that break off go on where they ended, and so does the next call.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT` when the content is not what was promised (it is removed);
 *         `ERR_ICONFACE_IO` when the server refuses or cannot be reached, or the disk is full; `ERR_ICONFACE_ABORTED`
 */
export async function downloadFile(download: Download): Promise<void> {
  const { file, bytes, signal, pauseMs = 500 } = download
  const incomplete = `${file}.incomplete`
  for (let attempt = 1; ; attempt++) {
    checkAborted(signal)
    const before = sizeOf(incomplete)
    try {
      if (before < bytes || bytes === 0) await fetchRest(download, incomplete, before)
      break
    } catch (error) {
      checkAborted(signal)
      if (error instanceof CallbackFailure) throw error.cause
      if (isIConFaceError(error)) throw error
      // A connection that brought bytes resets the count of attempts.
      if (sizeOf(incomplete) > before) attempt = 0
      if (attempt >= ATTEMPTS) throw unreachable(download, error)
      await pause(pauseMs * 2 ** attempt, signal)
    }
  }
  await verify(download, incomplete)
  checkAborted(signal)
  try {
    await fsPromises.rename(incomplete, file)
  } catch (cause) {
    throw fileError('write', file, cause)
  }
}

/** Appends what is missing. */
async function fetchRest(download: Download, incomplete: string, from: number): Promise<void> {
  const { url, headers, bytes, signal, onProgress, idleMs = 60_000 } = download
  const stop = new AbortController()
  const watch = setTimeout(() => stop.abort(new Error(`no answer for ${idleMs} ms`)), idleMs)
  const release = onAbort(signal, () => stop.abort(abortError(signal!)))
  try {
    const sent: Record<string, string> = { ...headers, 'Accept-Encoding': 'identity' }
    if (from > 0) sent.Range = `bytes=${from}-`
    const response = await request(url, { headers: sent, signal: stop.signal })
    const append = continues(response, from)
    if (append === undefined) throw await refusal(download, response)
    let written = append ? from : 0
    const handle = await open(incomplete, append ? 'a' : 'w')
    try {
      for await (const chunk of response.body ?? []) {
        watch.refresh()
        written += (chunk as Uint8Array).length
        if (written > bytes) throw await tooLong(download, incomplete)
        await write(handle, chunk as Uint8Array, incomplete)
        report(onProgress, written)
      }
      await flush(handle)
    } finally {
      await handle.close()
    }
    if (written < bytes) throw new Error(`the connection ended after ${written} of ${bytes} bytes`)
  } finally {
    clearTimeout(watch)
    release()
  }
}

/** An error thrown by the caller's callback: the connection is not retried for it. */
class CallbackFailure extends Error {}

function report(onProgress: Download['onProgress'], bytes: number): void {
  try {
    onProgress?.(bytes)
  } catch (cause) {
    throw new CallbackFailure('', { cause })
  }
}

/** Whether the answer is the rest (true), the whole (false), or neither. */
function continues(response: Response, from: number): boolean | undefined {
  if (response.status === 200) return false
  if (response.status !== 206) return undefined
  const [, begin] = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '') ?? []
  return Number(begin) === from ? true : undefined
}

/** Servers that are busy are asked again (an ordinary error); others have decided. */
async function refusal({ url, file }: Download, response: Response): Promise<Error> {
  await response.body?.cancel()
  if (response.status === 416) {
    fs.rmSync(`${file}.incomplete`, { force: true })
    return new Error('the part that was there is longer than the file')
  }
  const text = `${url} answered ${response.status} ${response.statusText}`.trim()
  if (response.status === 206 || response.status === 429 || response.status >= 500) return new Error(text)
  const advice =
    response.status === 401 || response.status === 403 ? '; accept the licence on its page and set HF_TOKEN' : ''
  return new IConFaceError('ERR_ICONFACE_IO', text + advice)
}

async function tooLong({ url, bytes }: Download, incomplete: string): Promise<IConFaceError> {
  await fsPromises.rm(incomplete, { force: true })
  const message = `${url} sends more than the ${bytes} bytes it promised`
  return new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', message)
}

async function verify({ url, bytes, checksum, signal }: Download, incomplete: string): Promise<void> {
  const size = sizeOf(incomplete)
  const actual = size === bytes ? await hashFile(incomplete, bytes, checksum.algorithm, signal) : `${size} bytes`
  if (actual === checksum.hex) return
  await fsPromises.rm(incomplete, { force: true })
  const promised = size === bytes ? checksum.hex : `${bytes} bytes`
  throw new IConFaceError(
    'ERR_ICONFACE_INVALID_CHECKPOINT',
    `${url} was damaged on the way: expected ${checksum.algorithm} ${promised} but received ${actual}; it was removed, try again`,
  )
}

async function hashFile(
  file: string,
  bytes: number,
  algorithm: Checksum['algorithm'],
  signal: AbortSignal | undefined,
): Promise<string> {
  const hash: Hash = createHash(algorithm === 'sha256' ? 'sha256' : 'sha1')
  if (algorithm === 'git-sha1') hash.update(`blob ${bytes}\0`)
  try {
    for await (const chunk of fs.createReadStream(file, { highWaterMark: 1 << 20 })) {
      checkAborted(signal)
      hash.update(chunk as Buffer)
    }
  } catch (cause) {
    checkAborted(signal)
    throw fileError('read', file, cause)
  }
  return hash.digest('hex')
}

async function open(file: string, flags: string): Promise<fsPromises.FileHandle> {
  return fsPromises.open(file, flags).catch((cause: unknown) => {
    throw fileError('write', file, cause)
  })
}

async function write(handle: fsPromises.FileHandle, data: Uint8Array, file: string): Promise<void> {
  try {
    for (let done = 0; done < data.length;) done += (await handle.write(data, done)).bytesWritten
  } catch (cause) {
    throw fileError('write', file, cause)
  }
}

function sizeOf(file: string): number {
  return statusOf(file)?.size ?? 0
}

function unreachable({ url }: Download, error: unknown): IConFaceError {
  const { message, cause } = error as Error
  const reason = cause ? `${message}: ${messageOf(cause)}` : message
  const text = `${url} could not be downloaded: ${reason}; what is there is kept, and the same command goes on with it`
  return new IConFaceError('ERR_ICONFACE_IO', text, { cause: error })
}
