/**
 * One model computes one job at a time; the others wait here, first come, first served.
 */

import { IConFaceError } from './errors'

/**
 * A job's work. It must end soon after `stop` fires; the job then rejects with `stop.reason` whatever the work gave.
 * `fail` stops the job itself, with the error it shall reject with.
 */
export type Work<T> = (stop: AbortSignal, fail: (error: unknown) => void) => Promise<T>

interface Job {
  stop: AbortController
  start(): Promise<void>
}

export class JobQueue {
  #waiting: Job[] = []
  #running: Job | null = null
  #closed: IConFaceError | null = null
  #idle: (() => void)[] = []

  /** @param limit Most jobs that may wait; one more is refused with `ERR_ICONFACE_QUEUE_FULL`. */
  constructor(readonly limit: number) {}

  /**
   * Does `work` when its turn comes.
   *
   * @param signal Stops the job, waiting or running: it rejects with `ERR_ICONFACE_ABORTED`, `cause` the signal's reason.
   */
  async run<T>(work: Work<T>, signal?: AbortSignal): Promise<T> {
    this.check()
    if (signal?.aborted) throw abortError(signal)
    const stop = new AbortController()
    const onAbort = () => stop.abort(abortError(signal!))
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      return await this.#enqueue(work, stop)
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** Throws what a job asked for now would be refused with. */
  check(): void {
    if (this.#closed) throw this.#closed
    if (!this.#running || this.#waiting.length < this.limit) return
    throw new IConFaceError(
      'ERR_ICONFACE_QUEUE_FULL',
      `${this.#waiting.length} jobs are waiting already; await some of them first, or raise maxQueue (${this.limit})`,
    )
  }

  /** Stops all jobs with `reason`, refuses later ones with it, and resolves when nothing runs any more. */
  async close(reason: IConFaceError): Promise<void> {
    this.#closed ??= reason
    const jobs = this.#running ? [this.#running, ...this.#waiting] : this.#waiting
    for (const job of [...jobs]) job.stop.abort(reason)
    if (this.#running) await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  #enqueue<T>(work: Work<T>, stop: AbortController): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const start = async () => {
        try {
          const result = await work(stop.signal, (error) => stop.abort(error))
          stop.signal.throwIfAborted()
          resolve(result)
        } catch (error) {
          reject(stop.signal.aborted ? stop.signal.reason : error)
        }
      }
      const job: Job = { stop, start }
      const leave = () => {
        if (this.#running === job) return // the work itself ends it
        this.#waiting = this.#waiting.filter((other) => other !== job)
        reject(stop.signal.reason)
      }
      stop.signal.addEventListener('abort', leave, { once: true })
      this.#waiting.push(job)
      this.#next()
    })
  }

  #next(): void {
    if (this.#running) return
    const job = this.#waiting.shift()
    if (!job) {
      for (const resolve of this.#idle.splice(0)) resolve()
      return
    }
    this.#running = job
    void job.start().then(() => {
      this.#running = null
      this.#next()
    })
  }
}

/** The error of a job that `signal` stopped. */
export function abortError(signal: AbortSignal): IConFaceError {
  return new IConFaceError('ERR_ICONFACE_ABORTED', 'aborted by the signal', { cause: signal.reason })
}

/** `promise`, or an early rejection when `signal` fires; the work behind `promise` goes on for whoever else waits. */
export async function abortable<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise
  let onAbort: (() => void) | undefined
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(abortError(signal))
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort!)
  }
}
