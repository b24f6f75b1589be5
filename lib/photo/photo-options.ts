/**
 * How a whole photograph is restored.
 */

import { IConFaceError, invalid } from '../errors'
import { capturePictures, type ImageInput, type Picture } from '../image'
import { checkWithin, isWithin } from '../limits'
import {
  type CheckedLoad,
  type CheckedRestore,
  checkBoolean,
  checkKnown,
  checkNumber,
  checkOneOf,
  checkRestoreOptions,
  namesOf,
  type Progress,
  RESTORE_OPTIONS,
  type RestoreOptions,
  type Stage,
} from '../options'
import { checkAborted } from '../util/abort'
import { isRecord } from '../util/realm'
import {
  type Alignment,
  type AlignmentOptions,
  alignFace,
  BORDER_MODES,
  checkAlignment,
  TEMPLATE_512,
} from './alignment'
import type { DetectedFace } from './anchors'

/** A face that was found in a photograph; pixels of the upright photograph. */
export interface FoundFace {
  /** Its number: 0 is the largest face. */
  readonly index: number
  readonly box: readonly [x: number, y: number, width: number, height: number]
  /** Eye at the left of the picture, eye at the right, nose, mouth corner at the left, at the right. */
  readonly landmarks: DetectedFace['landmarks']
  /** How sure the detector is, 0 to 1; `null` where the face was given by its alignment. */
  readonly score: number | null
}

/** Which faces of a photograph are restored. */
export type FaceChoice = 'all' | 'largest' | 'center' | readonly number[] | ((face: FoundFace) => boolean)

/** How far the restore of a photograph is. */
export interface PhotoProgress extends Omit<Progress, 'stage'> {
  /** Those of a restore, with `match` (faces are compared with references) and `paste` (into the photograph). */
  stage: Stage | 'match' | 'paste'
  /** Faces that are restored, of `faces`. Both are 0 until it is known how many there are. */
  face: number
  faces: number
}

/** How a photograph is restored: as each of its faces is, and what is said here. */
export interface PhotoOptions extends Omit<RestoreOptions, 'align' | 'onProgress'> {
  /**
   * Which faces: `all` (default), the `largest`, the one nearest to the `center`, numbers (0 is the largest), or a function
   * that is asked about each. The others are not touched.
   */
  faces?: FaceChoice | undefined
  /** Most faces that are restored, the largest first, 1 to 1000. Default 32. */
  maxFaces?: number | undefined
  /** Faces whose box is smaller, in pixels of its longer side, are left as they are. Default 24. */
  minFace?: number | undefined
  /** References by person, in place of one list: each person gets the face that resembles them most. */
  people?: Readonly<Record<string, readonly ImageInput[]>> | undefined
  /** Least similarity of a face to a person's references, -1 to 1, for it to be theirs. Default 0.2. */
  matchThreshold?: number | undefined
  /** What becomes of faces that are nobody's: restored without references (default), or kept as they are. */
  unmatched?: 'restore' | 'keep' | undefined
  /** Where the faces are, as an earlier result says in `faces[i].alignment`: nothing is looked for. */
  alignments?: readonly Alignment[] | undefined
  /** How many times more than the template's square a crop shows, 0.25 to 8. Default 1. */
  cropScale?: number | undefined
  /** How far down in its crop a face lies, by the crop's side, -1 to 1. Default 0. */
  cropShift?: number | undefined
  /** What a crop shows beyond the photograph's edge: one grey (default), or its mirror image. */
  border?: AlignmentOptions['border']
  /** Width of the seam between a restored face and the photograph, 0.25 to 4. Default 1. */
  softness?: number | undefined
  /** How many times larger the result is; what is no restored face is enlarged by Lanczos. Default 1. */
  upscale?: 1 | 2 | 4 | undefined
  /** Whether the result's EXIF says where the photograph was taken. Default `false`. */
  keepLocation?: boolean | undefined
  /** As of a restore, with `face` and `faces`. */
  onProgress?: ((progress: PhotoProgress) => void | Promise<void>) | undefined
}

const OWN_OPTIONS = namesOf<Omit<PhotoOptions, keyof RestoreOptions>>({
  faces: true,
  maxFaces: true,
  minFace: true,
  people: true,
  matchThreshold: true,
  unmatched: true,
  alignments: true,
  cropScale: true,
  cropShift: true,
  border: true,
  softness: true,
  upscale: true,
  keepLocation: true,
})
export const PHOTO_OPTIONS: readonly (keyof PhotoOptions)[] = [
  ...RESTORE_OPTIONS.filter((name) => name !== 'align'),
  ...OWN_OPTIONS,
]

/** Options that are right, with defaults; those of a restore apart. */
export interface CheckedPhoto {
  faces: FaceChoice
  maxFaces: number
  minFace: number
  matchThreshold: number
  unmatched: 'restore' | 'keep'
  alignments: readonly Alignment[] | undefined
  crop: Omit<AlignmentOptions, 'size'>
  softness: number
  upscale: 1 | 2 | 4
  keepLocation: boolean
  restore: CheckedRestore
  onProgress: PhotoOptions['onProgress']
}

/** Someone whose references were given, captured. */
export interface RequestedPerson {
  name: string
  pictures: Picture[]
}

/** The restore of a photograph whose arguments are checked and whose pictures are captured. */
export interface PhotoRequest {
  photo: Picture
  people: RequestedPerson[]
  /** One list of references was given, of somebody who has no name. */
  isList: boolean
  options: CheckedPhoto
  /** The detector's file; `undefined`: the package's own. */
  detector: string | undefined
}

/** What a face is said to be whose references were one list. */
export const LISTED = 'references'

/** Checks the arguments of a photograph's restore and captures its pictures, at the moment of the call. */
export function preparePhoto(
  photo: ImageInput,
  references: readonly ImageInput[],
  options: PhotoOptions,
  { maxPixels, maxReferences, detector }: Pick<CheckedLoad, 'maxPixels' | 'maxReferences' | 'detector'>,
): PhotoRequest {
  const checked = checkPhotoOptions(options)
  checkAborted(checked.restore.signal)
  if (!Array.isArray(references)) throw invalid('references', 'an array of pictures', references)
  const lists = listsOf(references, options.people)
  for (const { name, images } of lists) {
    const what = name === LISTED ? 'references' : `people.${name}`
    if (images.length > maxReferences) {
      throw invalid(what, `at most ${maxReferences} pictures (maxReferences)`, images.length)
    }
  }
  const named = lists.flatMap(({ name, images }) =>
    Array.from(images, (image: ImageInput, i) => ({ name: referenceName(name, i), image })),
  )
  const [own, ...others] = capturePictures(
    [{ name: 'the photograph', image: photo }, ...named],
    maxPixels,
    checked.restore.strict,
  )
  const people = lists.map(({ name, images }) => ({ name, pictures: others.splice(0, images.length) }))
  return { photo: own!, people, isList: options.people === undefined, options: checked, detector }
}

/** What messages call a reference. */
export function referenceName(person: string, index: number): string {
  return person === LISTED ? `reference ${index + 1}` : `${person}'s reference ${index + 1}`
}

function listsOf(references: readonly ImageInput[], people: PhotoOptions['people']) {
  if (people === undefined) return references.length > 0 ? [{ name: LISTED, images: references }] : []
  if (references.length > 0) {
    throw invalid('references', 'none where people are given', references)
  }
  if (!isRecord(people)) throw invalid('people', 'an object: a list of pictures by name', people)
  return Object.entries(people).map(([name, images]) => {
    if (!Array.isArray(images) || images.length === 0) throw invalid(`people.${name}`, 'a list of pictures', images)
    return { name, images: images as readonly ImageInput[] }
  })
}

export function checkPhotoOptions(options: PhotoOptions = {}): CheckedPhoto {
  checkKnown('options', options, PHOTO_OPTIONS)
  const { faces = 'all', maxFaces = 32, minFace = 24, matchThreshold = 0.2, unmatched = 'restore' } = options
  const { alignments, cropScale, cropShift, border, softness = 1, upscale = 1, keepLocation = false } = options
  const { onProgress, ...others } = options
  checkChoice(faces)
  checkWithin('maxFaces', maxFaces, { min: 1, max: 1000, step: 1 })
  checkNumber('minFace', minFace, 0, 65535)
  checkNumber('matchThreshold', matchThreshold, -1, 1)
  checkOneOf('unmatched', unmatched, ['restore', 'keep'])
  const crop = { cropScale, cropShift, border }
  checkCrop(crop)
  checkNumber('softness', softness, 0.25, 4)
  if (upscale !== 1 && upscale !== 2 && upscale !== 4) throw invalid('upscale', '1, 2 or 4', upscale)
  checkBoolean('keepLocation', keepLocation)
  if (onProgress !== undefined && typeof onProgress !== 'function')
    throw invalid('onProgress', 'a function', onProgress)
  const given = Object.fromEntries(RESTORE_OPTIONS.map((name) => [name, (others as RestoreOptions)[name]]))
  return {
    ...{ faces, maxFaces, minFace, matchThreshold, unmatched, crop, softness, upscale, keepLocation, onProgress },
    alignments: alignments === undefined ? undefined : checkAlignments(alignments),
    restore: checkRestoreOptions(given),
  }
}

function checkChoice(faces: unknown): asserts faces is FaceChoice {
  const index = { min: 0, max: 1e6, step: 1 }
  if (faces === 'all' || faces === 'largest' || faces === 'center' || typeof faces === 'function') return
  if (Array.isArray(faces) && faces.every((one) => isWithin(one, index))) return
  throw invalid('faces', "'all', 'largest', 'center', a list of numbers from 0, or a function", faces)
}

function checkCrop(crop: Omit<AlignmentOptions, 'size'>): void {
  if (crop.border !== undefined) checkOneOf('border', crop.border, BORDER_MODES)
  alignFace(TEMPLATE_512, crop) // what cannot be aligned with these options is wrong in the options
}

function checkAlignments(alignments: unknown): Alignment[] {
  if (!Array.isArray(alignments) || alignments.length === 0) {
    throw invalid('alignments', "a list of alignments, as a result's faces have them", alignments)
  }
  return alignments.map((alignment, i) => {
    try {
      return checkAlignment(alignment)
    } catch (cause) {
      const { code, message } = cause as IConFaceError
      throw new IConFaceError(code, `alignments[${i}]: ${message}`, { cause })
    }
  })
}
