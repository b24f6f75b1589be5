/**
 * What a job costs beside its networks, and what it costs the process that waits for it.
 */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import { synthesizeCheckpoint } from '../checkpoint/synthesize'
import { IConFace } from '../iconface'
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
  /** Wall time in no stage of the networks: queue, crossing the border, decoding the pictures (stage `read`). */
  outside: number
  /** Delay of timers, beside a job and in an idle process. */
  eventLoopP99: { busy: number; idle: number }
  /** Reading a file of 64 KiB, the libuv pool's work. */
  readFile: { busyMedian: number; busyP99: number; idleMedian: number; idleP99: number }
}

/** Restores with the tiny model at `size` px, with one reference, and watches timers and file reads meanwhile. */
export async function hostReport(size: number, options: { threads?: number; isa?: string }): Promise<HostReport> {
  const folder = await mkdtemp(join(tmpdir(), 'iconface-bench-'))
  try {
    await synthesizeCheckpoint('tiny', join(folder, 'tiny'))
    const file = join(folder, 'file')
    await writeFile(file, random('f32', [1 << 14]).data)
    const picture = await photo(size)
    await using model = await IConFace.load(join(folder, 'tiny'), options)
    const job = { size, steps: 4, seed: 1 }
    await model.restore(picture, [picture], { ...job, steps: 1 }) // warm-up
    const idle = await watch(file, () => sleep(1000))
    let wall = 0
    const busy = await watch(file, async () => {
      const begun = performance.now()
      const { timings } = await model.restore(picture, [picture], job)
      wall = performance.now() - begun
      return timings
    })
    const { total: _, ...stages } = busy.result
    const networks = Object.entries(stages).reduce((sum, [stage, ms]) => sum + (stage === 'read' ? 0 : ms), 0)
    return {
      ...{ size, steps: job.steps, threads: model.info.threads },
      ...{ wall, stages, outside: wall - networks },
      eventLoopP99: { busy: quantile(busy.delays, 0.99), idle: quantile(idle.delays, 0.99) },
      readFile: {
        ...{ busyMedian: quantile(busy.reads, 0.5), busyP99: quantile(busy.reads, 0.99) },
        ...{ idleMedian: quantile(idle.reads, 0.5), idleP99: quantile(idle.reads, 0.99) },
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
    for (; !done; await sleep(5)) reads.push(await elapsed(() => readFile(file)))
  }
  const watching = Promise.all([timers(), files()])
  const result = await work()
  done = true
  await watching
  return { result, delays, reads }
}

function photo(size: number): Promise<Buffer> {
  const bytes = random('f32', [size * size * 3], 60, 128).data as Float32Array
  return sharp(Buffer.from(Uint8Array.from(bytes)), { raw: { width: size, height: size, channels: 3 } })
    .png()
    .toBuffer()
}
