/**
 * How runs are timed: on the CPU in rounds in which nobody else computed, on a GPU by its own clock.
 */

import type { RunParams } from '../ops'
import { quantile, quietest, type Timed, type Times, type Timing } from './quiet'

export interface Meter {
  /** Threads that can compute at the same time; `null` on a device, where CPU time means nothing. */
  readonly workers: number | null
  /** Times `run`. `result` comes from a run that updated operands in place only once. `share`: of the usual time. */
  measure<T extends Times>(run: (params: RunParams) => Promise<T>, share?: number): Promise<Timed<T>>
}

export const cpuMeter = (timing: Timing, workers: number): Meter => ({
  workers,
  measure: (run, share = 1) => quietest((repeat) => run({ repeat }), { ...timing, round: timing.round * share }),
})

/** Runs of one measurement on a device. */
const MOST = 200

/**
 * Two runs to load kernels and to see how long one takes, then `round` seconds of them queued behind each other, their
 * operands in places that the L2 cache does not hold; `fewest` runs, whatever they last. The first of those is not
 * counted.
 */
export const deviceMeter = (round: number, fewest: number): Meter => ({
  workers: null,
  async measure(run, share = 1) {
    const first = await run({ repeat: 2 })
    const wanted = Math.ceil((round * share) / first.seconds[1]!)
    const { seconds } = await run({ repeat: 1 + Math.min(MOST, Math.max(fewest, wanted)), rotate: true })
    return { seconds: seconds.slice(1), cpuSeconds: [], others: null, result: first }
  },
})

/** Seconds of a typical run, and of the CPU time of one thread (the same on a device). */
export function typical(meter: Meter, { seconds, cpuSeconds }: Times, q = 0.5) {
  const wall = quantile(seconds, q)
  const cpu = meter.workers === null ? wall : cpuSeconds.reduce((a, b) => a + b, 0) / cpuSeconds.length / meter.workers
  return { wall, cpu }
}
