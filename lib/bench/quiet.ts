/**
 * Timing on a shared machine: rounds in which other processes computed are measured again.
 */

import { cpus } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Result } from '../ops'

/** Seconds of every repetition of a run. */
export interface Times {
  seconds: number[]
  /** CPU time of all threads together; their mean is right, one of them only to a tick of the system's clock. */
  cpuSeconds: number[]
}

/** The times in the addon's results. */
export function timesOf(results: object): Times {
  const { seconds, cpuSeconds } = results as Record<'seconds' | 'cpuSeconds', Result>
  return {
    seconds: [...(seconds.data as Float64Array)],
    cpuSeconds: [...(cpuSeconds.data as Float64Array)],
  }
}

/** Times of the quietest rounds. */
export interface Timed<T> extends Times {
  /** Share of all cores' time that other processes used meanwhile, in the worst of these rounds; `null` on a device. */
  others: number | null
  /** What the quietest run gave. */
  result: T
}

/** Seconds: of one round, and to wait for quiet ones in all. */
export interface Timing {
  round: number
  patience: number
}

/** Rounds that are kept, and the share of others up to which a round counts as quiet. */
const ROUNDS = 3
const QUIET = 0.03

/** A run from which on a round is one run, and the seconds of a round of shorter ones. */
const LONG = 3

/**
 * Times `run(repeat)`, which gives the times of every repetition, in rounds until three were quiet or `patience`
 * seconds are over. The first repetition of a round touches new memory and does not count, unless it is a long one.
 */
export async function quietest<T extends Times>(
  run: (repeat: number) => Promise<T>,
  { round, patience }: Timing,
): Promise<Timed<T>> {
  const rounds: (Timed<T> & { others: number })[] = []
  const measure = async (repeat: number, skip: number) => {
    const share = othersShare()
    const result = await run(repeat)
    const { seconds, cpuSeconds } = result
    const times = { seconds: seconds.slice(skip), cpuSeconds: cpuSeconds.slice(skip) }
    rounds.push({ ...times, others: share(), result })
    rounds.sort((a, b) => a.others - b.others)
    return seconds[0]!
  }
  const first = await measure(1, 0)
  const long = first > LONG
  if (!long) rounds.pop() // a warm-up
  const repeat = long ? 1 : Math.min(50, Math.max(1, Math.ceil(round / first))) + 1
  const begun = performance.now()
  const over = () => performance.now() - begun > 1000 * patience
  while (rounds.length < ROUNDS || (!over() && rounds[ROUNDS - 1]!.others > QUIET)) {
    while (!over() && (await watchOthers(250)) > QUIET);
    await measure(repeat, long ? 0 : 1)
  }
  const kept = rounds.slice(0, ROUNDS)
  return {
    seconds: kept.flatMap(({ seconds }) => seconds),
    cpuSeconds: kept.flatMap(({ cpuSeconds }) => cpuSeconds),
    others: kept[ROUNDS - 1]!.others,
    result: kept[0]!.result,
  }
}

/** The share of all cores' time that other processes use in the next `ms`. */
async function watchOthers(ms: number): Promise<number> {
  const share = othersShare()
  await sleep(ms)
  return share()
}

/** From now to the call of the result: the share of all cores' time that other processes used. */
export function othersShare(): () => number {
  const [before, mine] = [cpuTimes(), process.cpuUsage()]
  return () => {
    const after = cpuTimes()
    const { user, system } = process.cpuUsage(mine)
    const all = after.all - before.all
    if (all <= 0) return 0 // shorter than the system's clock, or a system that does not tell
    return Math.max(0, (after.busy - before.busy - (user + system) / 1000) / all)
  }
}

/** Milliseconds of all cores since they started. */
function cpuTimes(): { busy: number; all: number } {
  let [busy, all] = [0, 0]
  for (const { times } of cpus()) {
    busy += times.user + times.nice + times.sys + times.irq
    all += times.user + times.nice + times.sys + times.irq + times.idle
  }
  return { busy, all }
}

/** The smallest value that a share `q` of all values does not exceed; NaN of none. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? NaN
}

export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length
