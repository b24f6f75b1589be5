/**
 * The references of a person: from whole photographs to aligned faces of somebody.
 */

import type { Engine } from '../engine'
import type { Pixels } from '../native'
import type { Decoded } from '../picture/decode'
import { IConFaceWarning } from '../warning'
import {
  type AlignedPicture,
  type AlignOptions,
  cutFace,
  findFaces,
  type FoundFaces,
  needsLook,
  severalFaces,
  unseen,
} from './align-picture'
import { meanFace, similarityOf } from './people'
import type { RequestedPerson } from './photo-options'

/** Somebody's faces, aligned. */
export interface Person {
  name: string
  faces: Pixels[]
  /** What the person's faces have in common, a unit vector [512]; `null` without faces or without a face encoder. */
  anchor: Float32Array | null
}

/** A face less similar to the mean of two or more others of the person is somebody else's; see `strangers.ts`. */
const LEAST_SIMILAR = 0.2
/** Most faces of one photograph that are compared with the person's others. */
const MOST_COMPARED = 8

/** A reference as it was read: its faces, cut out, with their raw embeddings. */
interface Candidates {
  name: string
  found: FoundFaces | null
  faces: { aligned: AlignedPicture; embedding: Float32Array | null }[]
}

/** A reference's face that takes part. */
interface Chosen {
  name: string
  pixels: Pixels
  embedding: Float32Array | null
}

/**
 * Reads a person's references and finds their faces.
 *
 * A photograph without a face is left out. Of several faces the one is taken that resembles the person's other references
 * most, or the largest where there are none to compare with. Of three or more references, one that resembles the others
 * too little is left out. All of that is said in `warnings`.
 *
 * @param onRead Called after each reference.
 */
export async function readPerson(
  { name, pictures }: RequestedPerson,
  engine: Engine,
  options: AlignOptions,
  warnings: IConFaceWarning[],
  onRead: () => void,
): Promise<Person> {
  const all: Candidates[] = []
  for (const picture of pictures) {
    const decoded = await picture.read()
    options.signal.throwIfAborted()
    warnings.push(...decoded.warnings)
    all.push(await candidatesOf(picture.name, decoded, engine, options))
    onRead()
  }
  const chosen = choose(all, warnings)
  const kept = engine.info.synthesized ? chosen : withoutStrangers(chosen, warnings)
  const embeddings = kept.flatMap(({ embedding }) => (embedding ? [embedding] : []))
  return { name, faces: kept.map(({ pixels }) => pixels), anchor: meanFace(embeddings) }
}

async function candidatesOf(
  name: string,
  decoded: Decoded,
  engine: Engine,
  options: AlignOptions,
): Promise<Candidates> {
  const { size, threads, signal } = options
  const found = needsLook(decoded, 'auto') ? await findFaces(decoded, options) : null
  const aligned: AlignedPicture[] = []
  if (!found || (found.faces.length === 0 && found.mayStay)) {
    aligned.push({ pixels: decoded, alignment: null, warnings: [] })
  }
  for (const face of found?.faces.slice(0, MOST_COMPARED) ?? []) {
    aligned.push(
      await cutFace(name, decoded, face, {
        size,
        threads,
        mayStay: found!.mayStay && found!.faces.length === 1,
        signal,
      }),
    )
  }
  const faces: Candidates['faces'] = []
  for (const one of aligned) {
    const embedding = engine.info.identityEncoder ? await engine.embed(one.pixels, size) : null
    signal.throwIfAborted()
    faces.push({ aligned: one, embedding })
  }
  return { name, found, faces }
}

/** One face of each reference that has any. */
function choose(all: readonly Candidates[], warnings: IConFaceWarning[]): Chosen[] {
  const alone = all.flatMap(({ faces }) => (faces.length === 1 && faces[0]!.embedding ? [faces[0]!.embedding] : []))
  const mean = meanFace(alone)
  return all.flatMap(({ name, found, faces }) => {
    if (faces.length === 0) {
      const where = found!.tried.length > 0 ? ` (looked at as ${found!.tried.join(', ')})` : ''
      const message = `no face was found in ${name}${where}: it is left out; give a picture that shows the face, upright`
      warnings.push(new IConFaceWarning('WARN_ICONFACE_NO_FACE', message))
      return []
    }
    const similarities = faces.map(({ embedding }) => (mean ? similarityOf(embedding, mean) : 0))
    const taken = similarities.indexOf(Math.max(...similarities))
    const { aligned, embedding } = faces[taken]!
    warnings.push(...aligned.warnings)
    if (found && found.faces.length === 0) warnings.push(unseen(name))
    if (found && found.faces.length > 1) {
      const why = mean
        ? 'it resembles the other references most'
        : 'give a picture of this person alone if it is another'
      warnings.push(severalFaces(name, found.faces, taken, why))
    }
    return [{ name, pixels: aligned.pixels, embedding }]
  })
}

/** What is left without those who resemble the others too little, the least similar first. */
function withoutStrangers(chosen: Chosen[], warnings: IConFaceWarning[]): Chosen[] {
  const comparable = chosen.filter(({ embedding }) => embedding)
  const similarities = comparable.map(({ embedding }, i) => {
    const others = comparable.filter((_, j) => j !== i).map((other) => other.embedding!)
    return similarityOf(embedding, meanFace(others))
  })
  const lowest = similarities.indexOf(Math.min(...similarities))
  if (comparable.length < 2 || similarities[lowest]! >= LEAST_SIMILAR) return chosen
  const { name } = comparable[lowest]!
  const figures = `${similarities[lowest]!.toFixed(2)}, less than ${LEAST_SIMILAR}`
  const warn = (message: string) => warnings.push(new IConFaceWarning('WARN_ICONFACE_OTHER_PERSON', message))
  if (comparable.length === 2) {
    warn(
      `${comparable[0]!.name} and ${comparable[1]!.name} may show two people: their similarity is ${figures}; both are used, ` +
        'leave one out',
    )
    return chosen
  }
  warn(`${name} may show somebody else: its similarity to the others is ${figures}; it is left out`)
  return withoutStrangers(
    chosen.filter((one) => one !== comparable[lowest]),
    warnings,
  )
}
