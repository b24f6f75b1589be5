/**
 * Brings the face of a picture to where the model expects it: leaves aligned crops as they are, and cuts one out of
 * everything else.
 */

import type { Pixels } from '../native'
import type { Align } from '../options'
import type { Decoded } from '../picture/decode'
import { isSquare, shapeWarnings } from '../picture/shape'
import { IConFaceWarning } from '../warning'
import { type Alignment, alignFace } from './alignment'
import type { DetectedFace } from './anchors'
import type { FaceDetector } from './detect'
import { faceCrop } from './face-crop'
import { sharedPixels } from './pixels'
import { noFace, searchFaces } from './search'
import { fitsTemplate } from './template-fit'

/** Scores of the faces that are looked for first. */
const CONFIDENCE = 0.6
/** A picture whose longer side is below it holds no more than a face: there is nothing to look for. */
const LEAST_SIDE = 64

const WAY_OUT =
  "give a picture that shows a face, upright; for a crop of a face say align: 'none' (--align none), which takes its centre"

/** A picture as the model gets it. */
export interface AlignedPicture {
  pixels: Pixels
  /** How it was cut; `null` where it was left as it is. */
  alignment: Alignment | null
  warnings: IConFaceWarning[]
}

export interface AlignOptions {
  align: Align
  /** The model's. */
  size: number
  /** The model's: they cut the faces out, too. */
  threads: number
  detector: () => Promise<FaceDetector>
  signal: AbortSignal
}

/** Whether {@link alignPicture} looks for faces in a picture. */
export function needsLook(picture: { width: number; height: number }, align: Align): boolean {
  return align === 'face' || (align === 'auto' && Math.max(picture.width, picture.height) >= LEAST_SIDE)
}

/** What was found in a picture. */
export interface FoundFaces {
  /** The largest first. */
  faces: DetectedFace[]
  /** Where was looked, in words. */
  tried: string[]
  /** The picture may be an aligned crop already: it is square, and nobody asked to align it in any case. */
  mayStay: boolean
}

/**
 * Looks for the faces of a picture. One that may stay as it is, is looked at once: an aligned crop may be too damaged for a
 * face to be seen in it. Of any other something has to be cut away, so larger sizes and lower confidences are tried, too.
 */
export async function findFaces(picture: Decoded, { align, detector, signal }: AlignOptions): Promise<FoundFaces> {
  const mayStay = align === 'auto' && isSquare(picture)
  const search = await searchFaces(picture, await detector(), { confidence: CONFIDENCE, persist: !mayStay, signal })
  return { ...search, mayStay }
}

/** One of a picture's faces, where the model expects it: cut out, or the picture itself where the face lies like that. */
export async function cutFace(
  name: string,
  picture: Decoded,
  { landmarks }: DetectedFace,
  { size, threads, mayStay, signal }: Pick<AlignOptions, 'size' | 'threads' | 'signal'> & { mayStay: boolean },
): Promise<AlignedPicture> {
  if (mayStay && fitsTemplate(landmarks, picture.width)) {
    const shape = shapeWarnings(name, picture, size).filter(({ code }) => code !== 'WARN_ICONFACE_REDUCED')
    return { pixels: picture, alignment: null, warnings: shape }
  }
  const alignment = alignFace(landmarks, { size })
  const { data, channels } = await faceCrop(sharedPixels(picture), alignment, { threads, signal })
  const pixels = { data: data as Uint8Array, width: size, height: size, channels: channels as 3 }
  return { pixels, alignment, warnings: smallFace(name, alignment) }
}

/**
 * The face of a picture where the model expects it.
 *
 * With `auto`, a square picture is looked at once, which takes as long as 640 x 640 pixels do: it is left as it is where
 * its face fits the template, and where none is seen. It is aligned where its face is elsewhere. Of any other picture
 * something has to be cut away, so a face must be found.
 *
 * @param name What messages call the picture: `input`, `reference 2`.
 * @throws {IConFaceError} `ERR_ICONFACE_NO_FACE`, with every attempt; what loading and running the detector throw.
 */
export async function alignPicture(name: string, picture: Decoded, options: AlignOptions): Promise<AlignedPicture> {
  const { align, size, threads, signal } = options
  const shape = shapeWarnings(name, picture, size)
  if (!needsLook(picture, align)) return { pixels: picture, alignment: null, warnings: shape }
  const { faces, tried, mayStay } = await findFaces(picture, options)
  const [face] = faces
  if (!face) {
    if (!mayStay) throw noFace(name, tried, WAY_OUT)
    return { pixels: picture, alignment: null, warnings: [...shape, unseen(name)] }
  }
  const aligned = await cutFace(name, picture, face, { size, threads, mayStay, signal })
  const several = faces.length > 1 ? [severalFaces(name, faces, 0, 'restorePhoto restores them all')] : []
  return { ...aligned, warnings: [...aligned.warnings, ...several] }
}

/** The warning of a square picture in which no face is seen. */
export function unseen(name: string): IConFaceWarning {
  const message =
    `no face was found in ${name}, which is square: it is taken for an aligned crop and left as it is; ` +
    "say align: 'none' (--align none) if it is one, 'face' to refuse it"
  return new IConFaceWarning('WARN_ICONFACE_NO_FACE', message)
}

/** The warning of a picture that shows several faces, of which `taken` was taken. */
export function severalFaces(
  name: string,
  faces: readonly DetectedFace[],
  taken: number,
  more: string,
): IConFaceWarning {
  const [left, top, right, bottom] = faces[taken]!.box.map(Math.round)
  const which = taken === 0 ? 'the largest' : 'another than the largest'
  const message = `${name} shows ${faces.length} faces: ${which} was taken, from ${left}, ${top} to ${right}, ${bottom}; ${more}`
  return new IConFaceWarning('WARN_ICONFACE_SEVERAL_FACES', message)
}

/** A warning where a face has few pixels. */
function smallFace(name: string, { size, inverse }: Alignment): IConFaceWarning[] {
  const side = Math.round(size * Math.hypot(inverse[0], inverse[3]))
  return shapeWarnings(`the face in ${name}, with its surroundings`, { width: side, height: side }, size).filter(
    ({ code }) => code === 'WARN_ICONFACE_ENLARGED',
  )
}
