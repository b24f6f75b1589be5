/**
 * Benchmarks of operations limited by memory: normalisations of tokens and feature maps, and the sampler's step. Each
 * is compared with a copy of as many bytes, so that operands in a cache are compared with a copy in a cache.
 */

import { bytesOf, type Family, operation, random, reader, rotatedHead, sigmoid, some } from './case'

/** Two segments, text and image rows with vectors of their own; f32 in, `precision` out. */
export const layerNormModulate: Family = {
  name: 'layer_norm_modulate',
  axes: ['tokens', 'width'],
  shapes: [
    [1024, 3072],
    [2560, 3072],
  ],
  gpuShapes: [
    [5120, 3072],
    [7168, 3072],
    [11264, 3072],
  ],
  quick: [24, 64],
  precisions: ['f32', 'bf16'],
  make([tokens = 0, width = 0], precision) {
    const x = random('f32', [1, tokens, width])
    const vectors = [0, 1].map(() => [random('f32', [width]), random('f32', [width])] as const)
    const [[shift0, scale0], [shift1, scale1]] = vectors as [(typeof vectors)[0], (typeof vectors)[0]]
    const half = tokens >> 1
    const value = reader(x)
    const bytes = tokens * width * (4 + bytesOf(precision))
    const tensors = { x, shift0, scale0, shift1, scale1 }
    return operation(
      'layer_norm_modulate',
      { bytes },
      tensors,
      { rows: [half, tokens - half], outDtype: precision },
      {
        result: 'out',
        *at() {
          for (const token of some(tokens, 6)) {
            const row = Array.from({ length: width }, (_, i) => value(token * width + i))
            const { mean, deviation } = moments(row, 1e-6)
            const [shift, scale] = vectors[token < half ? 0 : 1]!.map(reader)
            for (const i of some(width, 32)) {
              yield [token * width + i, ((row[i]! - mean) / deviation) * (1 + scale!(i)) + shift!(i)]
            }
          }
        },
      },
    )
  },
}

/** q and k, in place. */
export const qkNormRope: Family = {
  name: 'qk_norm_rope',
  axes: ['tokens', 'heads', 'width'],
  shapes: [
    [1024, 24, 128],
    [2560, 24, 128],
  ],
  gpuShapes: [
    [5120, 24, 128],
    [7168, 24, 128],
  ],
  quick: [24, 2, 32],
  precisions: ['f32', 'bf16'],
  make([tokens = 0, heads = 0, d = 0], precision) {
    const [q, k] = [random(precision, [1, tokens, heads, d]), random(precision, [1, tokens, heads, d])]
    const [qScale, kScale] = [random('f32', [d], 0.1, 1), random('f32', [d], 0.1, 1)]
    const [cos, sin] = [random('f32', [tokens, d / 2]), random('f32', [tokens, d / 2])]
    const x = reader(q)
    const angles = [reader(qScale), reader(cos), reader(sin)] as const
    const bytes = 4 * tokens * heads * d * bytesOf(precision)
    return operation(
      'qk_norm_rope',
      { bytes },
      { q, k, qScale, kScale, cos, sin },
      {},
      {
        result: 'q',
        *at() {
          for (const row of some(tokens * heads, 12)) {
            const token = Math.floor(row / heads)
            const head = Array.from({ length: d }, (_, i) => x(row * d + i))
            for (const [i, value] of rotatedHead(head, angles, (token * d) / 2)) yield [row * d + i, value]
          }
        },
      },
    )
  },
}

/** Guidance and one Euler step on the latents of 512 px. */
export const flowStep: Family = {
  name: 'flow_step',
  axes: ['tokens', 'channels'],
  shapes: [[1024, 128]],
  quick: [16, 8],
  precisions: ['f32'],
  make([tokens = 0, channels = 0]) {
    const [latents, uPrompt, uEmpty] = [0, 1, 2].map(() => random('f32', [tokens, channels])) as [
      Floats,
      Floats,
      Floats,
    ]
    const [z, prompt, empty] = [reader(latents), reader(uPrompt), reader(uEmpty)]
    const n = tokens * channels
    return operation(
      'flow_step',
      { bytes: 16 * n },
      { latents, uPrompt, uEmpty },
      { guidance: 4, step: -0.125 },
      {
        result: 'latents',
        *at() {
          for (const i of some(n, 256)) yield [i, z(i) - 0.125 * (empty(i) + 4 * (prompt(i) - empty(i)))]
        },
      },
    )
  },
}
type Floats = ReturnType<typeof random>

/** The autoencoder's maps, f32 in and `precision` out; x is read twice, because statistics come first. */
export const groupNormSilu: Family = {
  name: 'group_norm_silu',
  axes: ['side', 'channels'],
  shapes: [
    [512, 128],
    [256, 256],
    [64, 512],
  ],
  quick: [8, 64],
  precisions: ['f32', 'bf16'],
  make([side = 0, channels = 0], precision) {
    const x = random('f32', [1, side, side, channels])
    const [weight, bias] = [random('f32', [channels], 0.1, 1), random('f32', [channels])]
    const [value, scale, shift] = [reader(x), reader(weight), reader(bias)]
    const pixels = side * side
    const size = channels / 32
    const bytes = pixels * channels * (8 + bytesOf(precision))
    return operation(
      'group_norm_silu',
      { bytes },
      { x, weight, bias },
      { outDtype: precision },
      {
        result: 'out',
        *at() {
          const first = 5 * size // the sixth group stands for all
          const group = new Float64Array(pixels * size)
          for (let i = 0; i < group.length; i++) {
            group[i] = value(Math.floor(i / size) * channels + first + (i % size))
          }
          const { mean, deviation } = moments(group, 1e-6)
          for (const i of some(group.length, 256)) {
            const channel = first + (i % size)
            const y = ((group[i]! - mean) / deviation) * scale(channel) + shift(channel)
            yield [Math.floor(i / size) * channels + channel, y * sigmoid(y)]
          }
        },
      },
    )
  },
}

/** AdaFace's maps. */
export const batchNormPrelu: Family = {
  name: 'batch_norm_prelu',
  axes: ['side', 'channels'],
  shapes: [[112, 64]],
  quick: [8, 16],
  precisions: ['f32'],
  make([side = 0, channels = 0]) {
    const x = random('f32', [1, side, side, channels])
    const [scale, shift] = [random('f32', [channels]), random('f32', [channels])]
    const slope = random('f32', [channels], 0.1, 0.25)
    const [value, a, b, negative] = [reader(x), reader(scale), reader(shift), reader(slope)]
    const n = side * side * channels
    return operation(
      'batch_norm_prelu',
      { bytes: 8 * n },
      { x, scale, shift, slope },
      {},
      {
        result: 'out',
        *at() {
          for (const i of some(n, 256)) {
            const y = value(i) * a(i % channels) + b(i % channels)
            yield [i, y < 0 ? y * negative(i % channels) : y]
          }
        },
      },
    )
  },
}

function moments(values: Iterable<number> & { length: number }, eps: number): { mean: number; deviation: number } {
  let sum = 0
  for (const value of values) sum += value
  const mean = sum / values.length
  let squares = 0
  for (const value of values) squares += (value - mean) ** 2
  return { mean, deviation: Math.sqrt(squares / values.length + eps) }
}

/** bf16 to e4m3 and a scale for every row: klein's normalised streams and MLPs. */
export const quantiseRows: Family<'fp8'> = {
  name: 'quantise_rows',
  axes: ['tokens', 'width'],
  shapes: [
    [7168, 3072],
    [7168, 9216],
  ],
  quick: [24, 64],
  precisions: ['fp8'],
  make([tokens = 0, width = 0]) {
    const x = random('bf16', [tokens, width])
    const value = reader(x)
    return operation(
      'quantise_rows',
      { bytes: tokens * width * (2 + 1) },
      { x },
      {},
      {
        result: 'scale',
        *at() {
          for (const token of some(tokens, 16)) {
            const row = Array.from({ length: width }, (_, i) => Math.abs(value(token * width + i)))
            yield [token, Math.max(...row) / 448]
          }
        },
      },
    )
  },
}
