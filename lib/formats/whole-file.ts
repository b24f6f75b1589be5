/**
 * Writing files that appear complete or not at all. Everything this package writes goes through here.
 *
 * On Linux a file has no name while it is written, so that nothing is left of it however the process ends, and gets its
 * name when its bytes are on the disk. Where that cannot be done (other systems, file systems without `O_TMPFILE`, no
 * addon, no /proc) it is written under a hidden name beside its destination, synced and renamed; such a file is removed
 * when the process exits, and left behind when it is killed.
 *
 * A file that is replaced hands on its mode and, where the system lets it, its owner; a new one follows the umask.
 * Symbolic links are followed, as by `cp`: what they name is written, whether it is there yet or not.
 */

import { randomBytes } from 'node:crypto'
import fs, { closeSync, constants, openSync, renameSync, rmSync, type Stats } from 'node:fs'
import { access, type FileHandle, open, readlink, rename, rm, stat, writeFile } from 'node:fs/promises'
import { constants as system } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { fileError, IConFaceError, invalid, isIConFaceError } from '../errors'
import { type Addon, loadAddon, native } from '../native'

/**
 * `__O_TMPFILE`, which Node does not name, of every Linux that Node runs on. The folder is opened, a file comes out.
 */
const UNNAMED = 0o20000000 | constants.O_DIRECTORY | constants.O_RDWR

/**
 * A file being written. Any failure removes it.
 *
 * @example
 * const file = await WholeFile.create('numbers.json')
 * try {
 *   await file.write(bytes)
 *   await file.finish()
 * } finally {
 *   await file.abort() // does nothing after finish
 * }
 */
export class WholeFile {
  private constructor(
    /** As it was given. */
    readonly path: string,
    /** Without symbolic links at its end. */
    private readonly target: string,
    private handle: FileHandle | undefined,
    /** Its name until it is finished; `undefined` for a file without a name. */
    private readonly hidden: string | undefined,
  ) {}

  /** @throws {IConFaceError} `ERR_ICONFACE_FILE_NOT_FOUND` without its folder; `ERR_ICONFACE_IO` */
  static async create(path: string): Promise<WholeFile> {
    const target = await followed(path)
    const mode = (await existingFile(target))?.mode ?? 0o666
    const unnamed = await openUnnamed(dirname(target), mode)
    return unnamed ? new WholeFile(path, target, unnamed, undefined) : WholeFile.createHidden(path, target, mode)
  }

  private static async createHidden(path: string, target: string, mode: number): Promise<WholeFile> {
    const hidden = hiddenName(target)
    remember(hidden)
    try {
      // Synchronously: a file still being created when the process exits would be left behind. The owner may write it
      // whatever the mode.
      closeSync(openSync(hidden, 'wx', (mode & 0o777) | 0o600))
      return new WholeFile(path, target, await open(hidden, 'r+'), hidden)
    } catch (cause) {
      await remove(hidden)
      throw fileError('write', path, cause)
    }
  }

  /** Appends. The bytes may change once the promise resolves. */
  async write(data: ArrayBufferView): Promise<void> {
    const handle = this.opened()
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    await this.attempt(async () => {
      for (let done = 0; done < bytes.length;) done += (await handle.write(bytes, done)).bytesWritten
    })
  }

  /** Flushes to disk and gives the file its name; a file that had it is replaced. */
  async finish(): Promise<void> {
    const handle = this.opened()
    await this.attempt(async () => {
      await inherit(handle, await existingFile(this.target))
      await flush(handle)
      if (this.hidden === undefined && !giveName(handle.fd, this.target)) await this.copy(handle)
      this.handle = undefined
      await handle.close()
      if (this.hidden === undefined) return
      await rename(this.hidden, this.target)
      forget(this.hidden)
    })
  }

  /** Removes the unfinished file. Does nothing after {@link finish}. */
  async abort(): Promise<void> {
    const handle = this.handle
    if (!handle) return
    this.handle = undefined
    try {
      await handle.close()
    } finally {
      if (this.hidden !== undefined) await remove(this.hidden)
    }
  }

  /** Neither finished nor removed. */
  get isOpen(): boolean {
    return this.handle !== undefined
  }

  private opened(): FileHandle {
    if (this.handle) return this.handle
    throw new IConFaceError('ERR_ICONFACE_DISPOSED', `${this.path} is already finished or given up`)
  }

  private async attempt(action: () => Promise<void>): Promise<void> {
    try {
      await action()
    } catch (cause) {
      await this.abort().catch(() => undefined) // the first error is the one to report
      if (this.hidden !== undefined) await remove(this.hidden)
      throw isIConFaceError(cause) ? cause : fileError('write', this.path, cause)
    }
  }

  /** A file that cannot be given a name after all is written once more, under a hidden one. */
  private async copy(from: FileHandle): Promise<void> {
    const file = await WholeFile.createHidden(this.path, this.target, (await from.stat()).mode)
    try {
      const piece = Buffer.allocUnsafe(1 << 20)
      for (let done = 0; ;) {
        const { bytesRead } = await from.read(piece, 0, piece.length, done)
        if (bytesRead === 0) break
        await file.write(piece.subarray(0, bytesRead))
        done += bytesRead
      }
      await file.finish()
    } finally {
      await file.abort()
    }
  }
}

/**
 * Writes `bytes` to `path`, which never holds less than all of them. What is no file but a pipe or a device is written
 * to as it is.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_FILE_NOT_FOUND` without its folder; `ERR_ICONFACE_IO`
 */
export async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  if (await isStream(path)) {
    return writeFile(path, bytes).catch((cause: unknown) => {
      throw fileError('write', path, cause)
    })
  }
  const file = await WholeFile.create(path)
  try {
    await file.write(bytes)
    await file.finish()
  } finally {
    await file.abort()
  }
}

/** Pipes, terminals and other devices. */
export async function isStream(path: string): Promise<boolean> {
  const existing = await stat(path).catch(() => undefined)
  return existing !== undefined && !existing.isFile() && !existing.isDirectory()
}

/** Refuses a file that {@link writeWhole} could not write, before the work whose result it shall hold. */
export async function checkWritable(path: string): Promise<void> {
  if (path === '') throw invalid('the output', 'the name of a file', path)
  if (await isStream(path)) {
    return access(path, constants.W_OK).catch((cause: unknown) => {
      throw fileError('write', path, cause)
    })
  }
  const target = await followed(path)
  await checkWritableFolder(dirname(target)).catch((cause: unknown) => {
    if (!isIConFaceError(cause)) throw cause
    throw new IConFaceError(cause.code, `${cause.message}; create that folder, or name another for ${path}`, { cause })
  })
  const existing = await stat(target).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOENT') throw fileError('write', path, cause) // such as a name that is too long
  })
  if (existing?.isDirectory()) throw invalid('the output', 'the name of a file, not of a folder,', path)
}

/** Flushes a file to disk. By its number, since `sync` is missing from the handles of Yarn's Plug'n'Play. */
export function flush({ fd }: FileHandle): Promise<void> {
  return new Promise((resolve, reject) => fs.fsync(fd, (error) => (error ? reject(error) : resolve())))
}

/** Refuses a path that is no folder, and a folder in which no file can be created. */
export async function checkWritableFolder(folder: string): Promise<void> {
  // With the slash, a file is an error.
  await access(`${folder}/`, constants.W_OK).catch((cause: unknown) => {
    throw fileError('write into', folder, cause)
  })
}

// What is replaced ----------------------------------------------------------------------------------------------------

/** As many links in a row as Linux follows. */
const MOST_LINKS = 40

/** What the symbolic links at the end of `path` lead to, whether it is there or not. */
async function followed(path: string): Promise<string> {
  let target = path
  for (let links = 0; links <= MOST_LINKS; links++) {
    const next = await readlink(target).catch(() => undefined) // no link, or nothing at all
    if (next === undefined) return target
    target = isAbsolute(next) ? next : `${dirname(target)}/${next}` // the system resolves `..` behind links itself
  }
  throw new IConFaceError('ERR_ICONFACE_IO', `cannot write ${path}: too many symbolic links lead on from there`)
}

async function existingFile(path: string): Promise<Stats | undefined> {
  const existing = await stat(path).catch(() => undefined)
  return existing?.isFile() ? existing : undefined
}

/** Gives a file the mode and owner of the one that it replaces. */
async function inherit(handle: FileHandle, replaced: Stats | undefined): Promise<void> {
  if (!replaced) return
  const { uid, gid } = await handle.stat()
  const same = uid === replaced.uid && gid === replaced.gid
  // Only root gives files away; the owner may still choose among the groups that it belongs to.
  const kept = same || (await succeeds(handle.chown(replaced.uid, replaced.gid)))
  if (!kept && gid !== replaced.gid) await succeeds(handle.chown(uid, replaced.gid))
  // After the owner, which takes away the bits that run a file as its owner: those of another owner are not handed on.
  await succeeds(handle.chmod(replaced.mode & (kept ? 0o7777 : 0o777))) // FAT, for one, knows no modes
}

function succeeds(change: Promise<void>): Promise<boolean> {
  return change.then(
    () => true,
    () => false,
  )
}

// Files without a name ------------------------------------------------------------------------------------------------

/** Opens one in `folder`; `undefined` where that, or naming it later, cannot be done: opening a hidden one says why. */
async function openUnnamed(folder: string, mode: number): Promise<FileHandle | undefined> {
  if (process.platform !== 'linux' || !linker()) return undefined
  return open(folder, UNNAMED, mode & 0o777).catch(() => undefined)
}

function linker(): Addon['linkOpenFile'] | undefined {
  try {
    return loadAddon().linkOpenFile
  } catch (error) {
    if (isIConFaceError(error)) return undefined
    throw error
  }
}

/**
 * Gives the file behind `fd` its name; false where the system has no way to. A name that is taken is taken over by way
 * of a hidden one, with nothing of this process between the two calls.
 */
function giveName(fd: number, path: string): boolean {
  const link = (name: string) => native(() => linker()!(fd, name))
  const error = link(path)
  if (error !== system.errno.EEXIST) return error === 0
  const hidden = hiddenName(path)
  if (link(hidden) !== 0) return false
  try {
    renameSync(hidden, path)
  } catch (cause) {
    rmSync(hidden, { force: true })
    throw cause
  }
  return true
}

// Files with a hidden name --------------------------------------------------------------------------------------------

/** Short, since a name that is almost as long as names may be has to work too. */
const hiddenName = (path: string) => join(dirname(path), `.iconface-${randomBytes(6).toString('hex')}.tmp`)

/** Those that are being written. */
const unfinished = new Set<string>()
const removeUnfinished = () => unfinished.forEach((file) => rmSync(file, { force: true }))

function remember(hidden: string): void {
  if (unfinished.size === 0) process.once('exit', removeUnfinished)
  unfinished.add(hidden)
}

function forget(hidden: string): void {
  unfinished.delete(hidden)
  if (unfinished.size === 0) process.off('exit', removeUnfinished)
}

async function remove(hidden: string): Promise<void> {
  await rm(hidden, { force: true }).catch(() => undefined) // what led here is the error to report
  forget(hidden)
}
