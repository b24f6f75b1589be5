/**
 * Benchmarks of `conv2d`: the convolutions that the autoencoder spends its time in at 512 px, and two of AdaFace's.
 */

import { type Family, operation, random, reader, some } from './case'

export const conv2d: Family = {
  name: 'conv2d',
  axes: ['side', 'inputs', 'outputs', 'kernel', 'stride', 'upsample'],
  shapes: [
    [512, 3, 128, 3, 1, 1],
    [512, 128, 128, 3, 1, 1],
    [512, 256, 128, 3, 1, 1],
    [256, 256, 256, 3, 1, 1],
    [128, 512, 512, 3, 1, 1],
    [64, 512, 512, 3, 1, 1],
    [512, 128, 128, 3, 2, 1],
    [256, 256, 256, 3, 1, 2],
    [512, 128, 3, 3, 1, 1],
    [112, 64, 64, 3, 1, 1],
    [14, 256, 256, 3, 1, 1],
  ],
  quick: [8, 16, 16, 3, 1, 1],
  precisions: ['f32', 'bf16'],
  make([side = 0, inputs = 0, outputs = 0, kernel = 3, stride = 1, upsample = 1], precision) {
    const x = random(precision, [1, side, side, inputs])
    const weight = random(precision, [outputs, kernel, kernel, inputs], 1 / Math.sqrt(kernel * kernel * inputs))
    const bias = random('f32', [outputs], 0.1)
    const around = kernel >> 1
    // The autoencoder's downsampling pads right and bottom only.
    const before = stride === 2 ? 0 : around
    const padded = side * upsample
    const size = Math.floor((padded + before + around - kernel) / stride) + 1
    const flops = 2 * size * size * outputs * kernel * kernel * inputs
    const [map, w, b] = [reader(x), reader(weight), reader(bias)]
    const params = { stride, upsample: upsample as 1 | 2, pad: [before, before, around, around] }
    return operation('conv2d', { flops }, { x, weight, bias }, params, {
      result: 'out',
      *at() {
        for (const i of some(size * size * outputs, 64)) {
          const [channel, column] = [i % outputs, Math.floor(i / outputs) % size]
          const row = Math.floor(i / outputs / size)
          let sum = b(channel)
          for (let ky = 0; ky < kernel; ky++) {
            for (let kx = 0; kx < kernel; kx++) {
              const [y, z] = [row * stride - before + ky, column * stride - before + kx]
              if (y < 0 || z < 0 || y >= padded || z >= padded) continue
              const from = (Math.floor(y / upsample) * side + Math.floor(z / upsample)) * inputs
              const to = ((channel * kernel + ky) * kernel + kx) * inputs
              for (let c = 0; c < inputs; c++) sum += map(from + c) * w(to + c)
            }
          }
          yield [i, sum]
        }
      },
    })
  },
}
