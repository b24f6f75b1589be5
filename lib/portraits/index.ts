/**
 * Drawn portraits of people who do not exist, from two seeds: who it is, and how the picture was taken. Every parameter
 * and landmark is known, so identity and structure can be measured exactly. Drawing computes on the calling thread, so
 * a server draws in a worker.
 *
 * @example
 * import { portraitIdentity, portraitState, renderPortrait } from '@iconface/native/portraits'
 * const portrait = await renderPortrait(portraitIdentity(7), portraitState(1), 256) // with portrait.landmarks
 * const face = await restore(await degrade(portrait, { strength: 8, seed: 1 }), [portrait])
 *
 * @packageDocumentation
 */

export {
  BEARD_STYLES,
  GLASSES_STYLES,
  HAIR_STYLES,
  IDENTITY_RANGES,
  type Mole,
  type PortraitIdentity,
} from './identity'
export { PORTRAIT_LANDMARKS } from './landmarks'
export { portraitIdentity, portraitState, renderPortrait } from './portrait'
export type { Portrait } from './render'
export { BACKGROUND_STYLES, CLOTHING_STYLES, type PortraitState, STATE_RANGES } from './state'
