/**
 * Landmark error without a landmark network: where the truth's landmarks lie is known, so the neighbourhood of each is
 * looked for in the picture to judge.
 *
 * A patch of the truth's luma around the landmark is found by normalised cross-correlation, which is indifferent to
 * brightness and contrast, and then placed to a fraction of a pixel by least squares (Lucas and Kanade 1981, in the
 * inverse compositional form of Baker and Matthews 2004).
 */

import { invalid } from '../errors'
import { checkSameSize, luma, type Plane, type RgbImage } from './pixels'

/** A place in a picture, in pixels; the centre of the first pixel is (0, 0). */
export type Point = readonly [x: number, y: number]

/** How far the landmarks of a picture are from those of the truth. */
export interface LandmarkError {
  /** Mean displacement as a fraction of the inter-ocular distance; `null` when no patch could be used. */
  mean: number | null
  /** Landmarks that count, the lost ones among them. */
  used: number
  /**
   * Landmarks that nothing within reach resembles. Each counts as the largest error: a picture without any structure
   * must not score well.
   */
  lost: number
  /** Landmarks left out: their patch leaves the picture, or lacks texture in some direction and could slide. */
  skipped: number
}

/** Half a patch's side, and how far from its landmark a patch is looked for, by the inter-ocular distance. */
const PATCH = 0.16
const SEARCH = 0.2
/** The largest error: the corner of the square that is searched. */
const LARGEST_ERROR = SEARCH * Math.SQRT2
/**
 * Least correlation of a landmark that is found. The right places stay above 0.45 in drawn faces of 64 and 128 pixels
 * degraded as strongly as `degrade` can; the best places in pure noise have about 0.4 and 0.2.
 */
const FOUND = 0.4
/** Least root mean square gradient in a patch's weakest direction, in grey levels per pixel, that holds it in place. */
const TEXTURE = 2
/** Pictures whose eyes are further apart than this many pixels are reduced: the search grows with its fourth power. */
const LARGEST_DISTANCE = 64
const ITERATIONS = 20

/**
 * How far the structures at `landmarks` of `truth` lie from there in `image`.
 *
 * On drawn faces whose true displacement is known it agrees within 0.01 for shifts, tilts and expressions; light from
 * another side is taken for displacement, up to 0.1. The search is limited to `0.2 sqrt(2)` of the inter-ocular
 * distance: no displacement comes out larger, and landmarks that are lost, as all are in a flat picture, count as that.
 *
 * Computes on the calling thread: about 0.1 s for 28 landmarks at 64 pixels, 0.5 s at 512.
 *
 * @param landmarks   Places in `truth`.
 * @param interocular Distance of the two eyes' centres in `truth`, in pixels, at least 8.
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT` when the sizes differ or a value is not a number.
 */
export function landmarkError(
  image: RgbImage,
  truth: RgbImage,
  landmarks: readonly Point[],
  interocular: number,
): LandmarkError {
  checkSameSize(image, truth)
  if (!Array.isArray(landmarks)) throw invalid('landmarks', 'a list of [x, y] in pixels', landmarks)
  if (!(Number.isFinite(interocular) && interocular >= 8)) throw invalid('interocular', '8 pixels or more', interocular)
  const factor = Math.ceil(interocular / LARGEST_DISTANCE)
  const [source, target] = [reduced(luma(truth), factor), reduced(luma(image), factor)]
  const distance = interocular / factor
  const [radius, reach] = [Math.max(2, Math.round(PATCH * distance)), Math.round(SEARCH * distance)]
  let sum = 0
  let used = 0
  let lost = 0
  for (const landmark of landmarks) {
    const patch = cutPatch(source, nearestPixel(landmark, factor), radius)
    if (!patch) continue
    const place = locate(patch, target, reach)
    sum += place ? Math.min(Math.hypot(...place) / distance, LARGEST_ERROR) : LARGEST_ERROR
    used++
    if (!place) lost++
  }
  return { mean: used === 0 ? null : sum / used, used, lost, skipped: landmarks.length - used }
}

/** The pixel of the reduced picture nearest to a landmark. */
function nearestPixel(point: Point, factor: number): Point {
  if (!(Array.isArray(point) && point.length === 2 && point.every(Number.isFinite))) {
    throw invalid('a landmark', '[x, y] in pixels', point)
  }
  const nearest = (value: number) => Math.round((value + 0.5) / factor - 0.5)
  return [nearest(point[0]), nearest(point[1])]
}

/** Means of squares of `factor` pixels; what is left over at the right and the bottom is dropped. */
function reduced(plane: Plane, factor: number): Plane {
  if (factor === 1) return plane
  const [width, height] = [Math.floor(plane.width / factor), Math.floor(plane.height / factor)]
  const data = new Float64Array(width * height)
  for (let y = 0; y < height * factor; y++) {
    for (let x = 0; x < width * factor; x++) {
      data[Math.floor(y / factor) * width + Math.floor(x / factor)]! += plane.data[y * plane.width + x]! / factor ** 2
    }
  }
  return { data, width, height }
}

interface Patch {
  centre: Point
  radius: number
  /** Mean 0, norm 1. */
  values: Float64Array
  /** Derivatives of `values`. */
  dx: Float64Array
  dy: Float64Array
  /** Inverse of the 2 x 2 matrix of the derivatives' products: xx, xy, yy. */
  inverse: [number, number, number]
}

/** The patch around a landmark; `null` where it leaves the picture or could slide. */
function cutPatch(plane: Plane, centre: Point, radius: number): Patch | null {
  const [cx, cy] = centre
  const margin = radius + 1 // for the derivatives
  if (cx < margin || cy < margin || cx + margin >= plane.width || cy + margin >= plane.height) return null
  const raw = cells(radius, (dx, dy) => at(plane, cx + dx, cy + dy))
  const scale = normalise(raw)
  const dx = cells(radius, (x, y) => (at(plane, cx + x + 1, cy + y) - at(plane, cx + x - 1, cy + y)) / 2)
  const dy = cells(radius, (x, y) => (at(plane, cx + x, cy + y + 1) - at(plane, cx + x, cy + y - 1)) / 2)
  const [xx, xy, yy] = [dot(dx, dx), dot(dx, dy), dot(dy, dy)]
  const weakest = (xx + yy) / 2 - Math.hypot((xx - yy) / 2, xy) // the smaller eigenvalue
  if (Math.sqrt(weakest / raw.length) < TEXTURE) return null
  for (let i = 0; i < raw.length; i++) {
    dx[i]! *= scale
    dy[i]! *= scale
  }
  const determinant = (xx * yy - xy * xy) * scale ** 2
  return { centre, radius, values: raw, dx, dy, inverse: [yy / determinant, -xy / determinant, xx / determinant] }
}

/** How far from its own place a patch lies in `target`, in pixels; `null` where nothing resembles it. */
function locate(patch: Patch, target: Plane, reach: number): Point | null {
  const { radius } = patch
  const [cx, cy] = patch.centre
  let best: Point = [0, 0]
  let highest = -Infinity
  const candidate = new Float64Array(patch.values.length)
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      if (!fits(target, cx + dx, cy + dy, radius)) continue
      cells(radius, (x, y) => at(target, cx + dx + x, cy + dy + y), candidate)
      normalise(candidate)
      const correlation = dot(candidate, patch.values)
      const nearer = Math.hypot(dx, dy) < Math.hypot(...best)
      if (correlation > highest + 1e-12 || (correlation > highest - 1e-12 && nearer)) {
        highest = Math.max(highest, correlation)
        best = [dx, dy]
      }
    }
  }
  return highest < FOUND ? null : refine(patch, target, best)
}

/** The place within a pixel of `start` where the patch fits best; `start` itself where the steps lead away. */
function refine(patch: Patch, target: Plane, start: Point): Point {
  let [x, y] = start
  const [xx, xy, yy] = patch.inverse
  const sample = new Float64Array(patch.values.length)
  for (let i = 0; i < ITERATIONS; i++) {
    const [cx, cy] = [patch.centre[0] + x, patch.centre[1] + y]
    cells(patch.radius, (dx, dy) => interpolate(target, cx + dx, cy + dy), sample)
    normalise(sample)
    let [gx, gy] = [0, 0]
    for (let k = 0; k < sample.length; k++) {
      const difference = sample[k]! - patch.values[k]!
      gx += patch.dx[k]! * difference
      gy += patch.dy[k]! * difference
    }
    const [stepX, stepY] = [xx * gx + xy * gy, xy * gx + yy * gy]
    x -= stepX
    y -= stepY
    if (Math.hypot(x - start[0], y - start[1]) > 1.5) return start
    if (Math.hypot(stepX, stepY) < 1e-4) break
  }
  return [x, y]
}

/** Values over a square of `2 radius + 1` pixels, rows first. */
function cells(
  radius: number,
  value: (dx: number, dy: number) => number,
  out = new Float64Array((2 * radius + 1) ** 2),
): Float64Array {
  let i = 0
  for (let dy = -radius; dy <= radius; dy++) for (let dx = -radius; dx <= radius; dx++) out[i++] = value(dx, dy)
  return out
}

/** Takes the mean away and scales to norm 1, in place; returns the scale. A flat patch becomes zeros. */
function normalise(values: Float64Array): number {
  let sum = 0
  for (const value of values) sum += value
  const mean = sum / values.length
  let squares = 0
  for (let i = 0; i < values.length; i++) squares += (values[i]! -= mean) ** 2
  const scale = squares > 1e-9 ? 1 / Math.sqrt(squares) : 0
  for (let i = 0; i < values.length; i++) values[i]! *= scale
  return scale
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!
  return sum
}

function fits({ width, height }: Plane, x: number, y: number, radius: number): boolean {
  return x >= radius && y >= radius && x + radius < width && y + radius < height
}

/** A pixel; beyond the edge the nearest. */
function at({ data, width, height }: Plane, x: number, y: number): number {
  const column = x < 0 ? 0 : x >= width ? width - 1 : x
  const row = y < 0 ? 0 : y >= height ? height - 1 : y
  return data[row * width + column]!
}

/** Catmull-Rom interpolation. */
function interpolate(plane: Plane, x: number, y: number): number {
  const [column, row] = [Math.floor(x), Math.floor(y)]
  const [across, down] = [catmullRom(x - column), catmullRom(y - row)]
  let sum = 0
  for (let j = 0; j < 4; j++) {
    if (down[j] === 0) continue
    let line = 0
    for (let i = 0; i < 4; i++) if (across[i] !== 0) line += across[i]! * at(plane, column + i - 1, row + j - 1)
    sum += down[j]! * line
  }
  return sum
}

function catmullRom(t: number): readonly [number, number, number, number] {
  const [t2, t3] = [t * t, t * t * t]
  return [(-t3 + 2 * t2 - t) / 2, (3 * t3 - 5 * t2 + 2) / 2, (-3 * t3 + 4 * t2 + t) / 2, (t3 - t2) / 2]
}
