/**
 * Runs benchmarks: which, how often, against which limit.
 */

import { availableParallelism } from 'node:os'
import { openCheckpoint } from '../checkpoint/open'
import type { Checkpoint } from '../checkpoint/spec'
import type { Networks } from '../networks/networks'
import { OpContext } from '../ops'
import { type Case, type Family, type Precision, relativeError } from './case'
import { FAMILIES } from './families'
import { type HostReport, hostReport } from './host'
import {
  copyRates,
  type DeviceFacts,
  deviceFacts,
  flopsLimits,
  type Limits,
  load,
  machine,
  type Machine,
} from './machine'
import { deviceMeter, type Meter, cpuMeter, typical } from './meter'
import { loadNetworks, type NetworkCase, networkCases, type NetworkSizes, peakMemory, weightBytes } from './networks'
import type { Timed } from './quiet'
import { type RestoreReport, restoreReports } from './restores'

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
  /**
   * Relative error of sampled results against float64 (operations), or of a device's results at a small size against
   * the CPU's in f32 (networks); `null` for networks on the CPU.
   */
  error: number | null
  /** The error is within rounding, and a network's results are finite. */
  correct: boolean
  /** Share of all cores that other processes used in the worst round kept; `null` on a device. */
  others: number | null
  /** CPU time of all threads divided by their number: the seconds of a run that nobody else delayed. */
  alone: number | null
  /** As `fraction`, counted by `alone`. */
  fractionAlone: number | null
}

export interface Report {
  format: 1
  /** False until the last case is measured; stays false if the benchmark is interrupted. */
  finished: boolean
  /** When it began. */
  date: string
  machine: Machine
  /** What computed, where it was not the CPU. */
  device: DeviceFacts | null
  isa: string
  threads: number
  /** Processes that wanted to run at the beginning and at the end, this one included: other load spoils times. */
  load: { before: number; after: number }
  /** The copy is measured after the networks; `null` until then. */
  limits: { flops: Limits['flops']; copy: Limits['copy'] | null }
  rows: Row[]
  memory: Memory | null
  host: HostReport | null
  restores: RestoreReport[]
}

/** Memory of the process after its first transformer forward at the first precision; bytes. */
export interface Memory {
  precision: Precision
  peak: number
  weights: number
}

export interface Plan {
  /** `cpu`, `cuda`, `cuda:<n>`, `cuda-emulated`. */
  device: string
  /** Names of families and networks, `host` and `restore`. */
  names: readonly string[]
  /** Replaces the shapes of the families named. */
  shape?: readonly number[]
  /** f32 and bf16 by default; on a device bf16, and f32 for what knows no other. */
  precisions?: readonly Precision[]
  quick: boolean
  /** Seconds that a case may wait for rounds in which nobody else computes. */
  patience: number
  threads: number
  isa: string
  /** The folder of the checkpoint of networks and restores. */
  model?: string
  signal: AbortSignal
  onLimits(flops: Limits['flops']): void
  onRow(row: Row): void
  onRestore(report: RestoreReport): void
  /** Called with what there is after the limits, after every case, and at the end; nothing is measured meanwhile. */
  keep(report: Report): Promise<void>
}

/** Networks first: their peak memory is the process's own. */
export async function run(plan: Plan): Promise<Report> {
  const { threads, isa, quick, names } = plan
  const [date, before] = [new Date().toISOString(), load()]
  await using ops = new OpContext({ threads, isa, device: plan.device })
  const meter = meterOf(plan)
  const flops = await flopsLimits(ops, meter, quick, plan.precisions?.includes('fp8') ?? false)
  plan.onLimits(flops)
  const device = plan.device === 'cpu' ? null : deviceFacts(plan.device)
  const report: Report = {
    format: 1,
    finished: false,
    date,
    machine: machine(),
    device,
    isa,
    threads,
    load: { before, after: before },
    limits: { flops, copy: null },
    rows: [],
    memory: null,
    host: null,
    restores: [],
  }
  const keep = async () => {
    report.load.after = load()
    await plan.keep(report)
    plan.signal.throwIfAborted()
  }
  const done = async (row: Row) => {
    report.rows.push(row)
    plan.onRow(row)
    await keep()
  }
  await keep()
  if (plan.model) await runNetworks(openCheckpoint(plan.model), plan, meter, report, done)
  report.limits.copy = (await copyRates(ops, copiedBytes(plan), meter)).wall
  for (const family of FAMILIES.filter(({ name }) => names.includes(name))) {
    for (const shape of shapesOf(family, plan)) {
      for (const precision of precisionsOf(family, plan)) {
        await done(await runCase(ops, family, shape, precision, meter, flops))
      }
    }
  }
  if (names.includes('host')) {
    report.host = await hostReport(quick ? 64 : 512, plan)
    await keep()
  }
  const onRestore = async (restore: RestoreReport) => {
    report.restores.push(restore)
    plan.onRestore(restore)
    await keep()
  }
  if (names.includes('restore')) await restoreReports({ ...plan, onRestore })
  report.finished = true
  await keep()
  return report
}

function meterOf({ device, threads, quick, patience }: Plan): Meter {
  if (device !== 'cpu') return quick ? deviceMeter(0, 2) : deviceMeter(0.3, 5)
  return cpuMeter({ round: quick ? 0.02 : 0.5, patience }, Math.min(threads, availableParallelism()))
}

/** Of the copy that stands for the memory: far more than caches hold. */
function copiedBytes({ device, quick }: Plan): number {
  if (device === 'cuda-emulated') return 1 << 16
  return quick ? 1 << 22 : device === 'cpu' ? 1 << 28 : 1 << 30
}

function shapesOf(family: Family<Precision>, { shape, quick, device }: Plan): readonly (readonly number[])[] {
  if (shape) return [shape]
  if (quick) return [family.quick]
  return device === 'cpu' ? family.shapes : (family.gpuShapes ?? family.shapes)
}

function precisionsOf({ precisions }: Pick<Family<Precision>, 'precisions'>, plan: Plan): readonly Precision[] {
  if (plan.precisions) return precisions.filter((p) => plan.precisions!.includes(p))
  const usual = precisions.filter((p) => p !== 'fp8')
  return plan.device === 'cpu' || !usual.includes('bf16') ? usual : ['bf16']
}

/**
 * Largest error that rounding explains: of f32 results; of bf16 results (8 bits); of products of e4m3 operands (4 bits
 * each).
 */
const TOLERANCE: Record<Precision, number> = { f32: 2e-5, bf16: 1e-2, fp8: 0.12 }

async function runCase(
  ops: OpContext,
  family: Family<Precision>,
  shape: readonly number[],
  precision: Precision,
  meter: Meter,
  peak: Limits['flops'],
): Promise<Row> {
  const { work, run } = family.make(shape, precision)
  const timed = await meter.measure((params) => run(ops, params))
  const { error, counted = work } = timed.result
  const arithmetic = { wall: peak[precision]!, cpu: peak[precision]! }
  const limit = 'flops' in counted ? arithmetic : await copyRates(ops, counted.bytes, meter)
  const facts = { name: family.name, shape: shape.join('x'), precision }
  return { ...facts, ...summary(timed, counted, meter, limit), error, correct: error <= TOLERANCE[precision] }
}

async function runNetworks(
  checkpoint: Checkpoint,
  plan: Plan,
  meter: Meter,
  report: Report,
  done: (row: Row) => Promise<void>,
): Promise<void> {
  const cases = networkCases(checkpoint, sizesOf(plan)).filter(({ name }) => plan.names.includes(name))
  if (cases.length === 0) return
  await using judge = plan.device === 'cpu' ? null : await Judge.load(checkpoint, plan)
  const wanted = precisionsOf({ precisions: ['f32', 'bf16', 'fp8'] }, plan)
  for (const precision of [...wanted].reverse()) {
    await using networks = await loadNetworks(checkpoint, precision, plan)
    for (const network of cases) {
      // The face encoder computes in f32 in every precision, and fp8 is the transformer's alone.
      const inF32 = network.name === 'face_embedding'
      if (inF32 && precision === 'bf16' && wanted.includes('f32')) continue
      if (precision === 'fp8' && ['encode', 'decode', 'face_embedding'].includes(network.name)) continue
      const computes = inF32 ? 'f32' : precision
      const run = network.make()
      const timed = await meter.measure((params) => run(networks, params))
      if (network.name.startsWith('forward') && report.memory === null && plan.device === 'cpu') {
        report.memory = { precision, peak: peakMemory(), weights: weightBytes(checkpoint) }
      }
      const { name, shape, flops } = network
      const error = judge && (await judge.error(networks, network))
      const finite = timed.result.result.every(Number.isFinite)
      const correct = finite && (error === null || error <= networkTolerance(name, computes))
      const peak = report.limits.flops[computes]!
      const limit = { wall: peak, cpu: peak }
      await done({ name, shape, precision: computes, error, correct, ...summary(timed, { flops }, meter, limit) })
    }
  }
}

/** A picture of 512 px: whole restores on a GPU; on the CPU one transformer forward and one step at half of it. */
function sizesOf({ device, quick }: Plan): NetworkSizes {
  if (device === 'cpu') return { picture: quick ? 64 : 512, forward: quick ? 32 : 256, steps: 1, references: [0] }
  if (quick) return { picture: 32, forward: 32, steps: 2, references: [0, 1] }
  return { picture: 512, forward: 512, steps: 12, references: [0, 1, 3] }
}

/** model-specification.md 7, which knows no fp8; guidance multiplies the rounding of the two predictions. */
const NETWORK_TOLERANCE: Record<Precision, number> = { f32: 1e-4, bf16: 1.5e-2, fp8: 0.15 }
function networkTolerance(name: string, precision: Precision): number {
  return NETWORK_TOLERANCE[precision] * (name === 'denoise' ? 3 : 1)
}

/** Compares a device's networks with the CPU's in f32, at a size that costs little. */
class Judge {
  private constructor(
    readonly checkpoint: Checkpoint,
    readonly exact: Networks,
  ) {}

  static async load(checkpoint: Checkpoint, { threads, isa }: Plan): Promise<Judge> {
    return new Judge(checkpoint, await loadNetworks(checkpoint, 'f32', { threads, isa }))
  }

  /** Relative error of what `like` gives at the small size. */
  async error(networks: Networks, like: NetworkCase): Promise<number> {
    const small = networkCases(this.checkpoint, { picture: 32, forward: 32, steps: 1, references: [1] })
    const run = small.find(({ name }) => name === like.name)!.make()
    const [expected, actual] = [await run(this.exact, {}), await run(networks, {})]
    const values = expected.result
    return relativeError((i) => actual.result[i]!, values.entries())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.exact.dispose()
  }
}

function summary(timed: Timed<unknown>, work: Case['work'], meter: Meter, limit: { wall: number; cpu: number }) {
  const { seconds, others } = timed
  const [kind, amount] = 'flops' in work ? (['flops', work.flops] as const) : (['bytes', work.bytes] as const)
  const { wall: median, cpu } = typical(meter, timed)
  const alone = meter.workers === null ? null : cpu
  const rate = amount / median
  return {
    median,
    min: Math.min(...seconds),
    max: Math.max(...seconds),
    runs: seconds.length,
    others,
    work: { kind, amount },
    rate,
    limit: limit.wall,
    fraction: rate / limit.wall,
    alone,
    fractionAlone: alone === null ? null : amount / alone / limit.cpu,
  }
}
