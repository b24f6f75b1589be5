/**
 * The machine that a benchmark ran on, and its limits, measured in the same run.
 */

import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'
import { packageVersion } from '../util/package'
import { loadAddon } from '../native'
import { glibcVersion } from '../util/system-libraries'
import type { OpContext } from '../ops'
import { bytesOf, random } from './case'
import { type Meter, typical } from './meter'
import { mean, timesOf } from './quiet'

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

/** The device that computed, where it was not the CPU. */
export interface DeviceFacts {
  /** `cuda:<n>`, `cuda-emulated`. */
  device: string
  name: string
  /** Compute capability, such as 9.0; `null` of the emulator. */
  capability: string | null
  memoryGiB: number | null
  driver: string | null
}

/** What `device` (not `cpu`) is; the first GPU for `cuda`. */
export function deviceFacts(device: string): DeviceFacts {
  const emulated = { name: 'emulated on the CPU', capability: null, memoryGiB: null, driver: null }
  if (device === 'cuda-emulated') return { device, ...emulated }
  const index = Number(device.split(':')[1] ?? 0)
  const { cuda } = loadAddon().info()
  const found = cuda?.devices[index]
  return {
    device: `cuda:${index}`,
    name: found?.name ?? '',
    capability: found?.capability ?? null,
    memoryGiB: found ? Math.round(found.totalBytes / 2 ** 30) : null,
    driver: cuda?.driverVersion ?? null,
  }
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

/** The machine's limits: per second, no operation can exceed them. */
export interface Limits {
  flops: { f32: number; bf16: number; fp8?: number }
  /** Bytes read and written by a copy of arrays far larger than the caches. */
  copy: number
}

type PeakType = 'f32' | 'bf16' | 'f8_e4m3'

/** Arithmetic without memory, by the time of `meter`: other processes do not lengthen it. */
export async function flopsLimits(
  ops: OpContext,
  meter: Meter,
  quick: boolean,
  fp8: boolean,
): Promise<Limits['flops']> {
  const peak = async (dtype: PeakType) => {
    const rounds = meter.workers === null ? await roundsOnDevice(ops, dtype, quick) : 2000
    const repeat = quick ? 2 : meter.workers === null ? 100 : 20
    const results = await ops.run('peak_flops', {}, { dtype, rounds, repeat })
    const times = timesOf(results)
    const seconds = meter.workers === null ? typical(meter, times).wall : mean(times.cpuSeconds) / meter.workers
    return (results.flops.data as Float64Array)[0]! / seconds
  }
  const usual = { f32: await peak('f32'), bf16: await peak('bf16') }
  return fp8 ? { ...usual, fp8: await peak('f8_e4m3') } : usual
}

/**
 * Rounds that take 2 ms, in which launching is negligible; 100 runs of them also bring the clock to its steady
 * frequency.
 */
async function roundsOnDevice(ops: OpContext, dtype: PeakType, quick: boolean): Promise<number> {
  const [enough, most] = [2e-3, 1e6]
  for (let rounds = 1; ;) {
    const [, seconds = 0] = timesOf(await ops.run('peak_flops', {}, { dtype, rounds, repeat: 2 })).seconds
    if (quick || seconds >= enough || rounds >= most) return rounds
    rounds = Math.min(most, rounds * Math.ceil(Math.min(100, (1.1 * enough) / seconds)))
  }
}

/** Bytes per second of the best copy that reads and writes `bytes` in all: by the clock, and by CPU time. */
export async function copyRates(ops: OpContext, bytes: number, meter: Meter) {
  const x = random('f32', [Math.max(1, Math.round(bytes / 2 / bytesOf('f32')))])
  let [wall, cpu] = [Infinity, Infinity]
  for (const streaming of [true, false]) {
    const times = await meter.measure(
      async (params) => timesOf(await ops.run('stream_copy', { x }, { streaming, ...params })),
      0.25,
    )
    const seconds = typical(meter, times, 0.25)
    wall = Math.min(wall, seconds.wall)
    cpu = Math.min(cpu, seconds.cpu)
  }
  return { wall: (2 * x.data.byteLength) / wall, cpu: (2 * x.data.byteLength) / cpu }
}
