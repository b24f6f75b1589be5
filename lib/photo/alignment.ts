/**
 * Alignment: where a face lies in a photograph, as a square that puts its eyes, nose and mouth where the model expects them.
 *
 * An {@link Alignment} is plain JSON. With it the same crop is cut again, and a restored crop is pasted back, without looking
 * for the face. Coordinates count pixel centres: (0, 0) is the centre of a picture's first pixel.
 *
 * Source: model-specification.md 10.
 */
import { IConFaceError, invalid, shortened } from '../errors'
import { checkWithin, expectedOf, isWithin, type Limit } from '../limits'
import { checkBoolean, checkKnown, checkNumber, checkOneOf, namesOf } from '../options'
import { isRecord } from '../util/realm'
import type { Point } from './anchors'
import { type AffineMatrix, type Five, fitSimilarity, inverseOf, mapped } from './similarity'

/** What lies outside the photograph: one grey, or its mirror image, with (`reflect`) or without the edge's pixels again. */
export type BorderMode = (typeof BORDER_MODES)[number]
export const BORDER_MODES = ['constant', 'reflect', 'reflect101'] as const

/** How a face is cut out. */
export interface AlignmentOptions {
  /** Side of the crop in pixels, 16 to 4096. Default 512. */
  size?: number | undefined
  /** Default `constant`. */
  border?: BorderMode | undefined
  /** How many times more than the template's square the crop shows, 0.25 to 8. Default 1. */
  cropScale?: number | undefined
  /** How far down the face lies from where the template has it, by the crop's side, -1 to 1. Default 0. */
  cropShift?: number | undefined
}

/** Where a face lies: plain JSON, all that is needed to cut the same crop again and to paste it back. */
export interface Alignment {
  /** Side of the crop in pixels. */
  size: number
  /** The similarity from pixels of the photograph to those of the crop. */
  matrix: AffineMatrix
  /** The similarity from pixels of the crop to those of the photograph. */
  inverse: AffineMatrix
  /** In the photograph: eye at the left, eye at the right, nose, mouth corner at the left, at the right. */
  landmarks: Five<Point>
  /** Which landmarks agree with the matrix; the others did not take part. */
  inliers: Five<boolean>
  border: BorderMode
  cropScale: number
  cropShift: number
}

const OPTIONS = namesOf<AlignmentOptions>({ size: true, border: true, cropScale: true, cropShift: true })
const FIELDS = namesOf<Alignment>({
  size: true,
  matrix: true,
  inverse: true,
  landmarks: true,
  inliers: true,
  border: true,
  cropScale: true,
  cropShift: true,
})

const SIZE: Limit = { min: 16, max: 4096, step: 1 }
/** Largest coordinate of a landmark, in pixels: a photograph has at most 65535 on a side, and a face may lie beside it. */
const FARTHEST = 1e6
/** Pixels of the crop for a pixel of the photograph. */
const SCALE = { min: 1e-4, max: 1e4 }
/** Landmarks whose extent across is a smaller part of their extent along lie on one line. */
const THINNEST = 0.01

/** Eye at the left, eye at the right, nose, mouth corners in a crop of 512 px: the FFHQ template, float32. */
export const TEMPLATE_512: Five<Point> = [
  [192.98138427734375, 239.94708251953125],
  [318.90277099609375, 240.193603515625],
  [256.6341552734375, 314.01934814453125],
  [201.26116943359375, 371.4104309082031],
  [313.08905029296875, 371.15118408203125],
]

/** Where the landmarks lie in a crop. Each step is rounded to float32, as the original's are. */
export function templateFor({ size, cropScale, cropShift }: Pick<Alignment, 'size' | 'cropScale' | 'cropShift'>) {
  const f = Math.fround
  const centre = f(size / 2)
  const scaled = (value: number) => f(f(f(f(value * f(size / 512)) - centre) / f(cropScale)) + centre)
  const shift = f(cropShift * size)
  return TEMPLATE_512.map(([x, y]) => [scaled(x), f(scaled(y) + shift)] as const) as unknown as Five<Point>
}

/**
 * Aligns a face: least median of squares from its landmarks to the template.
 *
 * @param landmarks  Five points [x, y] in pixels of the photograph: eye at the left, eye at the right, nose, mouth corner at
 *         the left, at the right.
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT` for options out of range, and for landmarks that are no five points,
 *         not finite, farther than a million pixels away, on one line, or too near each other.
 * @example
 * const alignment = alignFace(face.landmarks, { size: 512, border: 'reflect101' })
 */
export function alignFace(landmarks: Five<Point>, options: AlignmentOptions = {}): Alignment {
  checkKnown('options', options, OPTIONS)
  const { size = 512, border = 'constant', cropScale = 1, cropShift = 0 } = options
  checkCrop({ size, border, cropScale, cropShift })
  const points = checkLandmarks('landmarks', landmarks)
  checkSpread(points)
  const { matrix, inliers } = fitSimilarity(points, templateFor({ size, cropScale, cropShift }))
  const scale = Math.hypot(matrix[0], matrix[1])
  if (!isWithin(scale, SCALE)) throw degenerate(`a face that is scaled by ${SCALE.min} to ${SCALE.max}`, points)
  return { size, matrix, inverse: inverseOf(matrix), landmarks: points, inliers, border, cropScale, cropShift }
}

/**
 * Checks an alignment that comes from outside, as from a JSON file.
 *
 * @returns A copy.
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT`, naming the field that is missing, malformed or contradicts another.
 */
export function checkAlignment(value: unknown): Alignment {
  if (!isRecord(value)) throw invalid('alignment', 'an object that alignFace made', value)
  checkKnown('alignment', value, FIELDS, 'field')
  const { size, border, cropScale, cropShift } = value as unknown as Alignment
  checkCrop({ size, border, cropScale, cropShift }, 'alignment.')
  const matrix = checkMatrix('alignment.matrix', value.matrix)
  const inverse = checkMatrix('alignment.inverse', value.inverse)
  checkInverse(matrix, inverse, size)
  const landmarks = checkLandmarks('alignment.landmarks', value.landmarks)
  const inliers = checkInliers(value.inliers)
  return { size, matrix, inverse, landmarks, inliers, border, cropScale, cropShift }
}

function checkCrop(
  { size, border, cropScale, cropShift }: Pick<Alignment, 'size' | 'border' | 'cropScale' | 'cropShift'>,
  of = '',
): void {
  checkWithin(`${of}size`, size, SIZE)
  checkOneOf(`${of}border`, border, BORDER_MODES)
  checkNumber(`${of}cropScale`, cropScale, 0.25, 8)
  checkNumber(`${of}cropShift`, cropShift, -1, 1)
}

function checkLandmarks(name: string, value: unknown): Five<Point> {
  const fits = (x: unknown) => typeof x === 'number' && Math.abs(x) <= FARTHEST
  const isPoint = (point: unknown) => Array.isArray(point) && point.length === 2 && point.every(fits)
  if (!Array.isArray(value) || value.length !== 5) throw invalid(name, 'five points [x, y]', value)
  const wrong = value.findIndex((point) => !isPoint(point))
  if (wrong >= 0) throw invalid(`${name}[${wrong}]`, `a point [x, y] within ${FARTHEST} pixels`, value[wrong])
  return (value as Point[]).map(([x, y]) => [x, y]) as unknown as Five<Point>
}

/** Refuses points that lie on one line, which no face's do, by the two axes of the ellipse that they make. */
function checkSpread(points: Five<Point>): void {
  const [mx, my] = [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis]!, 0) / 5) as [number, number]
  let [xx, xy, yy] = [0, 0, 0]
  for (const [x, y] of points) {
    xx += (x - mx) ** 2
    xy += (x - mx) * (y - my)
    yy += (y - my) ** 2
  }
  const [middle, radius] = [(xx + yy) / 2, Math.hypot((xx - yy) / 2, xy)]
  const [long, short] = [middle + radius, middle - radius]
  if (!(short > THINNEST ** 2 * long)) throw degenerate('five points of a face, which are not on one line', points)
}

function degenerate(expected: string, points: Five<Point>): IConFaceError {
  const list = points.map(([x, y]) => `[${Number(x.toPrecision(6))}, ${Number(y.toPrecision(6))}]`).join(' ')
  const message = `expected ${expected}, for landmarks but received ${shortened(list)}`
  return new IConFaceError('ERR_ICONFACE_INVALID_ARGUMENT', message)
}

/** A similarity without reflection, to what float32 keeps of one. */
function checkMatrix(name: string, value: unknown): AffineMatrix {
  const expected = 'six numbers [a, -b, x, b, a, y]: scale, rotation and shift'
  if (!Array.isArray(value) || value.length !== 6 || !value.every(Number.isFinite)) throw invalid(name, expected, value)
  const [a, b, c, d, e, f] = value as unknown as AffineMatrix
  const scale = Math.hypot(a, b)
  const near = (difference: number) => Math.abs(difference) <= 1e-5 * scale
  if (!near(a - e) || !near(b + d)) throw invalid(name, expected, value)
  if (!isWithin(scale, SCALE)) throw invalid(name, `a scale of ${expectedOf(SCALE)}`, scale)
  return [a, b, c, d, e, f]
}

/** Refuses an inverse that does not bring the crop's corners back, to a fiftieth of a pixel. */
function checkInverse(matrix: AffineMatrix, inverse: AffineMatrix, size: number): void {
  for (const corner of [[0, 0] as const, [size, 0] as const, [0, size] as const]) {
    const [x, y] = mapped(matrix, mapped(inverse, corner))
    const away = Math.hypot(x - corner[0], y - corner[1])
    if (away > 0.02) throw invalid('alignment.inverse', 'the inverse of alignment.matrix', inverse)
  }
}

function checkInliers(value: unknown): Five<boolean> {
  if (!Array.isArray(value) || value.length !== 5) throw invalid('alignment.inliers', 'five times true or false', value)
  for (const [i, inlier] of value.entries()) checkBoolean(`alignment.inliers[${i}]`, inlier)
  return [...value] as unknown as Five<boolean>
}
