/**
 * A check that the system will start the threads which decoding needs. libuv starts its thread pool at the first picture or
 * file and aborts the process if the system refuses a thread; so may libvips.
 */

import { access } from 'node:fs'
import { IConFaceError, isIConFaceError } from '../errors'
import { loadAddon } from '../native'

/** Threads that libvips starts beside those of Node's pool, to decode and encode pictures. */
const LIBVIPS = 4

let poolStarted = false

/**
 * Starts Node's pool, if this package has not done so already.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_THREADS` where the system would refuse its threads, or those of libvips.
 */
export function checkThreadRoom(): void {
  const needed = LIBVIPS + (poolStarted ? 0 : poolSize(process.env.UV_THREADPOOL_SIZE))
  if (!loadAddon().canStartThreads(needed)) {
    throw new IConFaceError(
      'ERR_ICONFACE_THREADS',
      `the system refuses to start ${needed} more threads, which reading and writing pictures needs: ` +
        'raise the limit on processes and threads (ulimit -u, pids.max of a container), or end other processes',
    )
  }
  if (!poolStarted) access('/', () => {}) // the first call starts the whole pool
  poolStarted = true
}

/** {@link checkThreadRoom} before the first picture of a process. Without the addon nothing is checked: only it can ask. */
export function checkThreadRoomOnce(): void {
  if (poolStarted) return
  try {
    checkThreadRoom()
  } catch (error) {
    if (isIConFaceError(error) && error.code === 'ERR_ICONFACE_THREADS') throw error
  }
}

/** The size of libuv's pool: 4 without the variable, else 1 to 1024. */
function poolSize(said: string | undefined): number {
  if (said === undefined) return 4
  const size = Number.parseInt(said, 10)
  return Math.min(Math.max(Number.isNaN(size) ? 1 : size, 1), 1020)
}
