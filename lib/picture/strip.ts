/**
 * Pictures side by side, each under its label: what was degraded, what helped, what came out. Rows of them, too.
 */

import type { RgbImage } from '../image'
import { LETTER_HEIGHT, lettering } from '../util/lettering'
import type { Bytes } from '../util/realm'
import { sharp } from './sharp'
import { cannot } from '../util/shortage'

/** One column of a strip. */
export interface Column {
  label: string
  /** A second, fainter line; may be empty. */
  note: string
  image: Omit<RgbImage, 'data'> & { data: Bytes }
}

const GAP = 8
const BACKGROUND = { r: 255, g: 255, b: 255 }

/**
 * A PNG with one square column per picture, `side` pixels wide, shown as the model sees it: short side fitted, centre
 * cropped.
 */
export function strip(columns: readonly Column[], side: number): Promise<Buffer> {
  return strips([columns], side)
}

/** Several strips, one below the other. */
export async function strips(rows: readonly (readonly Column[])[], side: number): Promise<Buffer> {
  const header = Math.max(24, Math.round(side * 0.11))
  const width = Math.max(...rows.map((columns) => columns.length)) * (side + GAP) + GAP
  const height = rows.length * (header + side + GAP)
  const overlays = rows.flatMap((columns, row) =>
    columns.map(async (column, i) => {
      const [left, top] = [GAP + i * (side + GAP), row * (header + side + GAP)]
      return [
        { input: caption(column, side, header), left, top },
        { input: await square(column.image, side), left, top: top + header },
      ]
    }),
  )
  return sharp({ create: { width, height, channels: 3, background: BACKGROUND } })
    .composite((await Promise.all(overlays)).flat())
    .png()
    .toBuffer()
    .catch(cannot('encode the strip'))
}

function square(image: Column['image'], side: number): Promise<Buffer> {
  const { data, width, height } = image
  const pixels = sharp(data, { raw: { width, height, channels: 3 } })
  return pixels.resize(side, side).png().toBuffer().catch(cannot('encode a picture of the strip'))
}

/** Label at the left and note at the right, as an SVG of `side` by `header` pixels. */
function caption({ label, note }: Column, side: number, header: number): Buffer {
  const left = lettering(label, '#111')
  const right = lettering(note, '#777')
  const scale = Math.min((header * 0.5) / LETTER_HEIGHT, (side - 4) / (left.width + right.width + 4))
  const y = (header - LETTER_HEIGHT * scale) / 2
  const placed = ({ svg }: { svg: string }, x: number) =>
    `<g transform="translate(${x.toFixed(2)} ${y.toFixed(2)}) scale(${scale.toFixed(3)})">${svg}</g>`
  return Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" width="${side}" height="${header}">` +
      `${placed(left, 2)}${placed(right, side - 2 - right.width * scale)}</svg>`,
  )
}
