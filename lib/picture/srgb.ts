/**
 * Numbers of more than 8 bits to 8-bit sRGB.
 *
 * The calling thread computes in pieces of a few milliseconds and yields to the event loop between them.
 */

import { setImmediate } from 'node:timers/promises'
import type { Shaper } from './profile'

/** Samples as decoders give them, row by row. */
export interface Samples {
  data: Uint8Array | Uint16Array | Float32Array
  channels: 1 | 3
  /** The number that means full light; 1 for floats. */
  full: number
}

/** Pixels of a piece. */
const PIECE = 1 << 16
/** Entries of the table from light to sRGB: next to black, where it is steepest, they are 0.05 levels apart. */
const LIGHT = 65535

/** RGB bytes of samples whose numbers mean what the profile says; `null`: they are sRGB's. */
export async function toSrgb(samples: Samples, shaper: Shaper | null): Promise<Uint8Array> {
  return convert(samples, shaper ?? SRGB[samples.channels])
}

/** RGB bytes of samples whose numbers mean what the profile says; colours that sRGB does not have are clipped. */
export async function convert(samples: Samples, { curves, matrix }: Shaper): Promise<Uint8Array> {
  const { data, channels } = samples
  const [entries, scale] = samples.full === 1 ? [LIGHT, LIGHT] : [samples.full, 1]
  const tables = curves.map((curve) => Float32Array.from({ length: entries + 1 }, (_, i) => curve(i / entries)))
  const [red, green, blue] = [tables[0]!, tables[1] ?? tables[0]!, tables[2] ?? tables[0]!]
  const [a, b, c, d, e, f, g, h, i] = matrix.length === 9 ? matrix : [1, 0, 0, 0, 1, 0, 0, 0, 1]
  const encode = encoding()
  const pixels = data.length / channels
  const out = new Uint8Array(3 * pixels)
  const index = (at: number) => clip(data[at]! * scale, entries)
  for (let first = 0; first < pixels; first += PIECE) {
    if (first > 0) await setImmediate()
    for (let pixel = first; pixel < Math.min(pixels, first + PIECE); pixel++) {
      const at = pixel * channels
      const r = red[index(at)]!
      const [x, y] =
        channels === 1 ? [green[index(at)]!, blue[index(at)]!] : [green[index(at + 1)]!, blue[index(at + 2)]!]
      out[3 * pixel] = encode[clip((a! * r + b! * x + c! * y) * LIGHT, LIGHT)]!
      out[3 * pixel + 1] = encode[clip((d! * r + e! * x + f! * y) * LIGHT, LIGHT)]!
      out[3 * pixel + 2] = encode[clip((g! * r + h! * x + i! * y) * LIGHT, LIGHT)]!
    }
  }
  return out
}

/** 16-bit numbers of sRGB to its bytes, rounded. */
export async function narrow(data: Uint16Array): Promise<Uint8Array> {
  const out = new Uint8Array(data.length)
  for (let first = 0; first < data.length; first += 3 * PIECE) {
    if (first > 0) await setImmediate()
    for (let at = first; at < Math.min(data.length, first + 3 * PIECE); at++) out[at] = (data[at]! + 128) / 257
  }
  return out
}

/** The nearest whole number from 0 to `most`; 0 for what is no number. */
function clip(value: number, most: number): number {
  return value > 0 ? (value < most ? (value + 0.5) | 0 : most) : 0
}

let encodingTable: Uint8Array | undefined

/** From light, 0 to {@link LIGHT}, to the bytes of sRGB. Source: IEC 61966-2-1. */
function encoding(): Uint8Array {
  return (encodingTable ??= Uint8Array.from({ length: LIGHT + 1 }, (_, i) => {
    const light = i / LIGHT
    return Math.round(255 * (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055))
  }))
}

/** The light, 0 to 1, of a number of sRGB, 0 to 1. Source: IEC 61966-2-1. */
export function srgbLight(value: number): number {
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
}

/** sRGB itself, by the number of channels. */
const SRGB: Record<1 | 3, Shaper> = {
  1: { curves: [srgbLight], matrix: [] },
  3: { curves: [srgbLight, srgbLight, srgbLight], matrix: [1, 0, 0, 0, 1, 0, 0, 0, 1] },
}
