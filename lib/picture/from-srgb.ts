/**
 * 8-bit sRGB to the numbers of another colour profile: the way back from `srgb.ts`.
 *
 * The calling thread computes in pieces of a few milliseconds and yields to the event loop between them.
 */

import { setImmediate } from 'node:timers/promises'
import type { Shaper } from './profile'
import { type Samples, srgbLight } from './srgb'

/** Pixels of a piece. */
const PIECE = 1 << 16
/** Entries of the table from the square root of light to numbers: next to black, light itself would be too coarse. */
const ROOT = 65535
/** Shares of red, green and blue in the brightness of a grey picture. Source: ITU-R BT.709. */
const BRIGHTNESS = [0.2126, 0.7152, 0.0722] as const

/**
 * Samples whose colours are those of `rgb`; what the profile does not have is clipped.
 *
 * @param rgb    Red, green and blue of every pixel, 0 to 255.
 * @param kind   How many channels, and the number that means full light.
 * @param shaper The profile; `null`: sRGB.
 */
export async function fromSrgb(
  rgb: Uint8Array,
  { channels, full }: Omit<Samples, 'data'>,
  shaper: Shaper | null,
): Promise<Uint8Array | Uint16Array> {
  const pixels = rgb.length / 3
  const out = full > 255 ? new Uint16Array(pixels * channels) : new Uint8Array(pixels * channels)
  const colour = shaper ? profiled(shaper, channels, full) : plain(channels, full)
  for (let first = 0; first < pixels; first += PIECE) {
    if (first > 0) await setImmediate()
    for (let pixel = first; pixel < Math.min(pixels, first + PIECE); pixel++) {
      colour(rgb[3 * pixel]!, rgb[3 * pixel + 1]!, rgb[3 * pixel + 2]!, out, channels * pixel)
    }
  }
  return out
}

/** Writes one pixel's numbers at `at`. */
type Writer = (red: number, green: number, blue: number, out: Uint8Array | Uint16Array, at: number) => void

function plain(channels: 1 | 3, full: number): Writer {
  const [r, g, b] = BRIGHTNESS
  const scale = full / 255
  if (channels === 1) {
    return (red, green, blue, out, at) => {
      out[at] = (r * red + g * green + b * blue) * scale + 0.5
    }
  }
  return (red, green, blue, out, at) => {
    out[at] = red * scale + 0.5
    out[at + 1] = green * scale + 0.5
    out[at + 2] = blue * scale + 0.5
  }
}

function profiled({ curves, matrix }: Shaper, channels: 1 | 3, full: number): Writer {
  const light = Float64Array.from({ length: 256 }, (_, level) => srgbLight(level / 255))
  const tables = curves.map((curve) => inverseTable(curve, full))
  const number = (table: Float64Array, value: number) =>
    table[value > 0 ? (value < 1 ? (Math.sqrt(value) * ROOT + 0.5) | 0 : ROOT) : 0]! + 0.5
  if (channels === 1) {
    const [r, g, b] = BRIGHTNESS
    return (red, green, blue, out, at) => {
      out[at] = number(tables[0]!, r * light[red]! + g * light[green]! + b * light[blue]!)
    }
  }
  const [a, b, c, d, e, f, g, h, i] = inverse3(matrix)
  return (red, green, blue, out, at) => {
    const [x, y, z] = [light[red]!, light[green]!, light[blue]!]
    out[at] = number(tables[0]!, a! * x + b! * y + c! * z)
    out[at + 1] = number(tables[1]!, d! * x + e! * y + f! * z)
    out[at + 2] = number(tables[2]!, g! * x + h! * y + i! * z)
  }
}

/** From the square root of light, 0 to {@link ROOT}, to numbers: the inverse of a curve that rises. */
function inverseTable(curve: (value: number) => number, full: number): Float64Array {
  const table = new Float64Array(ROOT + 1)
  let below = 0
  for (let entry = 0; entry <= ROOT; entry++) {
    const light = (entry / ROOT) ** 2
    while (below < full - 1 && curve((below + 1) / full) <= light) below++
    const [low, high] = [curve(below / full), curve((below + 1) / full)]
    const part = high > low ? (light - low) / (high - low) : 0
    table[entry] = Math.min(full, Math.max(0, below + part))
  }
  return table
}

/** The inverse of a 3 x 3 matrix, both row by row. */
function inverse3(m: readonly number[]): number[] {
  const at = (row: number, column: number) => m[((row + 3) % 3) * 3 + ((column + 3) % 3)]!
  const minor = (i: number, j: number) => at(i + 1, j + 1) * at(i + 2, j + 2) - at(i + 1, j + 2) * at(i + 2, j + 1)
  const determinant = [0, 1, 2].reduce((sum, j) => sum + at(0, j) * minor(0, j), 0)
  return Array.from({ length: 9 }, (_, k) => minor(k % 3, Math.floor(k / 3)) / determinant)
}
