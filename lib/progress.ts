/**
 * Reports of a job's progress to the caller's `onProgress`.
 */

import type { Progress, RestoreOptions } from './options'
import type { Fail } from './queue'
import { isThenable } from './util/realm'

/** A report of a job's progress; what it leaves out has a default. */
export type Report = Omit<Progress, 'position' | 'done' | 'etaMs'> & Partial<Progress>
export type Reporter = (report: Report, stop: AbortSignal, fail: Fail) => void

/** Calls the caller's `onProgress`; whatever goes wrong in there stops the job. */
export function reporter(onProgress: RestoreOptions['onProgress']): Reporter {
  return (report, stop, fail) => {
    if (!onProgress || stop.aborted) return
    try {
      const returned: unknown = onProgress({ position: 0, done: 0, etaMs: null, ...report })
      if (isThenable(returned)) Promise.resolve(returned).catch(fail)
    } catch (error) {
      fail(error)
    }
  }
}

/** Reports a waiting job's position in the queue. */
export function waiting(report: Reporter) {
  let before: number | undefined
  return (position: number, stop: AbortSignal, fail: Fail) => {
    const steps = (before ??= position)
    report({ stage: 'queued', step: steps - position, steps, position, elapsedMs: 0 }, stop, fail)
  }
}
