/**
 * Runs benchmarks: which, how often, against which limit.
 */

import { availableParallelism } from 'node:os'
import { openCheckpoint } from '../checkpoint/layout'
import type { Checkpoint } from '../networks'
import { OpContext } from '../ops'
import type { Case, Family, Precision } from './case'
import { conv2d } from './conv2d'
import { type HostReport, hostReport } from './host'
import { copyRates, flopsLimits, type Limits, load, machine, type Machine } from './machine'
import { loadNetworks, networkCases, peakMemory, weightBytes } from './networks'
import { mean, quantile, quietest, type Timed, type Timing } from './quiet'
import { attention, linear, linearSwiglu, lowrankCrossAttention } from './products'
import { batchNormPrelu, flowStep, groupNormSilu, layerNormModulate, qkNormRope } from './streams'
import { causalAttention, embedding, rmsNorm } from './text'

export const FAMILIES: readonly Family[] = [
  ...[linear, linearSwiglu, attention, lowrankCrossAttention, conv2d],
  ...[layerNormModulate, qkNormRope, flowStep, groupNormSilu, batchNormPrelu],
  ...[embedding, rmsNorm, causalAttention],
]

/** What one benchmark found. Rates are of the median run. */
export interface Row {
  name: string
  shape: string
  precision: Precision
  /** Seconds. */
  median: number
  min: number
  max: number
  runs: number
  /** FLOP or bytes of one run, and of a second. */
  work: { kind: 'flops' | 'bytes'; amount: number }
  rate: number
  /** Best rate of this machine: arithmetic in this precision, or a copy of as many bytes. */
  limit: number
  fraction: number
  /** Relative error of sampled results against float64 (operations); `null` for networks. */
  error: number | null
  /** The error is within rounding, or the network's results are finite. */
  correct: boolean
  /** Share of all processors that other processes used in the worst round kept. */
  others: number
  /** Processor time of all threads divided by their number: the seconds of a run that nobody else delayed. */
  alone: number
  /** As `fraction`, counted by `alone`. */
  fractionAlone: number
}

export interface Report {
  format: 1
  date: string
  machine: Machine
  isa: string
  threads: number
  /** Processes that wanted to run at the beginning and at the end, this one included: other load spoils times. */
  load: { before: number; after: number }
  limits: Limits
  rows: Row[]
  memory: Memory | null
  host: HostReport | null
}

/** Memory of the process after its first transformer forward at the first precision; bytes. */
export interface Memory {
  precision: Precision
  peak: number
  weights: number
}

export interface Plan {
  /** Names of families and networks, and `host`. */
  names: readonly string[]
  /** Replaces the shapes of the families named. */
  shape?: readonly number[]
  precisions: readonly Precision[]
  quick: boolean
  /** Seconds that a case may wait for rounds in which nobody else computes. */
  patience: number
  threads: number
  isa: string
  /** The folder of the networks' checkpoint. */
  model?: string
  signal: AbortSignal
  onLimits(flops: Limits['flops']): void
  onRow(row: Row): void
}

/** Networks first: their peak memory is the process's own. */
export async function run(plan: Plan): Promise<Report> {
  const { threads, isa, quick, names } = plan
  const before = load()
  const workers = workersOf(threads)
  await using ops = new OpContext({ threads, isa })
  const timing = { round: quick ? 0.02 : 0.5, patience: plan.patience }
  const flops = await flopsLimits(ops, workers, quick)
  plan.onLimits(flops)
  const rows: Row[] = []
  const done = (row: Row) => {
    plan.signal.throwIfAborted()
    rows.push(row)
    plan.onRow(row)
  }
  const memory = plan.model ? await runNetworks(openCheckpoint(plan.model), plan, timing, flops, done) : null
  const { wall: copy } = await copyRates(ops, quick ? 1 << 22 : 1 << 28, workers, timing)
  for (const family of FAMILIES.filter(({ name }) => names.includes(name))) {
    for (const shape of shapesOf(family, plan)) {
      for (const precision of family.precisions.filter((p) => plan.precisions.includes(p))) {
        done(await runCase(ops, family, shape, precision, workers, timing, flops))
      }
    }
  }
  const host = names.includes('host') ? await hostReport(quick ? 64 : 512, { threads, isa }) : null
  const facts = { format: 1, date: new Date().toISOString(), machine: machine(), isa, threads } as const
  return { ...facts, load: { before, after: load() }, limits: { flops, copy }, rows, memory, host }
}

function shapesOf(family: Family, { shape, quick }: Plan): readonly (readonly number[])[] {
  if (shape) return [shape]
  return quick ? [family.quick] : family.shapes
}

/** Largest error that rounding explains: results in f32, and in bf16 with its 8 bits. */
const TOLERANCE: Record<Precision, number> = { f32: 2e-5, bf16: 1e-2 }

async function runCase(
  ops: OpContext,
  family: Family,
  shape: readonly number[],
  precision: Precision,
  workers: number,
  timing: Timing,
  peak: Limits['flops'],
): Promise<Row> {
  const { work, run } = family.make(shape, precision)
  const timed = await quietest((n) => run(ops, n), timing)
  const { error } = timed.result
  const arithmetic = { wall: peak[precision], processor: peak[precision] }
  const limit = 'flops' in work ? arithmetic : await copyRates(ops, work.bytes, workers, timing)
  const facts = { name: family.name, shape: shape.join('x'), precision }
  return { ...facts, ...summary(timed, work, workers, limit), error, correct: error <= TOLERANCE[precision] }
}

async function runNetworks(
  checkpoint: Checkpoint,
  plan: Plan,
  timing: Timing,
  peak: Limits['flops'],
  done: (row: Row) => void,
): Promise<Memory | null> {
  const cases = networkCases(checkpoint, plan.quick ? 64 : 512).filter(({ name }) => plan.names.includes(name))
  let memory: Memory | null = null
  for (const precision of [...plan.precisions].reverse()) {
    await using networks = await loadNetworks(checkpoint, precision, plan)
    for (const network of cases) {
      // The face encoder computes in f32 in every precision.
      const inF32 = network.name === 'face_embedding'
      if (inF32 && precision === 'bf16' && plan.precisions.includes('f32')) continue
      const computes = inF32 ? 'f32' : precision
      const timed = await quietest((n) => network.run(networks, n), timing)
      if (network.name.startsWith('forward') && memory === null) {
        memory = { precision, peak: peakMemory(), weights: weightBytes(checkpoint) }
      }
      const { name, shape, flops } = network
      const facts = { name, shape, precision: computes, error: null, correct: timed.result.finite }
      const limit = { wall: peak[computes], processor: peak[computes] }
      done({ ...facts, ...summary(timed, { flops }, workersOf(plan.threads), limit) })
    }
  }
  return memory
}

function summary(
  { seconds, processorSeconds, others }: Timed<unknown>,
  work: Case['work'],
  workers: number,
  limit: { wall: number; processor: number },
) {
  const [kind, amount] = 'flops' in work ? (['flops', work.flops] as const) : (['bytes', work.bytes] as const)
  const median = quantile(seconds, 0.5)
  const alone = mean(processorSeconds) / workers
  const rate = amount / median
  return {
    ...{ median, min: Math.min(...seconds), max: Math.max(...seconds), runs: seconds.length, others },
    ...{ work: { kind, amount }, rate, limit: limit.wall, fraction: rate / limit.wall },
    ...{ alone, fractionAlone: amount / alone / limit.processor },
  }
}

/** Threads that can compute at the same time. */
const workersOf = (threads: number): number => Math.min(threads, availableParallelism())
