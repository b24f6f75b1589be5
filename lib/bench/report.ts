/**
 * A benchmark's findings for people to read.
 */

import { byteSize, duration } from '../util/figures'
import type { DeviceFacts, Limits } from './machine'
import type { RestoreReport } from './restores'
import type { Report, Row } from './suite'

/** Widths; negative ones align to the left. */
const COLUMNS = [-24, -22, -4, 10, 10, 10, 13, 6, 7, 8, 7] as const

/** The table's first line. */
export const HEADER = line(['name', 'shape', '', 'median', 'min', 'max', 'rate', 'limit', 'alone', 'error', 'others'])

/** One line of the table. */
export function rowText(row: Row): string {
  const { name, shape, precision, median, min, max, work, rate, fraction, error, correct } = row
  return line([
    name,
    shape,
    precision,
    ...[median, min, max].map(time),
    rateText(rate, work.kind),
    ...[fraction, row.fractionAlone].map(percent),
    (error === null ? (correct ? 'finite' : 'NaN') : error.toExponential(0)) + (correct ? '' : ' WRONG'),
    percent(row.others),
  ])
}

/** FLOP or bytes a second: from 10 TFLOP/s on in these. `null`: not measured yet. */
export function rateText(rate: number | null, kind: Row['work']['kind']): string {
  if (rate === null) return '-'
  if (kind === 'bytes') return `${(rate / 1e9).toFixed(1)} GB/s`
  return rate < 1e13 ? `${(rate / 1e9).toFixed(rate < 1e10 ? 2 : 0)} GFLOP/s` : `${(rate / 1e12).toFixed(1)} TFLOP/s`
}

const percent = (share: number | null) => (share === null ? '-' : `${(100 * share).toFixed(0)} %`)

/** The machine and its arithmetic. */
export function headText(
  { machine, device, isa, threads }: Pick<Report, 'machine' | 'device' | 'isa' | 'threads'>,
  flops: Limits['flops'],
): string {
  const { processor, family, model, cores, system } = machine
  const numbers = family === null ? '' : ` (family ${family}, model ${model})`
  const fp8 = flops.fp8 === undefined ? '' : `, fp8 ${rateText(flops.fp8, 'flops')}`
  const rates = `f32 ${rateText(flops.f32, 'flops')}, bf16 ${rateText(flops.bf16, 'flops')}${fp8}`
  const host = `${processor}${numbers}, ${cores} cores, ${system}\n`
  if (!device) return `${host}${isa}, ${threads} threads; arithmetic in registers: ${rates}\n`
  return `${deviceText(device)}; arithmetic without memory: ${rates}\n${host}`
}

function deviceText({ device, name, capability, memoryGiB, driver }: DeviceFacts): string {
  if (capability === null) return `${device}, ${name}`
  return `${device}, ${name}, compute capability ${capability}, ${memoryGiB} GiB, driver for CUDA ${driver}`
}

/** One line of what follows the table: a whole restore. */
export function restoreText(report: RestoreReport): string {
  const { references, size, steps, precision, wall, denoise, stages, bytes, repeatable, difference, correct } = report
  const parts = Object.entries(stages).filter(([name]) => name !== 'total')
  const compared = difference === null ? '' : `, ${difference.toFixed(2)} levels from the CPU's f32 at a small size`
  return (
    `restore, ${references} references, ${size} px, ${steps} steps, ${precision}: ${duration(wall)}, ` +
    `denoising ${duration(denoise)} (${parts.map(([name, ms]) => `${name} ${duration(ms)}`).join(', ')}); ` +
    `${byteSize(bytes.total)}; ${repeatable ? 'every run gave the same bytes' : 'runs differ'}${compared}${correct ? '' : ' WRONG'}\n`
  )
}

/** What follows the table: memory, the cost beside the networks, other load. */
export function tailText({ limits, memory, host, load, machine, device }: Report): string {
  const lines = [`copy of far more than caches hold: ${rateText(limits.copy, 'bytes')}, reads and writes counted`]
  if (memory) {
    const { peak, weights, precision } = memory
    lines.push(
      `memory of one ${precision} forward: peak ${byteSize(peak)}, weights ${byteSize(weights)}, ` +
        `${byteSize(Math.max(0, peak - weights))} beside them`,
    )
  }
  if (host) {
    const { wall, outside, stages, size, steps, eventLoopP99, readFile } = host
    const parts = Object.entries(stages).map(([name, ms]) => `${name} ${duration(ms)}`)
    lines.push(
      `restore, tiny model, ${size} px, ${steps} steps: ${duration(wall)} (${parts.join(', ')}); ` +
        `outside the networks ${fixed(outside)} ms`,
      `event loop late by (p99) ${fixed(eventLoopP99.busy)} ms beside a job, ${fixed(eventLoopP99.idle)} ms idle; ` +
        `readFile median ${fixed(readFile.busyMedian)} ms, p99 ${fixed(readFile.busyP99)} ms beside a job, ` +
        `${fixed(readFile.idleMedian)} and ${fixed(readFile.idleP99)} ms idle`,
    )
  }
  if (!device && load.before > machine.cores / 2) {
    lines.push(`other processes were running (load ${load.before} before): repeat on an idle machine`)
  }
  return lines.map((text) => `${text}\n`).join('')
}

const fixed = (ms: number) => ms.toFixed(2)

function line(cells: readonly string[]): string {
  return `${cells.map((cell, i) => aligned(cell, COLUMNS[i]!)).join(' ')}\n`
}

function aligned(cell: string, width: number): string {
  return width < 0 ? cell.padEnd(-width) : cell.padStart(width)
}

function time(seconds: number): string {
  if (seconds < 1e-3) return `${(1e6 * seconds).toFixed(1)} us`
  if (seconds < 1) return `${(1e3 * seconds).toFixed(2)} ms`
  return `${seconds.toFixed(2)} s`
}
