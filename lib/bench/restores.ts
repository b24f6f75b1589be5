/**
 * Whole restores, from raw pixels to raw pixels.
 */

import { IConFace } from '../iconface'
import type { MemoryEstimate } from '../native'
import type { RawImage } from '../image'
import { findModel } from '../restore'
import type { Precision } from './case'
import { photo } from './host'
import { quantile } from './quiet'

export interface RestoreReport {
  references: number
  /** Side of the result; steps of the sampler. */
  size: number
  steps: number
  precision: string
  /** Milliseconds by the clock, of the median run; `denoise` is the sampler's stage. */
  wall: number
  min: number
  max: number
  runs: number
  denoise: number
  stages: Readonly<Record<string, number>>
  /** Bytes: weights and working memory, where it computes. */
  bytes: MemoryEstimate
  /** Every run gave the same bytes. */
  repeatable: boolean
  /** Levels of 255 (root mean square) between the device's result at a small size and the CPU's in f32. */
  difference: number | null
  /** Both of these are as they must be; bf16 and guidance explain a few levels, fp8 some more. */
  correct: boolean
}

export interface RestorePlan {
  device: string
  threads: number
  isa: string
  quick: boolean
  precisions?: readonly Precision[]
  /** Default: the package's own small model. */
  model?: string
  signal: AbortSignal
  /** Nothing is measured meanwhile. */
  onRestore(report: RestoreReport): Promise<void>
}

/** The size at which a device is compared with the CPU. */
const SMALL = { size: 32, steps: 1, seed: 1 }
const MOST_LEVELS: Record<Precision, number> = { f32: 4, bf16: 4, fp8: 12 }

/**
 * 512 px with 0, 1 and 3 references, as many steps as the model wants, in one precision. `quick`: 32 px, one reference,
 * one step, run twice.
 */
export async function restoreReports(plan: RestorePlan): Promise<void> {
  const { device, threads, isa, quick, signal } = plan
  const folder = plan.model ?? findModel()
  const precision = plan.precisions?.at(-1) ?? 'bf16'
  const difference = device === 'cpu' ? null : await differenceToCpu(folder, plan, precision)
  await using model = await IConFace.load(folder, { device, threads, isa, precision, signal })
  const size = quick ? 32 : 512
  const pictures = Array.from({ length: 4 }, () => photo(size))
  for (const references of quick ? [1] : [0, 1, 3]) {
    const job = { size, seed: 1, align: 'none' as const, signal, ...(quick ? { steps: 1 } : {}) }
    const report = await timeRestores(model, pictures.slice(0, 1 + references), job, quick ? 1 : 3)
    const { operations: _, milliseconds: __, ...bytes } = model.estimate({ references, size })
    const correct = report.repeatable && (difference ?? 0) <= MOST_LEVELS[precision]
    await plan.onRestore({ references, size, precision, ...report, bytes, difference, correct })
  }
}

/** `count` runs after one that does not count. */
async function timeRestores(
  model: IConFace,
  [picture, ...references]: RawImage[],
  job: { size: number; steps?: number; seed: number; align: 'none'; signal: AbortSignal },
  count: number,
) {
  let steps = 0
  const onProgress = (progress: { stage: string; steps: number }) => {
    if (progress.stage === 'sample') steps = progress.steps
  }
  const first = await model.restore(picture!, references, { ...job, onProgress })
  const runs: { wall: number; data: Uint8Array; timings: Readonly<Record<string, number>> }[] = []
  for (let i = 0; i < count; i++) {
    const begun = performance.now()
    const { data, timings } = await model.restore(picture!, references, job)
    runs.push({ wall: performance.now() - begun, data, timings })
  }
  const walls = runs.map(({ wall }) => wall)
  const stages = Object.fromEntries(
    Object.keys(first.timings).map((stage) => [
      stage,
      quantile(
        runs.map(({ timings }) => timings[stage]!),
        0.5,
      ),
    ]),
  )
  return {
    steps,
    wall: quantile(walls, 0.5),
    min: Math.min(...walls),
    max: Math.max(...walls),
    runs: runs.length,
    denoise: stages.sample!,
    stages,
    repeatable: runs.every(({ data }) => Buffer.from(data).equals(Buffer.from(first.data))),
  }
}

async function differenceToCpu(folder: string, plan: RestorePlan, precision: Precision): Promise<number> {
  const { device, threads, isa, signal } = plan
  const pictures = [photo(SMALL.size), photo(SMALL.size)] as const
  const restored = async (options: { device: string; precision: Precision }) => {
    await using model = await IConFace.load(folder, { threads, isa, signal, ...options })
    return (await model.restore(pictures[0], [pictures[1]], { ...SMALL, align: 'none', signal })).data
  }
  const expected = await restored({ device: 'cpu', precision: 'f32' })
  const actual = await restored({ device, precision })
  const squares = actual.reduce((sum, level, i) => sum + (level - expected[i]!) ** 2, 0)
  return Math.sqrt(squares / actual.length)
}
