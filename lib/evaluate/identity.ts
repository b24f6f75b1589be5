/**
 * Identity similarity, with whatever face encoder the checkpoint has (AdaFace in the paper: its Ref-AdaFace and
 * GT-AdaFace).
 */

import type { IConFace } from '../iconface'
import type { RgbImage } from './pixels'

/** How similar a face is to others, as cosines of identity embeddings, -1 to 1. */
export interface IdentitySimilarity {
  /** To the truth. */
  truth: number
  /** To the first reference; `null` where the case has none. */
  reference: number | null
}

/**
 * The unit embedding `[512]` of a face.
 *
 * @returns `null` when the checkpoint has no face encoder.
 */
export async function embedding(
  model: IConFace,
  { data, width, height }: RgbImage,
  signal?: AbortSignal,
): Promise<Float32Array | null> {
  if (!model.info.identityEncoder) return null
  return (await model.embed({ data, width, height, channels: 3 }, { align: 'none', signal })).embedding
}

/** Cosine of two unit vectors. */
export function cosine(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0)
}
