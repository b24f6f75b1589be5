/**
 * Colour profiles of cameras, screens and scanners: a curve for each channel, and where its primaries lie.
 *
 * Pictures of 8 bits are converted by lcms, inside sharp. For more bits sharp gives the numbers of Display P3 or skips
 * grey profiles, and lcms goes through a coarse table, which is off by 20 levels near the edge of sRGB; so their
 * profiles are read here. Profiles that are tables themselves stay with lcms.
 *
 * Source: ICC.1:2010, clauses 7.2 (header), 7.3 (tags), 10.5 (curves), 10.15 (parametric curves).
 */

/** What a profile's bytes say. */
export interface ColourProfile {
  /** The kind of pictures it belongs to. */
  space: 'rgb' | 'grey' | 'cmyk' | 'other'
  /** It has a table, which is then what counts: lcms reads it. */
  table: boolean
  /** Curves and primaries; `null` for tables, and where the profile has no complete set. */
  shaper: Shaper | null
}

/** From numbers to light, and from that to the light of sRGB's primaries. */
export interface Shaper {
  /** One for red, green and blue each, or one for grey: from 0..1 to 0..1. */
  curves: readonly Curve[]
  /** 3 x 3, row by row, for light of red, green and blue. */
  matrix: readonly number[]
}

type Curve = (value: number) => number

/** From XYZ under D50, what profiles are written in, to light of sRGB's primaries. */
const XYZ_TO_SRGB = [
  3.1341359, -1.6173863, -0.4906619, -0.9787955, 1.9162544, 0.0334427, 0.0719554, -0.2289769, 1.4053861,
]

const SPACES: Record<string, ColourProfile['space']> = { 'RGB ': 'rgb', GRAY: 'grey', CMYK: 'cmyk' }

/** Reads a profile; `null` for bytes that are none. */
export function readProfile(bytes: Uint8Array): ColourProfile | null {
  const icc = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  try {
    if (icc.toString('latin1', 36, 40) !== 'acsp') return null
    const space = SPACES[icc.toString('latin1', 16, 20)] ?? 'other'
    const tags = readTags(icc)
    const table = tags.has('A2B0') || tags.has('A2B1')
    const connection = icc.toString('latin1', 20, 24) // what the curves lead to: light, unless it is Lab
    return { space, table, shaper: table || connection !== 'XYZ ' ? null : readShaper(space, tags) }
  } catch {
    return null // it ends within a number
  }
}

function readTags(icc: Buffer): Map<string, Buffer> {
  const tags = new Map<string, Buffer>()
  const count = Math.min(icc.readUInt32BE(128), 200)
  for (let i = 0; i < count; i++) {
    const entry = 132 + 12 * i
    const [offset, size] = [icc.readUInt32BE(entry + 4), icc.readUInt32BE(entry + 8)]
    tags.set(icc.toString('latin1', entry, entry + 4), icc.subarray(offset, offset + size))
  }
  return tags
}

function readShaper(space: ColourProfile['space'], tags: Map<string, Buffer>): Shaper | null {
  if (space === 'grey') {
    const curve = readCurve(tags.get('kTRC'))
    return curve && { curves: [curve], matrix: [] }
  }
  if (space !== 'rgb') return null
  const curves = ['rTRC', 'gTRC', 'bTRC'].map((name) => readCurve(tags.get(name)))
  const columns = ['rXYZ', 'gXYZ', 'bXYZ'].map((name) => readXyz(tags.get(name)))
  if (curves.includes(null) || columns.includes(null)) return null
  const matrix = Array.from({ length: 9 }, (_, i) => {
    const row = Math.floor(i / 3) * 3
    return [0, 1, 2].reduce((sum, k) => sum + XYZ_TO_SRGB[row + k]! * columns[i % 3]![k]!, 0)
  })
  return { curves: curves as Curve[], matrix }
}

function readXyz(tag: Buffer | undefined): number[] | null {
  if (tag?.toString('latin1', 0, 4) !== 'XYZ ') return null
  return [8, 12, 16].map((at) => tag.readInt32BE(at) / 65536)
}

function readCurve(tag: Buffer | undefined): Curve | null {
  const type = tag?.toString('latin1', 0, 4)
  if (type === 'curv') return sampledCurve(tag!)
  return type === 'para' ? parametricCurve(tag!) : null
}

function sampledCurve(tag: Buffer): Curve {
  const count = tag.readUInt32BE(8)
  if (count === 0) return (x) => x
  if (count === 1) {
    const gamma = tag.readUInt16BE(12) / 256
    return (x) => x ** gamma
  }
  tag.readUInt16BE(12 + 2 * (count - 1)) // throws where the samples are not all there
  const samples = Float64Array.from({ length: count }, (_, i) => tag.readUInt16BE(12 + 2 * i) / 65535)
  return (x) => {
    const at = x * (count - 1)
    const below = Math.min(count - 2, Math.floor(at))
    return samples[below]! + (at - below) * (samples[below + 1]! - samples[below]!)
  }
}

/** The five shapes: from a power alone to one with offsets and a straight beginning. */
function parametricCurve(tag: Buffer): Curve | null {
  const type = tag.readUInt16BE(8)
  const count = [1, 3, 4, 5, 7][type]
  if (count === undefined) return null
  const [g, a = 1, b = 0, third = 0, fourth = 0, e = 0, f = 0] = Array.from(
    { length: count },
    (_, i) => tag.readInt32BE(12 + 4 * i) / 65536,
  )
  const power = (x: number) => Math.max(0, a * x + b) ** g!
  if (type === 0) return power
  if (type === 1) return (x) => (x >= -b / a ? power(x) : 0)
  if (type === 2) return (x) => (x >= -b / a ? power(x) + third : third)
  return (x) => (x >= fourth ? power(x) + e : third * x + f)
}
