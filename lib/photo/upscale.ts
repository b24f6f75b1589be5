/**
 * Larger results: the photograph enlarged, and faces placed in it.
 */

import { sharp } from '../picture/sharp'
import { isUint16Array } from '../util/realm'
import { cannot } from '../util/shortage'
import type { Alignment } from './alignment'
import type { Photograph } from './photograph'
import { allocatePixels } from './pixels'

/** A photograph enlarged by Lanczos, in its own depth and colours. */
export async function enlarged(photo: Photograph, factor: number): Promise<Photograph> {
  const { data, width, height, channels } = photo
  const wide = isUint16Array(data)
  const space = channels < 3 ? (wide ? 'grey16' : 'b-w') : wide ? 'rgb16' : 'srgb'
  const image = sharp(data, { raw: { width, height, channels }, limitInputPixels: false })
  if (wide) image.pipelineColourspace(space)
  const { data: bytes } = await image
    .resize(width * factor, height * factor, { kernel: 'lanczos3', fit: 'fill' })
    .toColourspace(space)
    .raw({ depth: wide ? 'ushort' : 'uchar' })
    .toBuffer({ resolveWithObject: true })
    .catch(cannot('enlarge the photograph'))
  const pixels = allocatePixels(width * factor, height * factor, channels, wide ? 16 : 8)
  pixels.data.set(wide ? new Uint16Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length / 2) : bytes)
  return { ...photo, ...pixels }
}

/** Where a face lies in a photograph that is `factor` times larger. Pixel centres are whole numbers in both. */
export function scaledAlignment(alignment: Alignment, factor: number): Alignment {
  if (factor === 1) return alignment
  const [a, b, c, d, e, f] = alignment.matrix
  const [p, q, r, s, t, u] = alignment.inverse
  const back = 0.5 / factor - 0.5
  const there = 0.5 * factor - 0.5
  const landmarks = alignment.landmarks.map(([x, y]) => [x * factor + there, y * factor + there] as const)
  return {
    ...alignment,
    matrix: [a / factor, b / factor, c + (a + b) * back, d / factor, e / factor, f + (d + e) * back],
    inverse: [p * factor, q * factor, r * factor + there, s * factor, t * factor, u * factor + there],
    landmarks: landmarks as unknown as Alignment['landmarks'],
  }
}
