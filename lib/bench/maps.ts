/**
 * Benchmarks of copies of feature maps and of their weights in another order; all are limited by memory.
 */

import { bytesOf, type Family, operation, random, reader, some } from './case'

/** The first shortcut of AdaFace: only what is kept is read. */
export const subsample: Family = {
  name: 'subsample',
  axes: ['side', 'channels', 'stride'],
  shapes: [[112, 64, 2]],
  quick: [9, 16, 2],
  precisions: ['f32', 'bf16'],
  make([side = 0, channels = 0, stride = 1], precision) {
    const x = random(precision, [1, side, side, channels])
    const value = reader(x)
    const kept = Math.ceil(side / stride)
    const n = kept * kept * channels
    return operation(
      'subsample',
      { bytes: 2 * n * bytesOf(precision) },
      { x },
      { stride },
      {
        result: 'out',
        *at() {
          for (const i of some(n, 256)) {
            const [row, column] = [Math.floor(i / channels / kept), Math.floor(i / channels) % kept]
            yield [i, value((row * side + column) * stride * channels + (i % channels))]
          }
        },
      },
    )
  },
}

/** Weights of the autoencoder's largest convolutions and of AdaFace's last layer, while a model is loaded. */
export const toChannelsLast: Family = {
  name: 'to_channels_last',
  axes: ['outputs', 'inputs', 'kernel'],
  shapes: [
    [512, 512, 3],
    [512, 512, 7],
  ],
  quick: [5, 7, 3],
  precisions: ['f32', 'bf16'],
  make([outputs = 0, inputs = 0, kernel = 0], precision) {
    const weight = random(precision, [outputs, inputs, kernel, kernel])
    const value = reader(weight)
    const taps = kernel * kernel
    const n = outputs * inputs * taps
    return operation(
      'to_channels_last',
      { bytes: 2 * n * bytesOf(precision) },
      { weight },
      { outDtype: precision },
      {
        result: 'out',
        *at() {
          for (const i of some(n, 256)) {
            const [output, tap] = [Math.floor(i / inputs / taps), Math.floor(i / inputs) % taps]
            yield [i, value((output * inputs + (i % inputs)) * taps + tap)]
          }
        },
      },
    )
  },
}
