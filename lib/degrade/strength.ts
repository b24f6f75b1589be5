/**
 * What a strength means: from 0 to 16 to the range of every parameter.
 *
 * One number sets all of them, and all grow with it; where in its range a parameter lies, and which kinds of blur,
 * filter and noise are met, is the seed's choice alone. So a seed is a kind of damage and the strength its amount.
 *
 * Sizes are those of a picture whose shorter side has 512 pixels. In another picture, blurs and shrinking keep their
 * size relative to the picture (at 128 pixels, a quarter of the pixels, and no shrinking where that leaves less than
 * 1), so a face loses the same features. Noise and compression stay as they are, pixel by pixel.
 */

import { invalid } from '../errors'
import { LIMITS } from '../limits'
import { checkSeed } from '../options'
import { Random } from '../util/random'

/** The side that sizes are given for, in pixels. */
export const REFERENCE_SIDE = 512

/** The strongest: what leaves a face barely recognisable. */
const MAX_STRENGTH = LIMITS.strength.max

/** The two ends of a uniform draw. */
export type Range = readonly [from: number, to: number]

export interface Ranges {
  /** Standard deviation of the blur of the scene, in pixels of a 512-pixel picture. */
  blur: Range
  /** Of later blurs. */
  secondBlur: Range
  /** Width of the sinc filter at the end, in pixels of the small picture. */
  rings: Range
  /** How many times smaller the picture gets on its way, from 512 pixels. */
  shrink: Range
  /** Standard deviation of noise in 8-bit levels. */
  noise: Range
  /** Of later noise. */
  secondNoise: Range
  /** Quality of JPEG and WebP, 1 to 100. */
  quality: Range
}

/** The ranges of a strength from 0 (no change) to 16. */
export function rangesFor(strength: number): Ranges {
  const u = strength / MAX_STRENGTH
  return {
    blur: [2 * u, 14 * u],
    secondBlur: [1 * u, 6 * u],
    rings: [0, u],
    shrink: [1 + 11 * u ** 1.2, 1 + 29 * u ** 1.2],
    noise: [2 * u, 24 * u],
    secondNoise: [1 * u, 16 * u],
    quality: [100 - 75 * u ** 0.8, 100 - 40 * u ** 0.8],
  }
}

/** How bad: mild is up to strength 3, moderate 4 to 8, severe 9 to 16. */
export type Severity = 'mild' | 'moderate' | 'severe'

/** The strengths of each severity, and how often training draws it. */
export const SEVERITIES: Readonly<Record<Severity, { strengths: Range; share: number }>> = {
  mild: { strengths: [0, 3], share: 0.5 },
  moderate: { strengths: [4, 8], share: 0.3 },
  severe: { strengths: [9, 16], share: 0.2 },
}

/**
 * A strength, uniform within a severity: mild 0 to 3, moderate 4 to 8, severe 9 to 16.
 *
 * @param seed A whole number from 0 to 2^53 - 1; the same as for `degrade` will do.
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT`.
 */
export function strengthFor(severity: Severity, seed: number): number {
  if (!Object.hasOwn(SEVERITIES, severity)) throw invalid('severity', "'mild', 'moderate' or 'severe'", severity)
  checkSeed(seed)
  return new Random(seed, 'strength').uniform(...SEVERITIES[severity].strengths)
}

/**
 * A strength as training draws it: mild, moderate and severe with shares of 0.5, 0.3 and 0.2.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT`.
 */
export function trainingStrength(seed: number): number {
  checkSeed(seed)
  const { mild, moderate, severe } = SEVERITIES
  const shares = { mild: mild.share, moderate: moderate.share, severe: severe.share }
  return strengthFor(new Random(seed, 'severity').pick(shares), seed)
}
