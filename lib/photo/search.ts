/**
 * Finds the faces of a whole photograph, whatever its size and shape.
 *
 * The detector's network finds faces of 16 to 600 pixels, and its memory grows with the picture. So a large photograph is
 * looked at reduced to 4 megapixels, and once more at 640 pixels for faces that fill it; a panorama is looked at in
 * sections that overlap by its height, so that every face is whole in one of them.
 */

import { IConFaceError } from '../errors'
import type { DetectedFace, Point } from './anchors'
import { withoutOverlaps } from './anchors'
import type { FaceDetector } from './detect'
import type { PhotoPixels } from './pixels'
import { detectionAttempts, detectorSize } from './policy'
import { type Part, viewOf } from './view'

/** Most pixels that the network looks at, at once. */
const MOST_LOOKED = 4e6
/** The short side at which faces that fill a picture are found. */
const COARSE = 640
/** Pictures longer than this many times their short side are looked at in sections of that shape. */
const LONGEST = 3
const MOST_SECTIONS = 100
/** Boxes that overlap by more are the same face, seen in two views. */
const OVERLAP = 0.4
const MOST_FACES = 750

/** What a search found, the largest face first, and where it looked. */
export interface Search {
  faces: DetectedFace[]
  /** Sizes and confidences, in words. */
  tried: string[]
}

export interface SearchOptions {
  /** Only faces with a score above it. */
  confidence: number
  /** Whether larger sizes and lower confidences are tried where nothing is found. Default `true`. */
  persist?: boolean
  signal: AbortSignal
}

/** The faces of a picture. */
export async function searchFaces(
  picture: PhotoPixels,
  detector: FaceDetector,
  { confidence, persist = true, signal }: SearchOptions,
): Promise<Search> {
  const attempts = persist ? detectionAttempts(COARSE, confidence) : [{ shortSide: COARSE, confidence }]
  const confidences = [...new Set(attempts.map((attempt) => attempt.confidence))]
  const tried: string[] = []
  let before = ''
  for (const shortSide of new Set(attempts.map((attempt) => attempt.shortSide))) {
    const views = viewsOf(picture, shortSide)
    const sizes = sizesOf(views)
    if (sizes === before) continue // it is larger already
    before = sizes
    // Suppression goes by score, so the faces above a confidence are the same whatever lies below it.
    const all = await look(picture, detector, views, Math.min(...confidences), signal)
    for (const least of confidences) {
      tried.push(`${sizes} above ${least}`)
      const faces = all.filter(({ score }) => score > least)
      if (faces.length > 0) return { faces: faces.sort((a, b) => areaOf(b) - areaOf(a)), tried }
    }
  }
  return { faces: [], tried }
}

/** The error of a picture without a face; `wayOut` says what to do. */
export function noFace(name: string, tried: readonly string[], wayOut: string): IConFaceError {
  const looked = tried.length > 0 ? `looked at as ${tried.join(', ')}` : 'too narrow to be looked at'
  return new IConFaceError('ERR_ICONFACE_NO_FACE', `there is no face in ${name} (${looked}); ${wayOut}`)
}

/** A part, at the size at which the network looks at it; `shortSide` is what the detector enlarges it to. */
interface View {
  part: Part
  width: number
  height: number
  shortSide: number
}

function viewsOf({ width, height }: PhotoPixels, shortSide: number): View[] {
  return sections(width, height).flatMap((part) => {
    const fine = Math.min(1, Math.sqrt(MOST_LOOKED / (part.width * part.height)))
    const coarse = COARSE / Math.min(part.width, part.height)
    const scales = coarse < 0.7 * fine ? [fine, coarse] : [fine] // within that, one finds what the other does
    return scales.map((scale) => ({
      part,
      width: Math.max(1, Math.round(part.width * scale)),
      height: Math.max(1, Math.round(part.height * scale)),
      shortSide: scale === fine ? shortSide : COARSE,
    }))
  })
}

/** The whole picture, or sections of a panorama; none of one so narrow that no face can be seen in it. */
function sections(width: number, height: number): Part[] {
  const [short, long] = [Math.min(width, height), Math.max(width, height)]
  if (long <= LONGEST * short) return [{ left: 0, top: 0, width, height }]
  const length = LONGEST * short
  const count = Math.ceil((long - length) / (length - short)) + 1
  if (count > MOST_SECTIONS) return []
  return Array.from({ length: count }, (_, i) => {
    const at = Math.round((i * (long - length)) / (count - 1))
    return width > height ? { left: at, top: 0, width: length, height } : { left: 0, top: at, width, height: length }
  })
}

/** `2309 x 1732 px and 853 x 640 px`, the sizes that the network sees. */
function sizesOf(views: readonly View[]): string {
  const sizes = views.map(({ width, height, shortSide }) => {
    const size = detectorSize(height, width, shortSide)
    return `${size.width} x ${size.height} px`
  })
  const sections = new Set(views.map(({ part }) => `${part.left} ${part.top}`)).size
  return [...new Set(sizes)].join(' and ') + (sections > 1 ? ` in ${sections} sections` : '')
}

async function look(
  picture: PhotoPixels,
  detector: FaceDetector,
  views: readonly View[],
  confidence: number,
  signal: AbortSignal,
): Promise<DetectedFace[]> {
  const found: DetectedFace[] = []
  for (const { part, width, height, shortSide } of views) {
    const view = await viewOf(picture, part, width, height)
    signal.throwIfAborted()
    const faces = await detector.detect(view, { shortSide, confidence, overlap: OVERLAP })
    signal.throwIfAborted()
    const inPicture = faces.map((face) => placed(face, part, part.width / width, part.height / height))
    found.push(...inPicture.filter((face) => !isCut(face, part, picture)))
  }
  if (views.length === 1) return found
  return withoutOverlaps(
    found.sort((a, b) => b.score - a.score),
    OVERLAP,
    MOST_FACES,
  )
}

/** Whether a face reaches a section's edge within the picture: the next section shows the whole of it. */
function isCut({ box: [left, top, right, bottom] }: DetectedFace, part: Part, picture: PhotoPixels): boolean {
  const near = 0.02 * Math.min(part.width, part.height)
  return (
    (part.left > 0 && left < part.left + near) ||
    (part.top > 0 && top < part.top + near) ||
    (part.left + part.width < picture.width && right > part.left + part.width - near) ||
    (part.top + part.height < picture.height && bottom > part.top + part.height - near)
  )
}

/** From a view's coordinates to the picture's, as the detector itself does it for what it enlarges. */
function placed({ box, score, landmarks }: DetectedFace, { left, top }: Part, across: number, down: number) {
  if (left === 0 && top === 0 && across === 1 && down === 1) return { box, score, landmarks }
  const x = (value: number) => left + value * across
  const y = (value: number) => top + value * down
  const point = ([px, py]: Point): Point => [x(px), y(py)]
  const [a, b, c, d, e] = landmarks
  return {
    box: [x(box[0]), y(box[1]), x(box[2]), y(box[3])] as const,
    score,
    landmarks: [point(a), point(b), point(c), point(d), point(e)] as const,
  }
}

function areaOf({ box: [left, top, right, bottom] }: DetectedFace): number {
  return (right - left) * (bottom - top)
}
