/**
 * Decisions around a face detector: what a picture is enlarged to, what is tried when it finds nothing, and which of
 * several faces is meant. They are those of the paper's published workflow, so that the same faces are found.
 */
import type { DetectedFace } from './anchors'

/** Which of several faces is meant. */
export type FaceSelection = 'largest' | 'center' | 'highest_score'

export const FACE_SELECTIONS: readonly FaceSelection[] = ['largest', 'center', 'highest_score']

/** Short sides to enlarge to, and confidences, that are tried after the ones asked for. */
const LARGER_SIDES = [960, 1280]
const LOWER_CONFIDENCES = [0.45, 0.3]

export interface Attempt {
  /** The short side that smaller pictures are enlarged to; 0: none is. */
  shortSide: number
  confidence: number
}

/** What is tried, in this order, until a face is found. */
export function detectionAttempts(shortSide: number, confidence: number): Attempt[] {
  const sides = new Set([shortSide, ...LARGER_SIDES.map((side) => Math.max(shortSide, side))])
  const confidences = new Set([confidence, ...LOWER_CONFIDENCES.map((c) => Math.min(confidence, c))].map(hundredths))
  return [...sides].flatMap((side) => [...confidences].map((c) => ({ shortSide: side, confidence: c })))
}

/** Rounds to hundredths as Python's `round` does: by the exact value, ties to even (only eighths are ties). */
function hundredths(value: number): number {
  const middle = Number.isInteger(value * 8) && !Number.isInteger(value * 4)
  return middle ? roundHalfToEven(value * 100) / 100 : Number(value.toFixed(2))
}

export interface DetectorSize {
  height: number
  width: number
  /** What the picture's pixels are multiplied by. */
  scale: number
}

/** The size at which the network looks at a picture: never smaller, larger where its short side is below `shortSide`. */
export function detectorSize(height: number, width: number, shortSide: number): DetectorSize {
  const shortest = Math.min(height, width)
  if (shortest >= shortSide) return { height, width, scale: 1 }
  const scale = shortSide / shortest
  return { height: roundHalfToEven(height * scale), width: roundHalfToEven(width * scale), scale }
}

function roundHalfToEven(value: number): number {
  const below = Math.floor(value)
  if (value - below !== 0.5) return Math.round(value)
  return below % 2 === 0 ? below : below + 1
}

/** Index of the face meant, in a picture of this size; the first one on a tie. */
export function selectFace(
  faces: readonly Pick<DetectedFace, 'box' | 'score'>[],
  selection: FaceSelection,
  height: number,
  width: number,
): number {
  const rank: Record<FaceSelection, (face: Pick<DetectedFace, 'box' | 'score'>) => number> = {
    largest: ({ box: [left, top, right, bottom] }) => (right - left) * (bottom - top),
    center: ({ box: [left, top, right, bottom] }) =>
      -(((left + right) / 2 - width / 2) ** 2 + ((top + bottom) / 2 - height / 2) ** 2),
    highest_score: ({ score }) => score,
  }
  const ranks = faces.map(rank[selection])
  return ranks.reduce((best, value, i) => (value > ranks[best]! ? i : best), 0)
}
