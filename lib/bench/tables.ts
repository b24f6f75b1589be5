/**
 * Benchmarks of what is made once for a restore, from a few numbers or none: tables, noise, the identity anchor. Bytes
 * are those of the results and operands; exponentials and random numbers take longer than moving them.
 */

import { i32 } from '../ops'
import { type Family, operation, random, reader, some } from './case'

/** Angles of a restore's tokens at 512 px with one reference: four axes of as many channels. */
export const ropeTable: Family = {
  name: 'rope_table',
  axes: ['tokens', 'channels of an axis'],
  shapes: [[3584, 32]],
  quick: [9, 4],
  precisions: ['f32'],
  make([tokens = 0, channels = 0]) {
    const places = Int32Array.from({ length: 4 * tokens }, (_, i) => (i * 7919) % 512)
    const half = channels / 2
    const theta = 2000
    return operation(
      'rope_table',
      { bytes: 16 * tokens + 2 * 4 * tokens * 4 * half },
      { ids: i32([tokens, 4], places) },
      { axesDim: [channels, channels, channels, channels], theta },
      {
        result: 'cos',
        *at() {
          for (const i of some(tokens * 4 * half, 256)) {
            const [token, axis] = [Math.floor(i / (4 * half)), Math.floor(i / half) % 4]
            yield [i, Math.cos(places[4 * token + axis]! / theta ** ((2 * (i % half)) / channels))]
          }
        },
      },
    )
  },
}

/** The sinusoids of one step's time. */
export const timestepEmbedding: Family = {
  name: 'timestep_embedding',
  axes: ['width'],
  shapes: [[256]],
  quick: [16],
  precisions: ['f32'],
  make([dim = 0]) {
    const timestep = 0.731
    const half = dim / 2
    return operation(
      'timestep_embedding',
      { bytes: 4 * dim },
      {},
      { timestep, dim },
      {
        result: 'out',
        *at() {
          for (const i of some(dim, 64)) {
            const angle = 1000 * timestep * 10000 ** (-(i % half) / half)
            yield [i, i < half ? Math.cos(angle) : Math.sin(angle)]
          }
        },
      },
    )
  },
}

/** The noise that a restore at 512 px begins with, by the generator that PyTorch has on GPUs. */
export const randomNormal: Family = {
  name: 'random_normal',
  axes: ['elements'],
  shapes: [[131072]],
  quick: [100],
  precisions: ['f32'],
  make: ([n = 0]) =>
    operation(
      'random_normal',
      { bytes: 4 * n },
      {},
      { seed: '42', shape: [n] },
      {
        result: 'out',
        *at() {
          for (const i of some(n, 64)) yield [i, normal(i, 42)]
        },
      },
    ),
}

/** Element `i` of PyTorch's normal noise on GPUs: Box-Muller of the first two words that Philox4x32-10 gives. */
function normal(i: number, seed: number): number {
  const low = (x: bigint) => x & 0xffffffffn
  let [c0, c1, c2, c3] = [0n, 0n, BigInt(i), 0n]
  let [k0, k1] = [BigInt(seed), 0n]
  for (let round = 0; round < 10; round++) {
    const [a, b] = [0xd2511f53n * c0, 0xcd9e8d57n * c2]
    ;[c0, c1, c2, c3] = [(b >> 32n) ^ c1 ^ k0, low(b), (a >> 32n) ^ c3 ^ k1, low(a)]
    ;[k0, k1] = [low(k0 + 0x9e3779b9n), low(k1 + 0xbb67ae85n)]
  }
  const [radius, turn] = [c0, c1].map((word) => (Number(word) + 0.5) / 2 ** 32) as [number, number]
  return Math.sqrt(-2 * Math.log(radius)) * Math.sin(2 * Math.PI * turn)
}

/** One person's face embeddings to one. */
export const identityAnchor: Family = {
  name: 'identity_anchor',
  axes: ['references', 'size'],
  shapes: [[3, 512]],
  quick: [2, 16],
  precisions: ['f32'],
  make([references = 0, size = 0]) {
    const embeddings = random('f32', [references, size], 3)
    const value = reader(embeddings)
    return operation(
      'identity_anchor',
      { bytes: 4 * (references * size + size + 2 * references) },
      { embeddings },
      {},
      {
        result: 'anchor',
        *at() {
          // With temperature 1 a direction weighs as much as its norm: the sum is that of the raw embeddings.
          const sum = Array.from({ length: size }, (_, i) => {
            let total = 0
            for (let r = 0; r < references; r++) total += value(r * size + i)
            return total
          })
          const norm = Math.hypot(...sum)
          for (const i of some(size, 64)) yield [i, sum[i]! / norm]
        },
      },
    )
  },
}
