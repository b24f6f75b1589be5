/**
 * All metrics of one picture, with their names for tables.
 */

import type { IConFace } from '../iconface'
import { cosine, embedding, type IdentitySimilarity } from './identity'
import { type LandmarkError, landmarkError } from './landmarks'
import type { CasePictures } from './case'
import type { RgbImage } from './pixels'
import { psnr } from './psnr'
import { ssim } from './ssim'

/** The measures of one picture against the truth and the first reference. */
export interface Measures {
  /** Decibel over RGB; `Infinity` for a perfect picture, which JSON shows as `null`. */
  psnr: number
  /** Of luma. */
  ssim: number
  /** `null` when the checkpoint has no face encoder. */
  identity: IdentitySimilarity | null
  /** `null` when the truth's landmarks are not known. */
  landmarks: LandmarkError | null
}

/** A measure as summaries and tables show it. */
export interface Metric {
  label: string
  digits: number
  better: 'higher' | 'lower'
  /** `null` where it could not be measured. */
  read(measures: Measures): number | null
}

/** A name of {@link METRICS}. */
export type MetricName = 'psnr' | 'ssim' | 'identityReference' | 'identityTruth' | 'landmarks'

/** In the order of tables. */
export const METRICS: Readonly<Record<MetricName, Metric>> = {
  psnr: { label: 'PSNR, dB', digits: 2, better: 'higher', read: ({ psnr }) => psnr },
  ssim: { label: 'SSIM', digits: 4, better: 'higher', read: ({ ssim }) => ssim },
  identityReference: {
    label: 'identity, ref 1',
    digits: 3,
    better: 'higher',
    read: ({ identity }) => identity?.reference ?? null,
  },
  identityTruth: {
    label: 'identity, truth',
    digits: 3,
    better: 'higher',
    read: ({ identity }) => identity?.truth ?? null,
  },
  landmarks: {
    label: 'landmark error',
    digits: 4,
    better: 'lower',
    read: ({ landmarks }) => landmarks?.mean ?? null,
  },
}

export const METRIC_NAMES = Object.keys(METRICS) as MetricName[]

/**
 * A measure of pictures of one case: what belongs to the truth and the first reference is computed once.
 *
 * @param reference The first reference, where there is one.
 */
export async function measuring(
  model: IConFace,
  truth: RgbImage,
  reference: RgbImage | undefined,
  landmarks: CasePictures['landmarks'],
  signal?: AbortSignal,
): Promise<(image: RgbImage) => Promise<Measures>> {
  const truthFace = await embedding(model, truth, signal)
  const referenceFace = reference && truthFace ? await embedding(model, reference, signal) : null
  return async (image) => {
    const face = truthFace && (await embedding(model, image, signal))
    return {
      psnr: psnr(image, truth),
      ssim: ssim(image, truth),
      identity: face && {
        truth: cosine(face, truthFace!),
        reference: referenceFace && cosine(face, referenceFace),
      },
      landmarks: landmarks && landmarkError(image, truth, landmarks.points, landmarks.interocular),
    }
  }
}
