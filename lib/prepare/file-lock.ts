/**
 * A lock between processes, also of different containers or machines that share a folder: a file that its owner touches
 * every second. A lock that was not touched for several seconds is abandoned.
 */
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import { checkAborted, pause } from '../util/abort'
import { fileError } from '../errors'
import { statusOf } from '../util/file-status'

const POLL_MS = 200
const TOUCH_MS = 1000
const ABANDONED_MS = 6000

/**
 * Does `action` while this process holds the lock; others wait for it meanwhile.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_ABORTED`; `ERR_ICONFACE_IO` when the file cannot be written; what `action`
 * throws
 */
export async function locked<T>(lock: string, signal: AbortSignal | undefined, action: () => Promise<T>): Promise<T> {
  let seen = ''
  let seenAt = performance.now()
  while (!take(lock)) {
    checkAborted(signal)
    const now = stateOf(lock)
    if (now !== seen) [seen, seenAt] = [now, performance.now()]
    if (ownerEnded(lock) || performance.now() - seenAt > ABANDONED_MS) remove(lock, now)
    else await pause(POLL_MS, signal)
  }
  const touching = setInterval(() => touch(lock), TOUCH_MS)
  touching.unref()
  try {
    return await action()
  } finally {
    clearInterval(touching)
    fs.rmSync(lock, { force: true })
  }
}

function take(lock: string): boolean {
  try {
    fs.writeFileSync(lock, `${process.pid} ${os.hostname()}`, { flag: 'wx' })
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw fileError('write', lock, cause)
    return false
  }
}

function touch(lock: string): void {
  const now = new Date()
  try {
    fs.utimesSync(lock, now, now)
  } catch {
    // Somebody removed it by hand; the download goes on.
  }
}

/** Which file it is and when it was touched; empty when it is gone. */
function stateOf(lock: string): string {
  const status = statusOf(lock)
  return status ? `${status.ino} ${status.mtimeMs}` : ''
}

/** Whether the owner is known to have ended. Numbers of processes mean something on one host alone. */
function ownerEnded(lock: string): boolean {
  let owner: number
  try {
    const [pid, host] = fs.readFileSync(lock, 'utf8').split(' ')
    if (host !== os.hostname()) return false
    owner = Number(pid)
  } catch {
    return false // given back meanwhile
  }
  try {
    process.kill(owner, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

/** Removes a lock that was in this state, and no other: of several processes that see it abandoned one removes it. */
function remove(lock: string, state: string): void {
  const aside = `${lock}.${randomBytes(6).toString('hex')}`
  try {
    fs.renameSync(lock, aside)
  } catch {
    return // somebody else has
  }
  // It may be a new one, of a process that removed the abandoned one first.
  if (stateOf(aside) !== state) {
    try {
      fs.linkSync(aside, lock)
    } catch {
      // Its owner has given it back, or there is a newer one.
    }
  }
  fs.rmSync(aside, { force: true })
}
