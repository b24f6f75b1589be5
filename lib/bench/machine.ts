/**
 * The machine that a benchmark ran on, and its limits, measured in the same run.
 */

import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'
import { packageVersion } from '../cli/command'
import { glibcVersion } from '../native'
import type { OpContext } from '../ops'
import { bytesOf, type Precision, random } from './case'
import { mean, quantile, quietest, timesOf, type Timing } from './quiet'

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

/** Arithmetic in registers, by the processor time of `workers` threads, which other processes do not lengthen. */
export async function flopsLimits(ops: OpContext, workers: number, quick: boolean): Promise<Limits['flops']> {
  const peak = async (dtype: Precision) => {
    const results = await ops.run('peak_flops', {}, { dtype, rounds: 2000, repeat: quick ? 2 : 20 })
    return (results.flops.data as Float64Array)[0]! / (mean(timesOf(results).processorSeconds) / workers)
  }
  return { f32: await peak('f32'), bf16: await peak('bf16') }
}

/** Bytes per second of the best copy that reads and writes `bytes` in all: by the clock, and by processor time. */
export async function copyRates(ops: OpContext, bytes: number, workers: number, timing: Timing) {
  const x = random('f32', [Math.max(1, Math.round(bytes / 2 / bytesOf('f32')))])
  let [wall, processor] = [Infinity, Infinity]
  for (const streaming of [true, false]) {
    const { seconds, processorSeconds } = await quietest(
      async (repeat) => timesOf(await ops.run('stream_copy', { x }, { streaming, repeat })),
      { ...timing, round: timing.round / 4 },
    )
    wall = Math.min(wall, quantile(seconds, 0.25))
    processor = Math.min(processor, mean(processorSeconds) / workers)
  }
  return { wall: (2 * x.data.byteLength) / wall, processor: (2 * x.data.byteLength) / processor }
}
