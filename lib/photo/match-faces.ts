/**
 * Whose faces those of a photograph are.
 */

import type { Engine } from '../engine'
import { IConFaceError } from '../errors'
import type { RgbImage } from '../image'
import { IConFaceWarning } from '../warning'
import { matchPeople, similarityOf } from './people'
import type { FoundFace, PhotoRequest } from './photo-options'
import type { Person } from './reference-faces'

/** Whose a face is, and why it is left as it is; `reason` is `null` where it is restored. */
export interface Match {
  person: string | null
  similarity: number | null
  reason: string | null
}

interface Options extends Pick<PhotoRequest, 'options' | 'isList'> {
  size: number
  signal: AbortSignal
}

/**
 * The person of each face.
 *
 * Names are given one to one, by similarity above the threshold. One list of references belongs to the face that resembles
 * them most, or to the only one.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_UNSUPPORTED` where faces have to be told apart and the model has no face encoder.
 */
export async function matchFaces(
  cuts: readonly { face: FoundFace; crop: RgbImage }[],
  people: readonly Person[],
  engine: Engine,
  { options, isList, size, signal }: Options,
  warnings: IConFaceWarning[],
  report: (report: { stage: 'match'; step: number; steps: number }) => void,
): Promise<Match[]> {
  const nobody = options.unmatched === 'keep' ? 'it resembles none of the references enough (unmatched)' : null
  const present = people.filter(({ faces }) => faces.length > 0)
  if (present.length === 0) {
    const reason = people.length > 0 ? nobody : null
    return cuts.map(() => ({ person: null, similarity: null, reason }))
  }
  if (!engine.info.identityEncoder) return unseen(cuts, present, isList, engine.info.folder)
  const rows: number[][] = []
  for (const [i, { crop }] of cuts.entries()) {
    const embedding = await engine.embed({ ...crop, channels: 3 }, size)
    signal.throwIfAborted()
    rows.push(present.map(({ anchor }) => similarityOf(embedding, anchor)))
    report({ stage: 'match', step: i + 1, steps: cuts.length })
  }
  const persons = isList ? mostSimilar(rows) : matchPeople(rows, options.matchThreshold)
  if (!engine.info.synthesized) warnings.push(...doubts(rows, persons, present, isList, options.matchThreshold))
  return rows.map((similarities, i) => {
    const person = persons[i] ?? null
    if (person !== null) return { person: present[person]!.name, similarity: similarities[person]!, reason: null }
    return { person: null, similarity: Math.max(...similarities), reason: nobody }
  })
}

/** Without a face encoder only one face can be meant, by one list of references. */
function unseen(cuts: readonly unknown[], [person]: readonly Person[], isList: boolean, folder: string): Match[] {
  if (isList && cuts.length <= 1) return cuts.map(() => ({ person: person!.name, similarity: null, reason: null }))
  throw new IConFaceError(
    'ERR_ICONFACE_UNSUPPORTED',
    `${folder} holds no face encoder, so it cannot tell whose the ${cuts.length} faces are; choose one of them (faces) ` +
      'and give one list of references, or load a checkpoint whose iconface.json names a face encoder in identity.file',
  )
}

/** The only person for the face that resembles them most. */
function mostSimilar(rows: readonly (readonly number[])[]): (number | null)[] {
  const best = Math.max(...rows.map(([similarity]) => similarity!))
  const face = rows.findIndex(([similarity]) => similarity === best)
  return rows.map((_, i) => (i === face ? 0 : null))
}

function doubts(
  rows: readonly (readonly number[])[],
  persons: readonly (number | null)[],
  people: readonly Person[],
  isList: boolean,
  least: number,
): IConFaceWarning[] {
  const warn = (message: string) => [new IConFaceWarning('WARN_ICONFACE_OTHER_PERSON', message)]
  return people.flatMap(({ name }, person) => {
    const best = Math.max(...rows.map((similarities) => similarities[person]!))
    if (isList && best < least) {
      return warn(
        `the face that resembles the references most has a similarity of ${best.toFixed(2)}, less than ${least}: they may ` +
          'show somebody else; they are used all the same',
      )
    }
    if (isList || persons.includes(person) || rows.length === 0) return []
    return warn(
      `none of the faces is ${name}'s: the most similar one has ${best.toFixed(2)} (matchThreshold is ${least}), or is ` +
        "more similar to somebody else; none of this person's references is used",
    )
  })
}
