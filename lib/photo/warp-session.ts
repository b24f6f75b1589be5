/**
 * The native threads that cut faces out of photographs and paste them back. They need no model.
 *
 * All calls with the same number of threads share a session, which does one after the other: crops and pastes of one
 * photograph happen in the order in which they were asked for.
 */
import { loadAddon, native, type NativeSession } from '../native'
import { abortError, checkAborted, onAbort } from '../util/abort'

/** Where and how long the work may be done. */
export interface WarpOptions {
  /** Threads that compute, 1 to 1024; one per core by default. Results do not depend on it. */
  threads?: number | undefined
  /** Stops the work: the promise then rejects with `ERR_ICONFACE_ABORTED`, and the photograph is as it was. */
  signal?: AbortSignal | undefined
}

/** By number of threads; the garbage collector ends those that nobody uses. */
const sessions = new Map<number | undefined, WeakRef<NativeSession>>()

function sessionOf(threads: number | undefined): NativeSession {
  const open = sessions.get(threads)?.deref()
  if (open) return open
  const session = native(() => new (loadAddon().Session)({ threads, device: 'cpu' }))
  sessions.set(threads, new WeakRef(session))
  return session
}

/** Runs a job on native threads, unless the signal fires before. */
export async function onWarpThreads(
  { threads, signal }: WarpOptions,
  start: (session: NativeSession) => { promise: Promise<void>; cancel(): void },
): Promise<void> {
  checkAborted(signal)
  const { promise, cancel } = native(() => start(sessionOf(threads)))
  const release = onAbort(signal, cancel)
  try {
    await native(() => promise)
  } catch (error) {
    if (signal?.aborted) throw abortError(signal)
    throw error
  } finally {
    release()
  }
}
