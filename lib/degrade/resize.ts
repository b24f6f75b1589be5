/**
 * Resizing by the filters that pictures meet on their way, separably.
 *
 * Our own code, because libvips enlarges with a shift of half a pixel to the right and down: what a network that is
 * shown such pairs learns first is to shift faces back.
 */

import type { RgbImage } from '../image'

/** Kernels as functions of the distance in pixels, and where they end. */
const KERNELS = {
  linear: { radius: 1, value: (d: number) => Math.max(0, 1 - Math.abs(d)) },
  /** Catmull and Rom's. */
  cubic: { radius: 2, value: (d: number) => bicubic(Math.abs(d), 0, 0.5) },
  mitchell: { radius: 2, value: (d: number) => bicubic(Math.abs(d), 1 / 3, 1 / 3) },
  lanczos3: { radius: 3, value: (d: number) => (Math.abs(d) < 3 ? sinc(d) * sinc(d / 3) : 0) },
} as const

/** `nearest` takes one pixel, `area` averages what a new pixel covers, the others are kernels, wider for shrinking. */
export const RESIZE_FILTERS = ['nearest', 'area', 'linear', 'cubic', 'mitchell', 'lanczos3'] as const
export type ResizeFilter = (typeof RESIZE_FILTERS)[number]

/** `image` at another size, whatever its shape; the corners of both cover each other. */
export function resize(image: RgbImage, width: number, height: number, filter: ResizeFilter): RgbImage {
  if (width === image.width && height === image.height) return image
  const line = 3 * width
  const narrow = new Float64Array(image.height * line)
  const columns = taps(image.width, width, filter)
  for (let y = 0; y < image.height; y++) {
    for (let x = 0; x < width; x++) {
      const { first, weights } = columns[x]!
      for (let c = 0; c < 3; c++) {
        let sum = 0
        let at = (y * image.width + first) * 3 + c
        for (let k = 0; k < weights.length; k++, at += 3) sum += weights[k]! * image.data[at]!
        narrow[y * line + 3 * x + c] = sum
      }
    }
  }
  const resized = new Uint8ClampedArray(height * line) // rounds and clamps
  const sums = new Float64Array(line)
  for (const [y, { first, weights }] of taps(image.height, height, filter).entries()) {
    sums.fill(0)
    for (let k = 0; k < weights.length; k++) {
      const weight = weights[k]!
      let at = (first + k) * line
      for (let x = 0; x < line; x++) sums[x]! += weight * narrow[at++]!
    }
    resized.set(sums, y * line)
  }
  return { data: new Uint8Array(resized.buffer), width, height }
}

/** The pixels that one new pixel is made of, from `first` on; their weights sum to 1. */
interface Taps {
  first: number
  weights: Float64Array
}

/** For each of `to` new pixels in place of `from`. */
function taps(from: number, to: number, filter: ResizeFilter): Taps[] {
  const step = from / to
  return Array.from({ length: to }, (_, i) => {
    if (filter === 'nearest') return { first: Math.floor((i + 0.5) * step), weights: Float64Array.of(1) }
    if (filter === 'area') return covered(i * step, (i + 1) * step, from)
    const { radius, value } = KERNELS[filter]
    const centre = (i + 0.5) * step - 0.5
    const wide = Math.max(1, step) // for shrinking, kernels as wide as the new pixels are
    const first = Math.max(0, Math.ceil(centre - radius * wide))
    const last = Math.min(from - 1, Math.floor(centre + radius * wide))
    return normalized(first, last, (pixel) => value((pixel - centre) / wide))
  })
}

/** Weights by what is covered of each pixel. */
function covered(begin: number, end: number, pixels: number): Taps {
  const first = Math.min(pixels - 1, Math.floor(begin))
  const last = Math.max(first, Math.min(pixels, Math.ceil(end)) - 1)
  return normalized(first, last, (pixel) => Math.max(0, Math.min(end, pixel + 1) - Math.max(begin, pixel)))
}

function normalized(first: number, last: number, weight: (pixel: number) => number): Taps {
  const weights = Float64Array.from({ length: last - first + 1 }, (_, k) => weight(first + k))
  const sum = weights.reduce((a, b) => a + b, 0)
  return { first, weights: weights.map((one) => one / sum) }
}

/** Mitchell and Netravali's family of cubics, at the distance `d` of 0 or more. */
function bicubic(d: number, b: number, c: number): number {
  if (d >= 2) return 0
  if (d >= 1) return ((-b - 6 * c) * d ** 3 + (6 * b + 30 * c) * d ** 2 + (-12 * b - 48 * c) * d + 8 * b + 24 * c) / 6
  return ((12 - 9 * b - 6 * c) * d ** 3 + (-18 + 12 * b + 6 * c) * d ** 2 + 6 - 2 * b) / 6
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x)
}
