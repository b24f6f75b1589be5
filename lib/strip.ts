/**
 * Pictures side by side, each under its label: what was degraded, what helped, what came out.
 */

import sharp from 'sharp'
import { IConFaceError } from './errors'

/** One column of a strip. */
export interface Column {
  label: string
  /** A second, fainter line; may be empty. */
  note: string
  /** A path or encoded bytes. */
  image: string | Uint8Array
}

const GAP = 8
const BACKGROUND = { r: 255, g: 255, b: 255 }

/**
 * A PNG with one square column per picture, `side` pixels wide, shown as the model sees it: short side fitted, centre
 * cropped.
 */
export async function strip(columns: readonly Column[], side: number): Promise<Buffer> {
  const header = Math.max(24, Math.round(side * 0.11))
  const width = columns.length * (side + GAP) + GAP
  const pictures = await Promise.all(columns.map((column) => square(column, side)))
  const overlays = pictures.flatMap((input, i) => {
    const left = GAP + i * (side + GAP)
    return [
      { input: caption(columns[i]!, side, header), left, top: 0 },
      { input, left, top: header },
    ]
  })
  return sharp({ create: { width, height: header + side + GAP, channels: 3, background: BACKGROUND } })
    .composite(overlays)
    .png()
    .toBuffer()
}

async function square({ label, image }: Column, side: number): Promise<Buffer> {
  try {
    return await sharp(image, { autoOrient: true })
      .toColourspace('srgb')
      .removeAlpha()
      .resize(side, side)
      .png()
      .toBuffer()
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new IConFaceError('ERR_ICONFACE_INVALID_IMAGE', `cannot show ${label}: ${reason}`, { cause })
  }
}

/** Label and note as an SVG of `side` by `header` pixels. */
function caption({ label, note }: Column, side: number, header: number): Buffer {
  const size = Math.min(header * 0.55, (side / Math.max(1, label.length + note.length + 1)) * 1.6)
  const text = `font-family="DejaVu Sans, Liberation Sans, Arial, sans-serif" font-size="${size.toFixed(1)}"`
  const base = (header * 0.68).toFixed(1)
  return Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" width="${side}" height="${header}">` +
      `<text x="2" y="${base}" ${text} fill="#111">${escape(label)}</text>` +
      `<text x="${side - 2}" y="${base}" ${text} fill="#666" text-anchor="end">${escape(note)}</text></svg>`,
  )
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
