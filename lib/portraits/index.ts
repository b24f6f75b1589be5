/**
 * Drawn portraits of people who do not exist, from two seeds: who it is, and how the picture was taken. Every parameter
 * and landmark is known, so identity and structure can be measured exactly.
 *
 * @example
 * import { portraitIdentity, portraitState, renderPortrait } from '@iconface/native/portraits'
 * const { data, width, height, landmarks } = await renderPortrait(portraitIdentity(7), portraitState(1), 256)
 */

import { invalid, IConFaceError } from '../errors'
import { closest } from '../closest'
import { describeValue } from '../errors'
import { drawIdentity, IDENTITY_RANGES, IDENTITY_WHOLE, type Mole, type PortraitIdentity } from './identity'
import { drawPortrait, type Portrait } from './render'
import { drawState, type PortraitState, STATE_RANGES, STATE_WHOLE } from './state'

export { BEARD_STYLES, GLASSES_STYLES, HAIR_STYLES, IDENTITY_RANGES } from './identity'
export { PORTRAIT_LANDMARKS } from './landmarks'
export { BACKGROUND_STYLES, CLOTHING_STYLES, STATE_RANGES } from './state'
export type { Mole, Portrait, PortraitIdentity, PortraitState }

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
  if (!(typeof strength === 'number' && strength >= 0 && strength <= 1)) {
    throw invalid('strength', 'a number from 0 to 1', strength)
  }
  return drawState(seed, strength)
}

/**
 * Draws a person in a state, framed as FFHQ aligns faces. The same arguments give the same bytes.
 *
 * @param size side in pixels, a multiple of 16 from 64 to 1024
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT` for a parameter that is missing, unknown or out of its range
 *         ({@link IDENTITY_RANGES}, {@link STATE_RANGES})
 */
export async function renderPortrait(
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
}

function checkSeed(seed: unknown): void {
  if (!Number.isSafeInteger(seed) || (seed as number) < 0)
    throw invalid('seed', 'a whole number from 0 to 2^53 - 1', seed)
}

type Ranges = Readonly<Record<string, readonly number[]>>

function checkParameters(
  what: string,
  values: unknown,
  ranges: Ranges,
  whole: readonly string[],
  others: readonly string[] = [],
): void {
  if (typeof values !== 'object' || values === null || Array.isArray(values)) throw invalid(what, 'an object', values)
  const names = [...Object.keys(ranges), ...others]
  for (const [name, value] of Object.entries(values)) {
    if (names.includes(name)) continue
    throw new IConFaceError(
      'ERR_ICONFACE_INVALID_ARGUMENT',
      `unknown ${what} parameter '${name}' (${describeValue(value)}); did you mean '${closest(name, names)}'?`,
    )
  }
  for (const [name, range] of Object.entries(ranges)) {
    checkNumber(
      `${what}.${name}`,
      (values as Record<string, unknown>)[name],
      range[0]!,
      range[1]!,
      whole.includes(name),
    )
  }
}

function checkNumber(name: string, value: unknown, min: number, max: number, whole: boolean): void {
  const fits = typeof value === 'number' && value >= min && value <= max && (!whole || Number.isInteger(value))
  if (!fits) throw invalid(name, `${whole ? 'a whole number' : 'a number'} from ${min} to ${max}`, value)
}

function checkMoles(moles: unknown): void {
  if (!Array.isArray(moles)) throw invalid('identity.moles', 'an array', moles)
  for (const [i, mole] of (moles as unknown[]).entries()) {
    checkParameters(
      `identity.moles[${i}]`,
      mole,
      { x: [-130, 130], y: [-200, 200], radius: [0.5, 12], tone: [0, 1] },
      [],
    )
  }
}
