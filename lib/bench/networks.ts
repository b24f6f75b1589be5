/**
 * Benchmarks of whole networks over a checkpoint, real or synthesized.
 */

import { readFileSync } from 'node:fs'
import { type Checkpoint, Networks } from '../networks'
import type { Result, Tensor } from '../ops'
import { type Precision, random } from './case'
import { type Times, timesOf } from './quiet'
import { autoencoderFlops, faceFlops, transformerFlops } from './work'

/** One run of a network; the first of a kind is its warm-up. */
export interface NetworkCase {
  readonly name: string
  readonly shape: string
  readonly flops: number
  run(networks: Networks, repeat: number): Promise<Times & { finite: boolean }>
}

/** `forward`: the transformer alone; `forward_adapter`: with identity and structure. */
export const NETWORK_NAMES = ['forward', 'forward_adapter', 'encode', 'decode', 'face_embedding'] as const

/** A picture of `side` pixels, and one transformer forward at half of that size: klein's 512 and 256 px. */
export function networkCases(checkpoint: Checkpoint, side: number): NetworkCase[] {
  return [
    forward(checkpoint, side / 2, false),
    forward(checkpoint, side / 2, true),
    {
      name: 'encode',
      shape: `${side}x${side}`,
      flops: autoencoderFlops(checkpoint, 'encoder', side),
      run: (networks, repeat) =>
        networks.run('encode', { image: random('f32', [side, side, 3], 0.5) }, { repeat }).then(judge('tokens')),
    },
    {
      name: 'decode',
      shape: `${side}x${side}`,
      flops: autoencoderFlops(checkpoint, 'decoder', side),
      run: (networks, repeat) => {
        const rows = side / 16
        const tokens = random('f32', [rows * rows, 4 * checkpoint.numbers!['vae.latentChannels']![0]!])
        return networks.run('decode', { tokens }, { rows, columns: rows, repeat }).then(judge('image'))
      },
    },
    {
      name: 'face_embedding',
      shape: '112x112',
      flops: faceFlops(checkpoint),
      run: (networks, repeat) =>
        networks
          .run('face_embedding', { face: random('f32', [112, 112, 3], 0.5) }, { repeat })
          .then(judge('embedding')),
    },
  ]
}

/** One prediction for the scene tokens: text, scene and one degraded picture. */
function forward(checkpoint: Checkpoint, side: number, adapter: boolean): NetworkCase {
  const [grid, text] = [side / 16, checkpoint.numbers!['prompt.length']![0]!]
  const scene = grid * grid
  const channels = checkpoint.numbers!['transformer.inChannels']![0]!
  return {
    name: adapter ? 'forward_adapter' : 'forward',
    shape: `${text}+${scene}+${scene}`,
    flops: transformerFlops(checkpoint, { text, scene, condition: scene }),
    run: (networks, repeat) => {
      const tensors = {
        latents: random('f32', [scene, channels]),
        condition: random('f32', [scene, channels]),
        text0: random('bf16', [text, checkpoint.numbers!['transformer.contextDim']![0]!]),
        ids: positions(text, grid),
        ...(adapter ? { anchor: random('f32', [512], 1 / Math.sqrt(512)) } : {}),
      }
      const parts = adapter ? {} : { residual: false, memory: false }
      const params = { timestep: 0.7, sceneGrid: [grid, grid], degradedGrid: [grid, grid], ...parts, repeat }
      return networks.run('transformer', tensors, params).then(judge('prediction'))
    },
  }
}

/** Position ids (t, h, w, l) of text, scene and degraded picture (model-spec.md 2). */
function positions(text: number, grid: number): Tensor {
  const image = (t: number) => Array.from({ length: grid * grid }, (_, i) => [t, Math.floor(i / grid), i % grid, 0])
  const rows = [...Array.from({ length: text }, (_, i) => [0, 0, 0, i]), ...image(0), ...image(2)]
  return { dtype: 'f32', shape: [rows.length, 4], data: Float32Array.from(rows.flat()) }
}

function judge<Name extends string>(name: Name) {
  return (results: Record<Name, Result> & { seconds: Result }) => ({
    ...timesOf(results),
    finite: (results[name].data as Float32Array).every(Number.isFinite),
  })
}

export const loadNetworks = (
  checkpoint: Checkpoint,
  precision: Precision,
  options: { threads?: number; isa?: string },
): Promise<Networks> => Networks.load(checkpoint, { precision, ...options })

/** Bytes of all weight files. */
export const weightBytes = (checkpoint: Checkpoint): number => checkpoint.files.reduce((sum, { size }) => sum + size, 0)

/** Most memory that this process has held at once, mapped weight files included; bytes. */
export function peakMemory(): number {
  try {
    const line = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))
    if (line) return Number(line[1]) * 1024
  } catch {
    // Only Linux has it.
  }
  return process.resourceUsage().maxRSS * 1024
}
