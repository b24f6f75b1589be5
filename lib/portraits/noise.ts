/** Smooth noise, as a table. */

import { Random } from '../util/random'

/** Side of {@link noiseTexture}. */
const NOISE_SIZE = 256

let texture: Float32Array | undefined

/** Smooth noise in [-1, 1], 256 x 256, tileable: three octaves of interpolated lattice values. Made once. */
export function noiseTexture(): Float32Array {
  if (texture) return texture
  const random = new Random(20260131, 'noise')
  const result = new Float32Array(NOISE_SIZE * NOISE_SIZE)
  for (const [cells, weight] of [
    [32, 0.3],
    [64, 0.4],
    [128, 0.5],
  ] as const) {
    const lattice = Float32Array.from({ length: cells * cells }, () => random.uniform(-1, 1))
    const step = cells / NOISE_SIZE
    for (let y = 0; y < NOISE_SIZE; y++) {
      const v = y * step
      const row = Math.floor(v)
      const fv = smooth(v - row)
      for (let x = 0; x < NOISE_SIZE; x++) {
        const u = x * step
        const column = Math.floor(u)
        const fu = smooth(u - column)
        const at = (i: number, j: number) => lattice[(j % cells) * cells + (i % cells)]!
        const top = at(column, row) * (1 - fu) + at(column + 1, row) * fu
        const bottom = at(column, row + 1) * (1 - fu) + at(column + 1, row + 1) * fu
        result[y * NOISE_SIZE + x]! += weight * (top * (1 - fv) + bottom * fv)
      }
    }
  }
  return (texture = result)
}

/** The texture's value at (u, v), each in units of its pixels. */
export function noise(u: number, v: number): number {
  return noiseTexture()[((v & 255) << 8) | (u & 255)]!
}

function smooth(x: number): number {
  return x * x * (3 - 2 * x)
}
