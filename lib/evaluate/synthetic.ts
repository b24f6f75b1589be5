/**
 * Cases from drawn portraits of people that no training has seen, degraded here: truth, references and landmarks are
 * known exactly.
 */

import { degrade } from '../degrade/degrade'
import { type Severity, strengthFor } from '../degrade/strength'
import { invalid } from '../errors'
import { checkWithin, LIMITS } from '../limits'
import { checkBoolean, checkKnown, namesOf, checkOneOf } from '../options'
import { PORTRAIT_LANDMARKS } from '../portraits/landmarks'
import { portraitIdentity, portraitState, renderPortrait } from '../portraits/portrait'
import type { CasePictures, EvaluationCase } from './case'

/** Identities from this seed on are for evaluation alone; training draws below it. */
const HELD_OUT = 1_000_000
/** Draws of one face: the truth's state, two sets of up to 8 references' states, the degradation. */
const DRAWS = 32
const DEGRADATION = 31

const SEVERITIES: readonly Severity[] = ['mild', 'moderate', 'severe']

/** Which people are drawn, and how they are degraded. */
export interface SyntheticOptions {
  /** How many faces, 1 to 100,000; each gives one case for every severity. Identities 1,000,000 and up. */
  count: number
  /** Default moderate and severe. */
  severities?: readonly Severity[] | undefined
  /** References of every face, 0 to 8, in other states than the truth. Default 3. */
  references?: number | undefined
  /** Other states and degradations of the same people, 0 to 2^31 - 1. Default 0. */
  seed?: number | undefined
  /**
   * References in yet other states, while truth and input stay as they are: what then changes in a result comes from
   * the references' pose, expression and light. Default `false`.
   */
  otherReferences?: boolean | undefined
}

const OPTIONS = namesOf<SyntheticOptions>({
  count: true,
  severities: true,
  references: true,
  seed: true,
  otherReferences: true,
})

/**
 * Cases of drawn faces. The same options give the same pictures.
 *
 * The truth and every reference are drawn in states of their own: pose, expression, light, background, make-up. The
 * severities of a face share truth, references (the same arrays: leave them as they are) and the degradation's seed:
 * only its strength differs. One face is kept at a time, the last.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT`
 * @example
 * const { summary } = await evaluate(model, syntheticCases({ count: 20, severities: ['severe'] }))
 */
export function syntheticCases(options: SyntheticOptions): EvaluationCase[] {
  checkKnown('options', options, OPTIONS)
  const { count, severities = ['moderate', 'severe'], references = 3, seed = 0, otherReferences = false } = options
  checkWithin('count', count, LIMITS.people)
  checkWithin('references', references, LIMITS.evaluatedReferences)
  checkWithin('seed', seed, LIMITS.baseSeed)
  checkBoolean('otherReferences', otherReferences)
  if (!Array.isArray(severities) || severities.length === 0 || new Set(severities).size !== severities.length) {
    throw invalid('severities', 'a list of different severities', severities)
  }
  for (const severity of severities) checkOneOf('severities', severity, SEVERITIES)
  const slots = Array.from(
    { length: references },
    (_, k) => 1 + k + (otherReferences ? LIMITS.evaluatedReferences.max : 0),
  )
  const drawn = lastOnly((i: number, size: number) => drawFace(i, seed, slots, size))
  const people = Array.from({ length: count }, (_, i) => i)
  return people.flatMap((i) =>
    (severities as readonly Severity[]).map((severity) => ({
      name: `person ${HELD_OUT + i}`,
      severity,
      references: slots.length,
      async load(size): Promise<CasePictures> {
        const face = await drawn(i, size)
        const degradation = drawSeed(i, seed, DEGRADATION)
        const input = await degrade(face.truth, { strength: strengthFor(severity, degradation), seed: degradation })
        return { ...face, input }
      },
    })),
  )
}

/** The seed of draw `slot` of face `i`. */
function drawSeed(i: number, seed: number, slot: number): number {
  return (seed * LIMITS.people.max + i) * DRAWS + slot
}

/**
 * What the severities of a face share.
 *
 * @param slots The draws of the references' states.
 */
async function drawFace(i: number, seed: number, slots: number[], size: number) {
  const identity = portraitIdentity(HELD_OUT + i)
  const portrait = async (slot: number) => renderPortrait(identity, portraitState(drawSeed(i, seed, slot)), size)
  const truth = await portrait(0)
  const references = []
  for (const slot of slots) references.push(await portrait(slot))
  const points = truth.landmarks
  return { truth, references, landmarks: { points, interocular: eyeDistance(points) } }
}

/** Remembers the last result of `make`. */
function lastOnly<T>(make: (i: number, size: number) => Promise<T>): typeof make {
  let last: { i: number; size: number; made: Promise<T> } | undefined
  return (i, size) => {
    if (last?.i !== i || last.size !== size) last = { i, size, made: make(i, size) }
    return last.made
  }
}

function eyeDistance(points: readonly (readonly [number, number])[]): number {
  const [left, right] = ['leftEye', 'rightEye'].map((name) => points[PORTRAIT_LANDMARKS.indexOf(name)]!)
  return Math.hypot(left![0] - right![0], left![1] - right![1])
}
