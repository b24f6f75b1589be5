/**
 * One picture through a pipeline of degradations.
 */

import { showsCaller } from '../util/caller'
import { IConFaceError } from '../errors'
import { checkWithin, LIMITS } from '../limits'
import { capturePictures, type ImageInput, ownRgb, type RgbImage } from '../image'
import type { Pixels } from '../native'
import { checkBoolean, checkSeed, checkSignal, checkKnown, namesOf, checkOneOf } from '../options'
import { checkAborted } from '../util/abort'
import { bsrgan } from './bsrgan'
import { Chain, type Operation } from './chain'
import { MAX_SIDE } from './compress'
import { Random } from '../util/random'
import { realEsrgan } from './real-esrgan'
import { rangesFor } from './strength'
import type { IConFaceWarning } from '../warning'

const PIPELINES = { 'real-esrgan': realEsrgan, bsrgan } as const
/** An order of operations: Real-ESRGAN's or BSRGAN's. */
export type Pipeline = keyof typeof PIPELINES

/** How much a picture is damaged, and how. */
export interface DegradeOptions {
  /** How much, a real number from 0, which changes nothing, to 16, which leaves a face barely recognisable. */
  strength: number
  /** Which kind, a whole number from 0 to 2^53 - 1. */
  seed: number
  /** The order of operations. Default `auto`: the seed's choice, half and half. */
  pipeline?: Pipeline | 'auto' | undefined
  /** Largest picture accepted, in pixels. Default 2^24 (4096 x 4096): faces are smaller, and more takes minutes. */
  maxPixels?: number | undefined
  /** Refuses pictures that the decoder complains about. Default `false`: its words are a warning. */
  strict?: boolean | undefined
  /** Stops the work between two operations; before each, the thread yields to the event loop once. */
  signal?: AbortSignal | undefined
}

const OPTIONS = namesOf<DegradeOptions>({
  strength: true,
  seed: true,
  pipeline: true,
  maxPixels: true,
  strict: true,
  signal: true,
})

/** A degraded picture, as large as what it was made from; also a picture for `restore`. */
export interface Degraded extends RgbImage {
  channels: 3
  pipeline: Pipeline
  /** What was done, in order, with its numbers: lengths in pixels of the picture as it then was, angles in radians. */
  operations: Operation[]
  /** What to know about the input; empty when all is well. */
  warnings: readonly IConFaceWarning[]
}

const MAX_PIXELS = 2 ** 24

/**
 * Degrades a picture. The same picture and options give the same bytes (with the same version of sharp). A seed makes
 * the same choices at every strength and only their amount grows; blurs and shrinking are relative to the shorter side.
 *
 * Computes on the calling thread, all but the compression, and for a large picture keeps it busy for whole seconds
 * between two operations: call it from a worker where the event loop must stay free.
 *
 * @param input A path, a `file:` URL, encoded bytes or raw pixels; at most 16383 pixels on a side.
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT`, `ERR_ICONFACE_INVALID_IMAGE`, `ERR_ICONFACE_FILE_NOT_FOUND`,
 *         `ERR_ICONFACE_IO`, `ERR_ICONFACE_ABORTED` (the signal's reason as `cause`).
 */
export const degrade = showsCaller(async function degrade(
  input: ImageInput,
  options: DegradeOptions,
): Promise<Degraded> {
  const { strength, seed, pipeline: wanted = 'auto', signal, ...limits } = checkDegradeOptions(options)
  const { maxPixels = MAX_PIXELS, strict } = limits
  checkAborted(signal)
  const [picture] = capturePictures([{ name: 'input', image: input }], maxPixels, strict)
  const random = new Random(seed, 'degradation')
  const chosen = random.chance(0.5) ? 'real-esrgan' : 'bsrgan'
  const pipeline = wanted === 'auto' ? chosen : wanted
  const pixels = await picture!.read()
  checkAborted(signal)
  checkSides(pixels)
  const chain = new Chain(ownRgb(pixels), random, signal)
  if (strength > 0) await PIPELINES[pipeline](chain, rangesFor(strength), random)
  checkAborted(signal)
  return { ...chain.image, channels: 3, pipeline, operations: chain.operations, warnings: pixels.warnings }
})

/** Refuses options that {@link degrade} does not take. */
export function checkDegradeOptions(options: DegradeOptions): DegradeOptions {
  checkKnown('options', options, OPTIONS)
  const { strength, seed, pipeline, maxPixels, strict, signal } = options
  checkWithin('strength', strength, LIMITS.strength)
  checkSeed(seed)
  if (pipeline !== undefined) checkOneOf('pipeline', pipeline, [...Object.keys(PIPELINES), 'auto'])
  if (maxPixels !== undefined) checkWithin('maxPixels', maxPixels, LIMITS.pixels)
  if (strict !== undefined) checkBoolean('strict', strict)
  checkSignal(signal)
  return options
}

function checkSides({ width, height }: Pixels): void {
  if (Math.max(width, height) <= MAX_SIDE) return
  throw new IConFaceError(
    'ERR_ICONFACE_INVALID_IMAGE',
    `cannot use input: of ${width} x ${height} pixels one side is more than ${MAX_SIDE}, the most WebP takes; scale it down`,
  )
}
