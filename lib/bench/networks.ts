/**
 * Benchmarks of whole networks over a checkpoint, real or synthesized.
 */

import { readFileSync } from 'node:fs'
import type { Checkpoint } from '../checkpoint/spec'
import { Networks } from '../networks/networks'
import type { Result, RunParams, Tensor } from '../ops'
import { type Precision, random } from './case'
import { type Times, timesOf } from './quiet'
import { autoencoderFlops, faceFlops, transformerFlops, type Tokens } from './work'

/** One network at one size; the first run is its warm-up. */
export interface NetworkCase {
  readonly name: NetworkName
  readonly shape: string
  readonly flops: number
  /** Random operands, and what runs on them. */
  make(): (networks: Networks, params: RunParams) => Promise<NetworkRun>
}

export type NetworkRun = Times & { result: Float32Array }

/**
 * `forward`: the transformer alone; `forward_adapter`: with identity and structure; `denoise`: all steps of a restore,
 * with guidance and adapter.
 */
export const NETWORK_NAMES = ['forward', 'forward_adapter', 'denoise', 'encode', 'decode', 'face_embedding'] as const
export type NetworkName = (typeof NETWORK_NAMES)[number]

/** Sides in pixels; numbers of references that are denoised with. */
export interface NetworkSizes {
  readonly picture: number
  readonly forward: number
  readonly steps: number
  readonly references: readonly number[]
}

export function networkCases(checkpoint: Checkpoint, sizes: NetworkSizes): NetworkCase[] {
  const { picture, forward, steps, references } = sizes
  return [
    prediction(checkpoint, forward, false),
    prediction(checkpoint, forward, true),
    ...references.map((count) => denoising(checkpoint, forward, steps, count)),
    {
      name: 'encode',
      shape: `${picture}x${picture}`,
      flops: autoencoderFlops(checkpoint, 'encoder', picture),
      make: () => {
        const image = random('f32', [picture, picture, 3], 0.5)
        return (networks, params) => networks.run('encode', { image }, params).then(taking('tokens'))
      },
    },
    {
      name: 'decode',
      shape: `${picture}x${picture}`,
      flops: autoencoderFlops(checkpoint, 'decoder', picture),
      make: () => {
        const rows = picture / 16
        const tokens = random('f32', [rows * rows, 4 * number(checkpoint, 'vae.latentChannels')])
        return (networks, params) =>
          networks.run('decode', { tokens }, { rows, columns: rows, ...params }).then(taking('image'))
      },
    },
    {
      name: 'face_embedding',
      shape: '112x112',
      flops: faceFlops(checkpoint),
      make: () => {
        const face = random('f32', [112, 112, 3], 0.5)
        return (networks, params) => networks.run('face_embedding', { face }, params).then(taking('embedding'))
      },
    },
  ]
}

/** One prediction for the scene tokens: text, scene and one degraded picture. */
function prediction(checkpoint: Checkpoint, side: number, adapter: boolean): NetworkCase {
  const { tokens, tensors, grids } = conditions(checkpoint, side, 0)
  return {
    name: adapter ? 'forward_adapter' : 'forward',
    shape: `${tokens.text}+${tokens.scene}+${tokens.condition}`,
    flops: transformerFlops(checkpoint, tokens),
    make: () => {
      const { anchor, ...others } = tensors()
      const parts = adapter ? {} : { residual: false, memory: false }
      const operands = adapter ? { ...others, anchor } : others
      return (networks, params) =>
        networks
          .run('transformer', operands, { timestep: 0.7, ...grids, ...parts, ...params })
          .then(taking('prediction'))
    },
  }
}

/** All steps with guidance 4, for a degraded picture and `references`. */
function denoising(checkpoint: Checkpoint, side: number, steps: number, references: number): NetworkCase {
  const { tokens, tensors, grids } = conditions(checkpoint, side, references)
  return {
    name: 'denoise',
    shape: `${steps}x2x(${tokens.text}+${tokens.scene}+${tokens.condition})`,
    flops: steps * 2 * transformerFlops(checkpoint, tokens),
    make: () => {
      const operands = { ...tensors(), text1: textOf(checkpoint) }
      return async (networks, params) => {
        const { sigmas } = await networks.run('schedule', {}, { steps, tokens: tokens.scene })
        const schedule = [...(sigmas.data as Float64Array)]
        const results = await networks.run('sample', operands, { sigmas: schedule, guidance: 4, ...grids, ...params })
        return taking('latents')(results)
      }
    },
  }
}

/** What the transformer is conditioned on for a picture of `side` pixels. */
function conditions(checkpoint: Checkpoint, side: number, references: number) {
  const [grid, text] = [side / 16, number(checkpoint, 'prompt.length')]
  const scene = grid * grid
  const tokens: Tokens = { text, scene, condition: scene * (1 + references) }
  const channels = number(checkpoint, 'transformer.inChannels')
  return {
    tokens,
    grids: { sceneGrid: [grid, grid], degradedGrid: [grid, grid] },
    tensors: () => ({
      latents: random('f32', [scene, channels]),
      condition: random('f32', [tokens.condition, channels]),
      text0: textOf(checkpoint),
      ids: positions(text, grid, references),
      anchor: random('f32', [512], 1 / Math.sqrt(512)),
    }),
  }
}

const textOf = (checkpoint: Checkpoint): Tensor =>
  random('bf16', [number(checkpoint, 'prompt.length'), number(checkpoint, 'transformer.contextDim')])

const number = (checkpoint: Checkpoint, name: string): number => checkpoint.numbers![name]![0]!

/** Position ids (t, h, w, l) of text, scene, degraded picture and references (model-specification.md 2). */
function positions(text: number, grid: number, references: number): Tensor {
  const image = (t: number) => Array.from({ length: grid * grid }, (_, i) => [t, Math.floor(i / grid), i % grid, 0])
  const pictures = [2, ...Array.from({ length: references }, (_, i) => 10 + i)].flatMap(image)
  const rows = [...Array.from({ length: text }, (_, i) => [0, 0, 0, i]), ...image(0), ...pictures]
  return { dtype: 'f32', shape: [rows.length, 4], data: Float32Array.from(rows.flat()) }
}

function taking<Name extends string>(name: Name) {
  return (results: Record<Name, Result> & { seconds: Result }): NetworkRun => ({
    ...timesOf(results),
    result: results[name].data as Float32Array,
  })
}

export const loadNetworks = (
  checkpoint: Checkpoint,
  precision: Precision,
  { threads, isa, device }: { threads?: number; isa?: string; device?: string },
): Promise<Networks> => Networks.load(checkpoint, { precision, threads, isa, device })

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
