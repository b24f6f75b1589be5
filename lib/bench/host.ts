/**
 * The cost of a job outside its networks, and the delay it causes in the process that waits for it.
 */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { synthesizeCheckpoint } from '../prepare/synthesize'
import { IConFace } from '../iconface'
import { allocateImage, type RawImage } from '../image'
import { random } from './case'
import { quantile } from './quiet'

/** Milliseconds. */
export interface HostReport {
  /** Side of the result; steps of the sampler. */
  size: number
  steps: number
  threads: number
  wall: number
  stages: Record<string, number>
  /** Wall time in no stage of the networks: checks, queue, planning, calls into the addon, cropping. */
  outside: number
  /** Delay of timers, beside a job and in an idle process. */
  eventLoopP99: { busy: number; idle: number }
  /** Reading a file of 64 KiB, the libuv pool's work. */
  readFile: { busyMedian: number; busyP99: number; idleMedian: number; idleP99: number }
}

/** Stages in which no network computes. */
const OUTSIDE = new Set(['read', 'prepare'])

/** Restores that are timed; the medians count. So many that over 1,000 reads beside them make a 99th percentile. */
const RESTORES = 12

/** Restores before them, at the smallest size: a server's JavaScript is compiled, its memory is there. */
const WARM_UP = 50

/**
 * Restores raw pixels with the tiny model at `size` px, with one reference, and watches timers and file reads
 * meanwhile. What decoding a file costs is the decoder's matter and not counted here.
 */
export async function hostReport(
  size: number,
  { threads, isa, device }: { threads: number; isa: string; device: string },
): Promise<HostReport> {
  const folder = await mkdtemp(join(tmpdir(), 'iconface-bench-'))
  try {
    await synthesizeCheckpoint('tiny', join(folder, 'tiny'))
    const file = join(folder, 'file')
    await writeFile(file, random('f32', [1 << 14]).data)
    const picture = photo(size)
    await using model = await IConFace.load(join(folder, 'tiny'), { threads, isa, device })
    const job = { size, steps: 4, seed: 1, align: 'none' } as const
    for (let i = 0; i < WARM_UP; i++) await model.restore(picture, [picture], { ...job, size: 16, steps: 1 })
    await model.restore(picture, [picture], { ...job, steps: 1 })
    const idle = await watch(file, () => sleep(2000))
    const walls: number[] = []
    const busy = await watch(file, async () => {
      const timings = []
      for (let i = 0; i < RESTORES; i++) {
        const begun = performance.now()
        timings.push((await model.restore(picture, [picture], job)).timings)
        walls.push(performance.now() - begun)
      }
      return timings
    })
    const median = (of: (run: number) => number) =>
      quantile(
        Array.from({ length: RESTORES }, (_, run) => of(run)),
        0.5,
      )
    const names = Object.keys(busy.result[0]!).filter((stage) => stage !== 'total')
    const stages = Object.fromEntries(names.map((stage) => [stage, median((run) => busy.result[run]![stage]!)]))
    const networks = (run: number) =>
      names.reduce((sum, stage) => sum + (OUTSIDE.has(stage) ? 0 : busy.result[run]![stage]!), 0)
    return {
      size,
      steps: job.steps,
      threads: model.info.threads,
      wall: quantile(walls, 0.5),
      stages,
      outside: median((run) => walls[run]! - networks(run)),
      eventLoopP99: { busy: quantile(busy.delays, 0.99), idle: quantile(idle.delays, 0.99) },
      readFile: {
        busyMedian: quantile(busy.reads, 0.5),
        busyP99: quantile(busy.reads, 0.99),
        idleMedian: quantile(idle.reads, 0.5),
        idleP99: quantile(idle.reads, 0.99),
      },
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** How late a timer of 1 ms fires and how long reads take while `work` goes on; milliseconds. */
async function watch<T>(
  file: string,
  work: () => Promise<T>,
): Promise<{ result: T; delays: number[]; reads: number[] }> {
  const [delays, reads]: [number[], number[]] = [[], []]
  let done = false
  const elapsed = async (what: () => Promise<unknown>) => {
    const begun = performance.now()
    await what()
    return performance.now() - begun
  }
  const timers = async () => {
    while (!done) delays.push(Math.max(0, (await elapsed(() => sleep(1))) - 1))
  }
  const files = async () => {
    for (; !done; await sleep(2)) reads.push(await elapsed(() => readFile(file)))
  }
  const watching = Promise.all([timers(), files()])
  const result = await work()
  done = true
  await watching
  return { result, delays, reads }
}

/** A picture of noise. */
export function photo(size: number): RawImage {
  const picture = allocateImage(size, size)
  picture.data.set(Uint8Array.from(random('f32', [size * size * 3], 60, 128).data as Float32Array))
  return picture
}
