/**
 * A benchmark's findings for people to read.
 */

import { byteSize, duration } from '../cli/terminal'
import type { Limits } from './machine'
import type { Report, Row } from './suite'

/** Widths; negative ones align to the left. */
const COLUMNS = [-24, -22, -4, 10, 10, 10, 13, 6, 7, 8, 7] as const

/** The table's first line. */
export const HEADER = line(['name', 'shape', '', 'median', 'min', 'max', 'rate', 'limit', 'alone', 'error', 'others'])

/** One line of the table. */
export function rowText(row: Row): string {
  const { name, shape, precision, median, min, max, work, rate, fraction, error, correct } = row
  const unit = work.kind === 'flops' ? 'GFLOP/s' : 'GB/s'
  const digits = work.kind === 'flops' ? 0 : 1
  return line([
    ...[name, shape, precision, ...[median, min, max].map(time)],
    ...[
      `${(rate / 1e9).toFixed(digits)} ${unit}`,
      ...[fraction, row.fractionAlone].map((share) => `${(100 * share).toFixed(0)} %`),
    ],
    (error === null ? (correct ? 'finite' : 'NaN') : error.toExponential(0)) + (correct ? '' : ' WRONG'),
    `${(100 * row.others).toFixed(0)} %`,
  ])
}

/** The machine and its arithmetic. */
export function headText(
  { machine, isa, threads }: Pick<Report, 'machine' | 'isa' | 'threads'>,
  flops: Limits['flops'],
): string {
  const { processor, family, model, cores, system } = machine
  const numbers = family === null ? '' : ` (family ${family}, model ${model})`
  return (
    `${processor}${numbers}, ${cores} cores, ${system}
` +
    `${isa}, ${threads} threads; arithmetic in registers: f32 ${giga(flops.f32)}, bf16 ${giga(flops.bf16)} GFLOP/s
`
  )
}

/** What follows the table: memory, the cost beside the networks, other load. */
export function tailText({ limits, memory, host, load, machine }: Report): string {
  const lines = [`copy of 128 MiB: ${(limits.copy / 1e9).toFixed(1)} GB/s, reads and writes counted`]
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
  if (load.before > machine.cores / 2) {
    lines.push(`other processes were running (load ${load.before} before): repeat on an idle machine`)
  }
  return lines.map((text) => `${text}\n`).join('')
}

const giga = (rate: number) => (rate / 1e9).toFixed(0)
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
