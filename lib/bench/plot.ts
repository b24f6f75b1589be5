/**
 * A benchmark as a picture: a bar per row, its fraction of what the machine can do.
 */

import { sharp } from '../picture/sharp'
import { LETTER_HEIGHT, lettering } from '../util/lettering'
import { rateText } from './report'
import type { Report, Row } from './suite'

const WIDTH = 1160
const LEFT = 470 // where bars begin
const SCALE = 500 // a fraction of 1
const RIGHT = LEFT + SCALE
const ROW = 26
const GROUP = 14 // between families
const TOP = 92
const COLOUR = { fp8: '#12365e', bf16: '#2563a8', f32: '#7fb2e5', bytes: '#4c9a6a' } as const
const INK = '#222'
const FAINT = '#888'

/** The PNG. A pale bar counts CPU time instead of the clock. Bars end at 1. */
export function plot(report: Report): Promise<Buffer> {
  const { marks, height } = bars(byName(report.rows))
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height + 34}">` +
    `<rect width="100%" height="100%" fill="#fff"/>${heading(report)}${grid(height)}${marks}</svg>`
  return sharp(Buffer.from(svg), { density: 144 }).png().toBuffer()
}

/** Rows of one name and shape together, in the order in which they first came. */
function byName(rows: readonly Row[]): Row[] {
  const place = (row: Row) => rows.findIndex(({ name, shape }) => name === row.name && shape === row.shape)
  const first = (row: Row) => rows.findIndex(({ name }) => name === row.name)
  return [...rows].sort((a, b) => first(a) - first(b) || place(a) - place(b))
}

function heading({ machine, device, isa, threads, limits, date }: Report): string {
  const rates =
    `limits  f32 ${rateText(limits.flops.f32, 'flops')}  bf16 ${rateText(limits.flops.bf16, 'flops')}  ` +
    `copy ${rateText(limits.copy, 'bytes')}`
  const numbers = machine.family === null ? '' : ` family ${machine.family} model ${machine.model}`
  const where = device
    ? `${device.name}  ${device.device}`
    : `${machine.processor}${numbers}  ${threads} threads  ${isa}`
  const legend = (['bf16', 'f32', 'bytes'] as const).map((kind, i) => {
    const x = 30 + 170 * i
    const label = kind === 'bytes' ? 'of a copy' : kind
    return `<rect x="${x}" y="66" width="14" height="10" fill="${COLOUR[kind]}"/>${text(label, x + 20, 71, 1.4, INK)}`
  })
  return (
    text('fraction of what the machine can do', 30, 22, 2.2, INK) +
    text(`${where}  ${date.slice(0, 10)}  ${rates}`, 30, 48, 1.35, FAINT) +
    legend.join('') +
    (device ? '' : text('pale - by cpu time, what it would be if nobody else computed', 540, 71, 1.4, FAINT))
  )
}

function grid(height: number): string {
  return [0, 25, 50, 75, 100]
    .map((percent) => {
      const x = LEFT + (SCALE * percent) / 100
      return (
        `<path d="M${x} ${TOP - 4}V${height}" stroke="${percent === 100 ? '#aaa' : '#e4e4e4'}"/>` +
        text(String(percent / 100), x, height + 14, 1.35, FAINT, 'middle')
      )
    })
    .join('')
}

function bars(rows: readonly Row[]): { marks: string; height: number } {
  let y = TOP
  const marks: string[] = []
  for (const [i, row] of rows.entries()) {
    const name = rows[i - 1]?.name
    if (name !== undefined && name !== row.name) y += GROUP
    if (name !== row.name) marks.push(text(row.name.replaceAll('_', ' '), 30, y + ROW / 2, 1.5, INK))
    marks.push(bar(row, y, rows[i - 1]?.name === row.name && rows[i - 1]?.shape === row.shape))
    y += ROW
  }
  return { marks: marks.join(''), height: y + 4 }
}

function bar(row: Row, y: number, sameShape: boolean): string {
  const { shape, precision, fraction, fractionAlone, work, rate } = row
  const colour = work.kind === 'bytes' ? COLOUR.bytes : COLOUR[precision]
  const rectangle = (share: number, opacity: number) => {
    const width = Math.max(1, SCALE * Math.min(1, share)).toFixed(1)
    return `<rect x="${LEFT}" y="${y + 4}" width="${width}" height="${ROW - 8}" fill="${colour}" opacity="${opacity}"/>`
  }
  const middle = y + ROW / 2
  const label = sameShape ? '' : shape.replaceAll('x', ' x ').replaceAll('+', ' + ')
  return (
    text(label, LEFT - 50, middle, 1.35, INK, 'end') +
    text(precision, LEFT - 10, middle, 1.35, FAINT, 'end') +
    (fractionAlone === null ? '' : rectangle(fractionAlone, 0.3)) +
    rectangle(fraction, 1) +
    text(fraction.toFixed(2), RIGHT + 12, middle, 1.35, row.correct ? INK : '#c00') +
    (fractionAlone === null ? '' : text(fractionAlone.toFixed(2), RIGHT + 52, middle, 1.35, FAINT)) +
    text(rateText(rate, work.kind), WIDTH - 20, middle, 1.35, INK, 'end')
  )
}

/** Lettering whose middle is at `y`, `scale` times the size of {@link lettering}. */
function text(
  words: string,
  x: number,
  y: number,
  scale: number,
  colour: string,
  anchor: 'start' | 'middle' | 'end' = 'start',
): string {
  const { svg, width } = lettering(words, colour)
  const shift = anchor === 'start' ? 0 : anchor === 'end' ? width * scale : (width * scale) / 2
  const top = y - (LETTER_HEIGHT * scale) / 2
  return `<g transform="translate(${(x - shift).toFixed(1)} ${top.toFixed(1)}) scale(${scale})">${svg}</g>`
}
