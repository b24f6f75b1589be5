/**
 * The queue of a model's jobs: one runs, the others wait in the order in which they were asked for.
 */

import { abortError, checkAborted, onAbort } from './util/abort'
import { IConFaceError } from './errors'

/** Stops a job, which then rejects with `error`. Does nothing if the job is stopped already or has ended. */
export type Fail = (error: unknown) => void

/**
 * A job's work. It must end soon after `stop` fires; the job then rejects with what stopped it, whatever the work gave.
 */
export type Work<T> = (stop: AbortSignal, fail: Fail) => Promise<T>

export interface JobOptions {
  /** Stops the job, waiting or running: it rejects with `ERR_ICONFACE_ABORTED`, `cause` the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /** Most jobs that may wait before this one is refused. Default: the queue's. */
  readonly limit?: number | undefined
  /**
   * Called with the number of jobs before this one whenever that number falls; never within the call that asked for the
   * job.
   */
  readonly onWait?: ((ahead: number, stop: AbortSignal, fail: Fail) => void) | undefined
}

export class JobQueue {
  #waiting: Job[] = []
  #running: Job | null = null
  #closed: (() => IConFaceError) | null = null
  #idle: (() => void)[] = []
  #announcing = false

  /** @param limit Most jobs that may wait; one more is refused with `ERR_ICONFACE_QUEUE_FULL`. */
  constructor(readonly limit: number) {}

  /** Does `work` when its turn comes. */
  async run<T>(work: Work<T>, { signal, limit, onWait }: JobOptions = {}): Promise<T> {
    this.check(limit)
    checkAborted(signal)
    const job = new Job(onWait)
    const release = onAbort(signal, () => job.fail(abortError(signal!)))
    try {
      return await this.#enqueue(job, work)
    } finally {
      release()
    }
  }

  /** Throws if a job asked for now would be refused. */
  check(limit = this.limit): void {
    if (this.#closed) throw this.#closed()
    if (!this.#running || this.#waiting.length < limit) return
    throw new IConFaceError(
      'ERR_ICONFACE_QUEUE_FULL',
      `${this.#waiting.length} jobs are waiting already; await some of them first, or raise maxQueue (${limit})`,
    )
  }

  /** Stops all jobs, refuses later ones, and resolves when nothing runs any more. `reason` makes an error for each. */
  async close(reason: () => IConFaceError): Promise<void> {
    this.#closed ??= reason
    const jobs = this.#running ? [this.#running, ...this.#waiting] : this.#waiting
    for (const job of [...jobs]) job.fail(reason())
    if (this.#running) await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  #enqueue<T>(job: Job, work: Work<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      job.start = async () => {
        try {
          const result = await work(job.stop, job.fail)
          if (job.failure) throw job.failure.error
          resolve(result)
        } catch (error) {
          reject(job.failure ? job.failure.error : error)
        } finally {
          job.ended = true
        }
      }
      const leave = () => {
        if (this.#running === job) return // the work itself ends it
        this.#waiting = this.#waiting.filter((other) => other !== job)
        reject(job.failure!.error)
        this.#announce()
      }
      job.stop.addEventListener('abort', leave, { once: true })
      this.#waiting.push(job)
      this.#next()
    })
  }

  #next(): void {
    if (this.#running) return this.#announce()
    const job = this.#waiting.shift()
    if (!job) {
      for (const resolve of this.#idle.splice(0)) resolve()
      return
    }
    this.#running = job
    this.#announce()
    void job.start().then(() => {
      this.#running = null
      this.#next()
    })
  }

  /** Tells waiting jobs how many are before them, once per turn of the event loop. */
  #announce(): void {
    if (this.#announcing) return
    this.#announcing = true
    queueMicrotask(() => {
      this.#announcing = false
      for (const [i, job] of [...this.#waiting].entries()) job.announce(i + 1)
    })
  }
}

class Job {
  /** What the job rejects with, once it is stopped. */
  failure: { readonly error: unknown } | null = null
  ended = false
  start!: () => Promise<void>
  readonly #controller = new AbortController()
  #announced = 0

  constructor(private readonly onWait: JobOptions['onWait']) {}

  get stop(): AbortSignal {
    return this.#controller.signal
  }

  readonly fail: Fail = (error) => {
    if (this.failure || this.ended) return
    this.failure = { error }
    this.#controller.abort(error)
  }

  announce(ahead: number): void {
    if (this.failure || ahead === this.#announced) return
    this.#announced = ahead
    this.onWait?.(ahead, this.stop, this.fail)
  }
}
