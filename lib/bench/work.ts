/**
 * Floating-point operations of the networks, counted from the shapes of a checkpoint's tensors: a multiply-add is two,
 * and only matrix products, convolutions and attention count. An implementation that skips or repeats work changes
 * its time, not this count.
 */

import type { Checkpoint } from '../checkpoint/spec'

export interface Tokens {
  text: number
  scene: number
  condition: number
}

/** One prediction of the transformer without adapter, with the text's projection and one step's modulation. */
export function transformerFlops(checkpoint: Checkpoint, { text, scene, condition }: Tokens): number {
  const image = scene + condition
  const all = text + image
  const hidden = number(checkpoint, 'transformer.hidden')
  const blocks = number(checkpoint, 'transformer.doubleBlocks') + number(checkpoint, 'transformer.singleBlocks')
  const rows = (name: string): number => {
    if (name.includes('double_blocks')) return name.includes('.img_') ? image : text
    if (name.includes('single_blocks')) return all
    if (name.includes('txt_in')) return text
    if (name.includes('img_in')) return image
    return name.includes('final_layer.linear') ? scene : 1
  }
  return 4 * all * all * hidden * blocks + products(checkpoint, 'transformer.', rows)
}

/** Encoding or decoding of a square picture. */
export function autoencoderFlops(checkpoint: Checkpoint, half: 'encoder' | 'decoder', side: number): number {
  const encoder = checkpoint.numbers!['vae.levelChannels']!
  const levels = half === 'encoder' ? encoder : (checkpoint.numbers!['vae.decoderChannels'] ?? encoder)
  const smallest = side / 2 ** (levels.length - 1)
  const rows = (name: string): number => {
    const level = /\.(?:down|up)\.(\d+)\./.exec(name)?.[1]
    if (level !== undefined) {
      const finer = name.includes('downsample') ? 1 : name.includes('upsample') ? -1 : 0
      return (side / 2 ** (Number(level) + finer)) ** 2
    }
    const atFullSize = half === 'encoder' ? name.includes('conv_in') : name.includes('conv_out')
    return atFullSize ? side ** 2 : smallest ** 2
  }
  return 4 * smallest ** 4 * levels.at(-1)! + products(checkpoint, `vae.${half}.`, rows)
}

/** One face of 112 x 112 through the face encoder. */
export function faceFlops(checkpoint: Checkpoint): number {
  const units = checkpoint.numbers!['face.stageUnits']!
  const starts = units.map((_, stage) => units.slice(0, stage).reduce((a, b) => a + b, 0))
  const rows = (name: string): number => {
    const block = Number(/^face\.body\.(\d+)\./.exec(name)?.[1] ?? -1)
    if (block < 0) return name.startsWith('face.input_layer') ? 112 ** 2 : 1
    const stage = starts.findLastIndex((start) => start <= block)
    const before = starts[stage] === block && name.includes('res_layer.1.') // its stride comes after
    return (112 / 2 ** (stage + (before ? 0 : 1))) ** 2
  }
  return products(checkpoint, 'face.', rows)
}

/** 2 x rows x elements over all matrices and kernels whose name begins `prefix`. */
function products(checkpoint: Checkpoint, prefix: string, rows: (name: string) => number): number {
  const tensors = [...Object.entries(checkpoint.tensors), ...(checkpoint.joins ?? []).map((join) => [join.name, join])]
  let flops = 0
  for (const [name, { shape }] of tensors as [string, { shape: readonly number[] }][]) {
    if (!name.startsWith(prefix) || !name.endsWith('.weight') || shape.length < 2) continue
    flops += 2 * rows(name) * shape.reduce((a, b) => a * b, 1)
  }
  return flops
}

function number(checkpoint: Checkpoint, name: string): number {
  return checkpoint.numbers![name]![0]!
}
