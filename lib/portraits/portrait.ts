/**
 * A portrait in three steps: a person, the circumstances of a picture, and the drawing. Arguments are checked here.
 */

import { showsCaller } from '../util/caller'
import { invalid } from '../errors'
import { checkSeed, checkInteger, checkKnown, checkNumber } from '../options'
import { drawIdentity, IDENTITY_RANGES, IDENTITY_WHOLE, type PortraitIdentity } from './identity'
import { drawPortrait, type Portrait } from './render'
import { drawState, type PortraitState, STATE_RANGES, STATE_WHOLE } from './state'

/**
 * A person: the same for the same seed.
 *
 * @param seed whole number from 0 to 2^53 - 1
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT`
 */
export function portraitIdentity(seed: number): PortraitIdentity {
  checkSeed(seed)
  return drawIdentity(seed)
}

/**
 * A picture's circumstances: the same for the same seed and strength.
 *
 * @param seed whole number from 0 to 2^53 - 1
 * @param strength 0 frontal, neutral and in a studio; 1 the whole variety
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT`
 */
export function portraitState(seed: number, strength = 1): PortraitState {
  checkSeed(seed)
  checkNumber('strength', strength, 0, 1)
  return drawState(seed, strength)
}

/**
 * Draws a person in a state, framed as FFHQ aligns faces. The same arguments give the same bytes on every machine with
 * the same version of sharp, whose librsvg draws the eyes, brows, mouth and marks.
 *
 * Computes on the calling thread, all but those parts: call it from a worker where the event loop must stay free.
 *
 * @param size side in pixels, a multiple of 16 from 64 to 1024
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT` for a parameter that is missing, unknown or out of its range
 *         ({@link IDENTITY_RANGES}, {@link STATE_RANGES})
 */
export const renderPortrait = showsCaller(async function renderPortrait(
  identity: PortraitIdentity,
  state: PortraitState,
  size: number = 256,
): Promise<Portrait> {
  checkParameters('identity', identity, IDENTITY_RANGES, IDENTITY_WHOLE, ['moles'])
  checkMoles(identity.moles)
  checkParameters('state', state, STATE_RANGES, STATE_WHOLE)
  if (!Number.isInteger(size) || size % 16 !== 0 || size < 64 || size > 1024) {
    throw invalid('size', 'a multiple of 16 from 64 to 1024', size)
  }
  return drawPortrait(identity, state, size)
})

type Ranges = Readonly<Record<string, readonly [min: number, max: number, ...rest: unknown[]]>>

function checkParameters(
  what: string,
  values: unknown,
  ranges: Ranges,
  whole: readonly string[],
  others: readonly string[] = [],
): void {
  checkKnown(what, values, [...Object.keys(ranges), ...others], 'parameter')
  for (const [name, [min, max]] of Object.entries(ranges)) {
    const value = (values as Record<string, unknown>)[name]
    if (whole.includes(name)) checkInteger(`${what}.${name}`, value, min, max)
    else checkNumber(`${what}.${name}`, value, min, max)
  }
}

const MOLE_RANGES: Ranges = { x: [-130, 130], y: [-200, 200], radius: [0.5, 12], tone: [0, 1] }

function checkMoles(moles: unknown): void {
  if (!Array.isArray(moles)) throw invalid('identity.moles', 'an array', moles)
  for (const [i, mole] of (moles as unknown[]).entries()) {
    checkParameters(`identity.moles[${i}]`, mole, MOLE_RANGES, [])
  }
}
