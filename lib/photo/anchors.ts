/**
 * Decodes RetinaFace's results: anchors to boxes and landmarks, then non-maximum suppression of boxes that overlap.
 *
 * Source: RetinaFace (arXiv 1905.00641) with the anchors of its PyTorch implementation; model-specification.md 7.
 */

/** Sides of the square anchors of a cell, in pixels, on maps 8, 16 and 32 times smaller than the picture. */
const LEVELS = [
  { step: 8, sides: [16, 32] },
  { step: 16, sides: [64, 128] },
  { step: 32, sides: [256, 512] },
] as const

const CENTRE_VARIANCE = 0.1
const SIZE_VARIANCE = 0.2

/** Centre and size, as shares of the picture's width and height. */
export type Prior = readonly [x: number, y: number, width: number, height: number]

/** A place in a picture: x to the right, y down, in pixels. */
export type Point = readonly [x: number, y: number]

/** A face: a box (pixels, not clipped to the picture), how sure the network is (0 to 1), and five landmarks. */
export interface DetectedFace {
  box: readonly [left: number, top: number, right: number, bottom: number]
  score: number
  /** Eye at the left of the picture, eye at the right, nose, mouth corner at the left, at the right. */
  landmarks: readonly [Point, Point, Point, Point, Point]
}

/** The network's results for one picture: rows in the order level, row, column, anchor side. */
export interface Predictions {
  /** [P, 4]: offsets of boxes from their priors. */
  boxes: Float32Array
  /** [P, 2]: logits of background and face. */
  logits: Float32Array
  /** [P, 10] */
  landmarks: Float32Array
}

export interface Thresholds {
  /** Scores must be above it. */
  confidence: number
  /** Boxes that overlap a better one by more than this (intersection over union) are dropped. */
  overlap: number
  /** Most candidates that are considered, best first, and most faces that are returned. */
  candidates: number
  faces: number
}

/** The prior that the network's row `row` belongs to, in a picture of this size. */
export function priorAt(row: number, height: number, width: number): Prior {
  let first = 0
  for (const { step, sides } of LEVELS) {
    const columns = Math.ceil(width / step)
    const count = Math.ceil(height / step) * columns * sides.length
    if (row < first + count) {
      const cell = Math.floor((row - first) / sides.length)
      const side = sides[(row - first) % sides.length]!
      const [x, y] = [(cell % columns) + 0.5, Math.floor(cell / columns) + 0.5]
      return [(x * step) / width, (y * step) / height, side / width, side / height]
    }
    first += count
  }
  throw new RangeError(`a picture of ${width} x ${height} pixels has ${first} priors, none for row ${row}`)
}

/** The second of two logits' softmax. */
export function faceScore(background: number, face: number): number {
  return 1 / (1 + Math.exp(background - face))
}

/**
 * Faces of a picture of `height` x `width` pixels, best first.
 *
 * box centre = prior centre + 0.1 d prior size, box size = prior size e^(0.2 d), landmark = prior centre + 0.1 d prior size.
 */
export function decodeFaces(
  { boxes, logits, landmarks }: Predictions,
  height: number,
  width: number,
  { confidence, overlap, candidates, faces }: Thresholds,
): DetectedFace[] {
  const found: { row: number; score: number }[] = []
  for (let row = 0; 2 * row < logits.length; row++) {
    const score = faceScore(logits[2 * row]!, logits[2 * row + 1]!)
    if (score > confidence) found.push({ row, score })
  }
  const best = found.sort((a, b) => b.score - a.score).slice(0, candidates)
  const decoded = best.map(({ row, score }): DetectedFace => {
    const prior = priorAt(row, height, width)
    return {
      box: decodeBox(boxes.subarray(4 * row, 4 * row + 4), prior, height, width),
      score,
      landmarks: decodeLandmarks(landmarks.subarray(10 * row, 10 * row + 10), prior, height, width),
    }
  })
  return withoutOverlaps(decoded, overlap, faces)
}

function decodeBox(d: Float32Array, [x, y, w, h]: Prior, height: number, width: number): DetectedFace['box'] {
  const [across, down] = [x + d[0]! * CENTRE_VARIANCE * w, y + d[1]! * CENTRE_VARIANCE * h]
  const [halfWidth, halfHeight] = [(w * Math.exp(d[2]! * SIZE_VARIANCE)) / 2, (h * Math.exp(d[3]! * SIZE_VARIANCE)) / 2]
  return [
    (across - halfWidth) * width,
    (down - halfHeight) * height,
    (across + halfWidth) * width,
    (down + halfHeight) * height,
  ]
}

function decodeLandmarks(d: Float32Array, [x, y, w, h]: Prior, height: number, width: number) {
  const point = (i: number): Point => [
    (x + d[2 * i]! * CENTRE_VARIANCE * w) * width,
    (y + d[2 * i + 1]! * CENTRE_VARIANCE * h) * height,
  ]
  return [point(0), point(1), point(2), point(3), point(4)] as const
}

/** Keeps the faces, best first, that overlap none kept before by more than `most`; `count` at most. */
export function withoutOverlaps(faces: readonly DetectedFace[], most: number, count: number): DetectedFace[] {
  const kept: DetectedFace[] = []
  for (const face of faces) {
    if (kept.length === count) break
    if (kept.every((better) => overlapOf(better.box, face.box) <= most)) kept.push(face)
  }
  return kept
}

function areaOf([left, top, right, bottom]: DetectedFace['box']): number {
  return (right - left + 1) * (bottom - top + 1)
}

/** Intersection over union of two boxes whose last pixels count. */
function overlapOf(a: DetectedFace['box'], b: DetectedFace['box']): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]) + 1
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]) + 1
  if (width <= 0 || height <= 0) return 0
  return (width * height) / (areaOf(a) + areaOf(b) - width * height)
}
