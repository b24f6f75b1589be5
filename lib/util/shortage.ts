/**
 * Failures for want of threads, memory or open files, reported by sharp, Node or the addon. They have error codes of
 * their own: the machine or its limits are the cause, not the call.
 */

import { IConFaceError, isIConFaceError } from '../errors'
import { messageOf } from './realm'

/** The error for a failure for want of threads, memory or files; `undefined` if `cause` is another failure. */
export function shortage(cause: unknown): IConFaceError | undefined {
  if (isIConFaceError(cause)) return undefined
  const [reason = ''] = messageOf(cause).split('\n')
  const code = (cause as NodeJS.ErrnoException | null)?.code
  if (/(creat\w*|start\w*) thread/i.test(reason)) {
    const message = `could not start a thread: ${reason}; raise the limit on processes (ulimit -u, pids.max), or end others`
    return new IConFaceError('ERR_ICONFACE_THREADS', message, { cause })
  }
  if (code === 'EMFILE' || code === 'ENFILE') {
    const message = `too many files are open (${code}): close some, or raise the limit (ulimit -n)`
    return new IConFaceError('ERR_ICONFACE_IO', message, { cause })
  }
  const memory =
    code === 'ENOMEM' ||
    code === 'ERR_MEMORY_ALLOCATION_FAILED' ||
    /out of memory|allocation failed|cannot allocate|could not allocate|Invalid (typed )?array( buffer)? length/i.test(
      reason,
    )
  if (!memory) return undefined
  return new IConFaceError('ERR_ICONFACE_OUT_OF_MEMORY', `there is not enough memory: ${reason}`, { cause })
}

/**
 * For `catch`: throws `cause` where it is an error of this package, the error of a shortage where it is one, else
 * `ERR_ICONFACE_UNSUPPORTED` with what could not be done.
 *
 * @example
 * await image.png().toBuffer().catch(cannot('encode a picture as png'))
 */
export function cannot(action: string): (cause: unknown) => never {
  return (cause) => {
    if (isIConFaceError(cause)) throw cause
    const message = `cannot ${action}: ${messageOf(cause).trim()}`
    throw shortage(cause) ?? new IConFaceError('ERR_ICONFACE_UNSUPPORTED', message, { cause })
  }
}

/** What `allocate` makes; `ERR_ICONFACE_OUT_OF_MEMORY` where there is no memory for it. */
export function allocated<T>(bytes: number, allocate: () => T): T {
  try {
    return allocate()
  } catch (cause) {
    const message = `could not allocate ${(bytes / 2 ** 20).toFixed(1)} MiB: ${messageOf(cause)}`
    throw new IConFaceError('ERR_ICONFACE_OUT_OF_MEMORY', message, { cause })
  }
}
