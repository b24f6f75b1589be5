/**
 * Listening to `AbortSignal`s: one listener for any number of jobs, present only while one of them runs.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { IConFaceError } from '../errors'

/** The jobs that one signal stops. */
interface Watch {
  readonly stops: Set<{ stop(): void }>
  readonly listener: () => void
}

/** A listener for every job would make Node warn of a leak at the eleventh. */
const watches = new WeakMap<AbortSignal, Watch>()

/**
 * Calls `stop` when `signal` fires; at once where it has fired.
 *
 * @returns A function that unregisters `stop`; call it when the work has ended. The last one removes the listener.
 */
export function onAbort(signal: AbortSignal | undefined, stop: () => void): () => void {
  if (!signal) return () => {}
  if (signal.aborted) {
    stop()
    return () => {}
  }
  const { stops, listener } = watches.get(signal) ?? watch(signal)
  const own = { stop }
  stops.add(own)
  return () => {
    stops.delete(own)
    if (stops.size > 0 || watches.get(signal)?.stops !== stops) return
    watches.delete(signal)
    signal.removeEventListener('abort', listener)
  }
}

function watch(signal: AbortSignal): Watch {
  const stops: Watch['stops'] = new Set()
  const listener = () => {
    watches.delete(signal)
    signal.removeEventListener('abort', listener)
    for (const { stop } of stops) stop() // one that is taken back meanwhile is not called
  }
  const made: Watch = { stops, listener }
  watches.set(signal, made)
  signal.addEventListener('abort', listener)
  return made
}

/** The error of work that `signal` stopped. */
export function abortError(signal: AbortSignal): IConFaceError {
  return new IConFaceError('ERR_ICONFACE_ABORTED', 'aborted by the signal', { cause: signal.reason })
}

/** Throws if `signal` has fired. Called after every wait: a signal can fire during any of them. */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal)
}

/** Waits so many milliseconds, less when `signal` fires. */
export async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  const wake = new AbortController()
  const release = onAbort(signal, () => wake.abort())
  await sleep(milliseconds, undefined, { signal: wake.signal }).catch(() => undefined)
  release()
}

/** `promise`, or an early rejection when `signal` fires; the work behind `promise` goes on for whoever else waits. */
export async function abortable<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  let release = () => {}
  const aborted = new Promise<never>((_, reject) => {
    release = onAbort(signal, () => reject(abortError(signal!)))
  })
  try {
    const result = await Promise.race([promise, aborted])
    checkAborted(signal)
    return result
  } finally {
    release()
  }
}
