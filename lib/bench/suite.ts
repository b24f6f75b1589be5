/**
 * Runs benchmarks: which, how often, against which limit.
 */

import { openCheckpoint } from '../checkpoint/layout'
import type { Checkpoint } from '../networks'
import { OpContext } from '../ops'
import type { Case, Family, Precision } from './case'
import { conv2d } from './conv2d'
import { type HostReport, hostReport, quantile } from './host'
import { copyLimit, copyRate, flopsLimits, type Limits, load, machine, type Machine } from './machine'
import { loadNetworks, type NetworkCase, networkCases, peakMemory, weightBytes } from './networks'
import { attention, linear, linearSwiglu, lowrankCrossAttention } from './products'
import { batchNormPrelu, flowStep, groupNormSilu, layerNormModulate, qkNormRope } from './streams'

export const FAMILIES: readonly Family[] = [
  ...[linear, linearSwiglu, attention, lowrankCrossAttention, conv2d],
  ...[layerNormModulate, qkNormRope, flowStep, groupNormSilu, batchNormPrelu],
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
  const options = { threads: plan.threads, isa: plan.isa }
  const before = load()
  await using ops = new OpContext(options)
  const flops = await flopsLimits(ops, plan.quick)
  plan.onLimits(flops)
  const rows: Row[] = []
  const done = (row: Row) => {
    plan.signal.throwIfAborted()
    rows.push(row)
    plan.onRow(row)
  }
  const memory = plan.model ? await runNetworks(openCheckpoint(plan.model), plan, flops, done) : null
  const copy = await copyLimit(ops, plan.quick)
  for (const family of FAMILIES.filter(({ name }) => plan.names.includes(name))) {
    for (const shape of shapesOf(family, plan)) {
      for (const precision of family.precisions.filter((p) => plan.precisions.includes(p))) {
        done(await runCase(ops, family, shape, precision, flops, plan.quick))
      }
    }
  }
  const host = plan.names.includes('host') ? await hostReport(plan.quick ? 64 : 512, options) : null
  const facts = { format: 1, date: new Date().toISOString(), machine: machine(), isa: plan.isa } as const
  return {
    ...facts,
    threads: plan.threads,
    load: { before, after: load() },
    limits: { flops, copy },
    rows,
    memory,
    host,
  }
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
  peak: Limits['flops'],
  quick: boolean,
): Promise<Row> {
  const made: Case = family.make(shape, precision)
  const { seconds, error } = await repeat((n) => made.run(ops, n), quick ? 0.02 : 1.5)
  const work = 'flops' in made.work ? made.work.flops : made.work.bytes
  const limit = 'flops' in made.work ? peak[precision] : await copyRate(ops, work, seconds.length)
  return {
    ...{ name: family.name, shape: shape.join('x'), precision },
    ...summary(seconds, 'flops' in made.work ? 'flops' : 'bytes', work, limit),
    ...{ error, correct: error <= TOLERANCE[precision] },
  }
}

async function runNetworks(
  checkpoint: Checkpoint,
  plan: Plan,
  peak: Limits['flops'],
  done: (row: Row) => void,
): Promise<Memory | null> {
  const side = plan.quick ? 64 : 512
  let memory: Memory | null = null
  for (const precision of [...plan.precisions].reverse()) {
    const cases = networkCases(checkpoint, side).filter(({ name }) => plan.names.includes(name))
    if (cases.length === 0) return null
    await using networks = await loadNetworks(checkpoint, precision, plan)
    for (const network of cases) {
      // The face encoder computes in f32 in every precision.
      if (network.name === 'face_embedding' && precision === 'bf16' && plan.precisions.includes('f32')) continue
      const computes = network.name === 'face_embedding' ? 'f32' : precision
      const { seconds, finite } = await repeat((n) => network.run(networks, n), plan.quick ? 0.02 : 3)
      if (network.name.startsWith('forward') && memory === null) {
        memory = { precision, peak: peakMemory(), weights: weightBytes(checkpoint) }
      }
      done(networkRow(network, computes, seconds, peak[computes], finite))
    }
  }
  return memory
}

function networkRow(
  { name, shape, flops }: NetworkCase,
  precision: Precision,
  seconds: readonly number[],
  limit: number,
  finite: boolean,
): Row {
  const found = summary(seconds, 'flops', flops, limit)
  return { name, shape, precision, ...found, error: null, correct: finite }
}

/** A warm-up, then at least three runs and as many as fit into `budget` seconds, fifty at most. */
async function repeat<T extends { seconds: number[] }>(
  run: (repeat: number) => Promise<T>,
  budget: number,
): Promise<T> {
  const first = (await run(1)).seconds[0]!
  const runs = Math.min(50, Math.max(3, Math.ceil(budget / first)))
  const result = await run(runs + 1)
  return { ...result, seconds: result.seconds.slice(1) } // the first run touches new pages
}

function summary(seconds: readonly number[], kind: 'flops' | 'bytes', amount: number, limit: number) {
  const median = quantile(seconds, 0.5)
  const rate = amount / median
  return {
    ...{ median, min: Math.min(...seconds), max: Math.max(...seconds), runs: seconds.length },
    ...{ work: { kind, amount }, rate, limit, fraction: rate / limit },
  }
}
