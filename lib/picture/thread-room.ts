/**
 * Node's own pool of threads starts with the first picture or file, and ends the process where the system refuses one of
 * its threads; so may libvips. Whether there is room for them is asked before.
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
  if (!poolStarted) access('/', () => {}) // the first call starts all of them
  poolStarted = true
}

/** The same before the first picture of a process that has loaded no model; without the addon nobody can ask. */
export function checkThreadRoomOnce(): void {
  if (poolStarted) return
  try {
    checkThreadRoom()
  } catch (error) {
    if (isIConFaceError(error) && error.code === 'ERR_ICONFACE_THREADS') throw error
  }
}

/** As libuv reads it: 4 when nothing is said, 1 to 1024. */
function poolSize(said: string | undefined): number {
  if (said === undefined) return 4
  const size = Number.parseInt(said, 10)
  return Math.min(Math.max(Number.isNaN(size) ? 1 : size, 1), 1020)
}
