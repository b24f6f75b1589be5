/**
 * Benchmarks of operations that only the face detector has, at the sizes of a photograph of 640 x 480; all are limited
 * by memory.
 */

import { type Family, operation, random, reader, some } from './case'

/** MobileNet 0.25's separable convolutions, 3x3. */
export const depthwiseConv2d: Family = {
  name: 'depthwise_conv2d',
  axes: ['height', 'width', 'channels', 'stride'],
  shapes: [
    [240, 320, 8, 1],
    [120, 160, 32, 2],
    [30, 40, 128, 1],
  ],
  quick: [9, 12, 16, 2],
  precisions: ['f32'],
  make([height = 0, width = 0, channels = 0, stride = 1]) {
    const x = random('f32', [1, height, width, channels])
    const weight = random('f32', [3, 3, channels])
    const [value, w] = [reader(x), reader(weight)]
    const [rows, columns] = [Math.ceil(height / stride), Math.ceil(width / stride)]
    const bytes = 4 * channels * (height * width + rows * columns)
    return operation(
      'depthwise_conv2d',
      { bytes },
      { x, weight },
      { stride, pad: 1 },
      {
        result: 'out',
        *at() {
          for (const i of some(rows * columns * channels, 256)) {
            const [row, column] = [Math.floor(i / channels / columns), Math.floor(i / channels) % columns]
            let sum = 0
            for (let tap = 0; tap < 9; tap++) {
              const [y, z] = [row * stride + Math.floor(tap / 3) - 1, column * stride + (tap % 3) - 1]
              if (y < 0 || y >= height || z < 0 || z >= width) continue
              sum += value((y * width + z) * channels + (i % channels)) * w(tap * channels + (i % channels))
            }
            yield [i, sum]
          }
        },
      },
    )
  },
}

/** After ResNet's stem: 3x3, every second one. */
export const maxPool2d: Family = {
  name: 'max_pool2d',
  axes: ['height', 'width', 'channels'],
  shapes: [[240, 320, 64]],
  quick: [9, 12, 16],
  precisions: ['f32'],
  make([height = 0, width = 0, channels = 0]) {
    const x = random('f32', [1, height, width, channels])
    const value = reader(x)
    const [rows, columns] = [Math.ceil(height / 2), Math.ceil(width / 2)]
    return operation(
      'max_pool2d',
      { bytes: 4 * channels * (height * width + rows * columns) },
      { x },
      { size: 3, stride: 2, pad: 1 },
      {
        result: 'out',
        *at() {
          for (const i of some(rows * columns * channels, 256)) {
            const [row, column] = [Math.floor(i / channels / columns), Math.floor(i / channels) % columns]
            let largest = -Infinity
            for (let y = Math.max(0, 2 * row - 1); y < Math.min(height, 2 * row + 2); y++)
              for (let z = Math.max(0, 2 * column - 1); z < Math.min(width, 2 * column + 2); z++)
                largest = Math.max(largest, value((y * width + z) * channels + (i % channels)))
            yield [i, largest]
          }
        },
      },
    )
  },
}

/** The feature pyramid's sums. */
export const addUpsampled: Family = {
  name: 'add_upsampled',
  axes: ['height', 'width', 'channels'],
  shapes: [[60, 80, 128]],
  quick: [5, 7, 16],
  precisions: ['f32'],
  make([height = 0, width = 0, channels = 0]) {
    const [h, w] = [Math.ceil(height / 2), Math.ceil(width / 2)]
    const x = random('f32', [1, height, width, channels])
    const y = random('f32', [1, h, w, channels])
    const [value, other] = [reader(x), reader(y)]
    return operation(
      'add_upsampled',
      { bytes: 4 * channels * (2 * height * width + h * w) },
      { x, y },
      {},
      {
        result: 'out',
        *at() {
          for (const i of some(height * width * channels, 256)) {
            const [row, column] = [Math.floor(i / channels / width), Math.floor(i / channels) % width]
            const from = Math.floor((row * h) / height) * w + Math.floor((column * w) / width)
            yield [i, value(i) + other(from * channels + (i % channels))]
          }
        },
      },
    )
  },
}

/** A photograph at its own size or enlarged: 3 bytes of it and 12 of the result for every pixel. */
export const detectorInput: Family = {
  name: 'detector_input',
  axes: ['height', 'width', 'height out', 'width out'],
  shapes: [
    [1656, 1280, 1656, 1280],
    [360, 480, 640, 853],
  ],
  quick: [9, 12, 16, 21],
  precisions: ['f32'],
  make([height = 0, width = 0, rows = 0, columns = 0]) {
    const data = Uint8Array.from({ length: height * width * 3 }, (_, i) => (i * 2654435761) >>> 24)
    const pixels = { dtype: 'u8' as const, shape: [height, width, 3], data }
    // Weights in 1/2048; down a column only the pixels are clamped, so both weights may be of one pixel.
    const between = (i: number, from: number, to: number, wholeEdges: boolean) => {
      const inside = (k: number) => Math.min(Math.max(k, 0), from - 1)
      const free = Math.fround((i + 0.5) * (1 / (to / from)) - 0.5)
      const place = wholeEdges ? inside(free) : free
      const first = Math.floor(place)
      return { first: inside(first), second: inside(first + 1), weight: Math.round((place - first) * 2048) }
    }
    return operation(
      'detector_input',
      { bytes: 3 * height * width + 12 * rows * columns },
      { pixels },
      { height: rows, width: columns },
      {
        result: 'out',
        *at() {
          for (const i of some(rows * columns * 3, 256)) {
            const [channel, pixel] = [i % 3, Math.floor(i / 3)]
            const y = between(Math.floor(pixel / columns), height, rows, false)
            const x = between(pixel % columns, width, columns, true)
            const value = (row: number, column: number) => data[(row * width + column) * 3 + 2 - channel]!
            const line = (row: number) =>
              (value(row, x.first) * (2048 - x.weight) + value(row, x.second) * x.weight) >> 4
            const sum = (((2048 - y.weight) * line(y.first)) >> 16) + ((y.weight * line(y.second)) >> 16)
            yield [i, ((sum + 2) >> 2) - [104, 117, 123][channel]!]
          }
        },
      },
    )
  },
}
