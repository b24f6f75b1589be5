/**
 * The machine that a benchmark ran on, and its limits, measured in the same run.
 */

import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'
import { packageVersion } from '../cli/command'
import { glibcVersion } from '../native'
import type { OpContext } from '../ops'
import { bytesOf, type Precision, random } from './case'
import { quantile, quietest, type Timing } from './quiet'

export interface Machine {
  processor: string
  /** Vendor's numbers, which tell apart what virtual machines name alike. */
  family: number | null
  model: number | null
  cores: number
  memoryGiB: number
  system: string
  node: string
  package: string
}

export function machine(): Machine {
  const numbers = cpuNumbers()
  return {
    processor: cpus()[0]?.model.trim() ?? '',
    family: numbers('cpu family'),
    model: numbers('model'),
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform}-${process.arch}, kernel ${release()}, glibc ${glibcVersion() ?? 'none'}`,
    node: process.version,
    package: packageVersion(),
  }
}

/** Processes that wanted to run in the last minute, this one included. */
export const load = (): number => Math.round(loadavg()[0]! * 100) / 100

function cpuNumbers(): (name: string) => number | null {
  let text = ''
  try {
    text = readFileSync('/proc/cpuinfo', 'utf8')
  } catch {
    // Only Linux has it.
  }
  return (name) => Number(new RegExp(`^${name}\\s*:\\s*(\\d+)$`, 'm').exec(text)?.[1] ?? NaN) || null
}

/** What no operation can exceed; per second. */
export interface Limits {
  flops: Record<Precision, number>
  /** Bytes read and written by a copy of arrays far larger than the caches. */
  copy: number
}

/**
 * Arithmetic in registers: the best of many bursts of a millisecond, which are shorter than a turn of other processes.
 */
export async function flopsLimits(ops: OpContext, quick: boolean): Promise<Limits['flops']> {
  const peak = async (dtype: Precision) => {
    const { flops, seconds } = await ops.run('peak_flops', {}, { dtype, rounds: 100, repeat: quick ? 20 : 1500 })
    return (flops.data as Float64Array)[0]! / Math.min(...(seconds.data as Float64Array))
  }
  return { f32: await peak('f32'), bf16: await peak('bf16') }
}

/** Bytes per second of the best copy that reads and writes `bytes` in all. */
export async function copyRate(ops: OpContext, bytes: number, timing: Timing): Promise<number> {
  const x = random('f32', [Math.max(1, Math.round(bytes / 2 / bytesOf('f32')))])
  let best = Infinity
  for (const streaming of [true, false]) {
    const { seconds } = await quietest(
      async (repeat) => {
        const results = await ops.run('stream_copy', { x }, { streaming, repeat })
        return { seconds: [...(results.seconds.data as Float64Array)] }
      },
      { ...timing, round: timing.round / 4 },
    )
    best = Math.min(best, quantile(seconds, 0.25))
  }
  return (2 * x.data.byteLength) / best
}
