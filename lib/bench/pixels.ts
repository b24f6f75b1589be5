/**
 * Benchmarks of what lies between pictures and tensors. Bytes are those of the picture and of the result; resizing
 * reads pixels several times and multiplies.
 */

import type { Tensor } from '../ops'
import { type Family, operation, random, reader, some } from './case'

function picture(height: number, width: number) {
  const data = Uint8Array.from({ length: height * width * 3 }, (_, i) => (i * 2654435761) >>> 24)
  return { dtype: 'u8' as const, shape: [height, width, 3], data } satisfies Tensor
}

/** A photograph, and a picture of the size that it is restored at. */
export const imageToTensor: Family = {
  name: 'image_to_tensor',
  axes: ['height', 'width', 'size'],
  shapes: [
    [1656, 1280, 512],
    [512, 512, 512],
  ],
  quick: [12, 9, 8],
  precisions: ['f32'],
  make([height = 0, width = 0, size = 0]) {
    const pixels = picture(height, width)
    const shortest = Math.min(height, width)
    const [across, down] = [axisOf(width, shortest, size), axisOf(height, shortest, size)]
    return operation(
      'image_to_tensor',
      { bytes: 3 * height * width + 12 * size * size },
      { pixels },
      { size },
      {
        result: 'out',
        *at() {
          for (const i of some(size * size * 3, 256)) {
            const [row, column, channel] = [Math.floor(i / 3 / size), Math.floor(i / 3) % size, i % 3]
            const level = bicubic(down, row, (y) =>
              bicubic(across, column, (x) => pixels.data[(y * width + x) * 3 + channel]!),
            )
            yield [i, (level / 255 - 0.5) / 0.5]
          }
        },
      },
    )
  },
}

/** One axis of a resize: `from` pixels become `to`, of which those from `first` on are wanted. */
interface Axis {
  from: number
  to: number
  first: number
}

/** The picture's shorter side becomes `size`, and the middle of the other one is kept. */
function axisOf(from: number, shortest: number, size: number): Axis {
  const to = Math.floor((from * size) / shortest)
  const half = Math.floor((to - size) / 2)
  return { from, to, first: half + ((to - size) % 2 === 0 ? 0 : half % 2) } // halves to even
}

/** Pillow's bicubic filter, wider where it reduces: weights in units of 2^-22, the result rounded to 8 bits. */
function bicubic({ from, to, first }: Axis, i: number, value: (pixel: number) => number): number {
  const scale = from / to
  const widening = Math.max(scale, 1)
  const centre = (first + i + 0.5) * scale
  const begin = Math.max(0, Math.trunc(centre - 2 * widening + 0.5))
  const end = Math.min(from, Math.trunc(centre + 2 * widening + 0.5))
  const weights = Array.from({ length: end - begin }, (_, k) => cubic((begin + k + 0.5 - centre) / widening))
  const total = weights.reduce((a, b) => a + b, 0)
  const sum = weights.reduce((sum, weight, k) => {
    const whole = Math.trunc((weight / total) * 2 ** 22 + Math.sign(weight) * 0.5)
    return whole === 0 ? sum : sum + whole * value(begin + k)
  }, 2 ** 21)
  return Math.min(255, Math.max(0, Math.floor(sum / 2 ** 22)))
}

function cubic(x: number): number {
  const d = Math.abs(x)
  if (d < 1) return 1.5 * d ** 3 - 2.5 * d ** 2 + 1
  return d < 2 ? -0.5 * d ** 3 + 2.5 * d ** 2 - 4 * d + 2 : 0
}

/** A restored picture; some of it beyond black and white. */
export const tensorToImage: Family = {
  name: 'tensor_to_image',
  axes: ['size'],
  shapes: [[512]],
  quick: [9],
  precisions: ['f32'],
  make([size = 0]) {
    const x = random('f32', [size, size, 3], 0.6)
    const value = reader(x)
    const n = size * size * 3
    return operation(
      'tensor_to_image',
      { bytes: 5 * n },
      { x },
      {},
      {
        result: 'pixels',
        *at() {
          for (const i of some(n, 256)) {
            const inside = Math.min(1, Math.max(-1, value(i)))
            yield [i, Math.trunc(Math.fround(Math.fround(inside + 1) * 127.5))]
          }
        },
      },
    )
  },
}

/** The face of an aligned picture and of a photograph, turned a little, as the face encoder sees it. */
export const faceCrop: Family = {
  name: 'face_crop',
  axes: ['height', 'width', 'size'],
  shapes: [
    [512, 512, 112],
    [1656, 1280, 112],
  ],
  quick: [30, 20, 9],
  precisions: ['f32'],
  make([height = 0, width = 0, size = 0]) {
    const pixels = picture(height, width)
    const scale = size / Math.min(height, width)
    const [cos, sin] = [scale * Math.cos(0.1), scale * Math.sin(0.1)]
    const [left, top] = [0.05 * size, -0.02 * size]
    const radius = Math.max(1, 1 / scale)
    return operation(
      'face_crop',
      { bytes: 3 * height * width + 12 * size * size },
      { pixels },
      { matrix: [cos, -sin, left, sin, cos, top], size },
      {
        result: 'out',
        *at() {
          for (const i of some(size * size * 3, 64)) {
            const [y, x, channel] = [Math.floor(i / 3 / size) - top, (Math.floor(i / 3) % size) - left, i % 3]
            const across = triangle((cos * x + sin * y) / scale ** 2, radius, width)
            const down = triangle((cos * y - sin * x) / scale ** 2, radius, height)
            let sum = 0
            for (const [row, a] of down)
              for (const [column, b] of across) sum += a * b * pixels.data[(row * width + column) * 3 + 2 - channel]!
            yield [i, (sum / 255 - 0.5) / 0.5]
          }
        },
      },
    )
  },
}

/** Weights of a triangle of this radius around `centre`; pixels outside weigh something and are black. */
function triangle(centre: number, radius: number, size: number): [pixel: number, weight: number][] {
  const all: [number, number][] = []
  for (let i = Math.floor(centre - radius); i <= Math.ceil(centre + radius); i++)
    all.push([i, Math.max(0, 1 - Math.abs(i - centre) / radius)])
  const total = all.reduce((sum, [, weight]) => sum + weight, 0)
  return all.filter(([i]) => i >= 0 && i < size).map(([i, weight]) => [i, weight / total])
}
