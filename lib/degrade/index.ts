/**
 * Blind degradations of any picture, seeded: what training and evaluation of face restoration take as their input.
 *
 * @example
 * import { degrade, trainingStrength } from '@iconface/native/degrade'
 *
 * const { data, width, height, operations } = await degrade('face.png', { strength: trainingStrength(7), seed: 7 })
 *
 * @packageDocumentation
 */

export type { ImageInput, RgbImage } from '../image'
export type { Operation } from './chain'
export { type Severity, strengthFor, trainingStrength } from './strength'
export { checkDegradeOptions, degrade, type Degraded, type DegradeOptions, type Pipeline } from './degrade'
