/**
 * Similarities of the plane (scale, rotation, shift; no reflection), and their robust fit to five pairs of points.
 *
 * Source: model-specification.md 10. Five points leave nothing to chance: the random draws of the published workflow's robust
 * estimator always are the six pairs below, so the fit is the same at every call, and equals theirs.
 */
import type { Point } from './anchors'

/** A map of the plane, row-major 2 x 3: `[a, b, c, d, e, f]` takes (x, y) to (a x + b y + c, d x + e y + f). */
export type AffineMatrix = readonly [number, number, number, number, number, number]

/** Five values, one for each landmark. */
export type Five<T> = readonly [T, T, T, T, T]

/** The pairs of points whose similarities compete, in this order. */
const PAIRS = [
  [0, 4],
  [0, 3],
  [1, 2],
  [0, 1],
  [1, 4],
  [1, 3],
] as const

/** Standard deviation of errors whose median is known, with the correction for five points of which two are fitted. */
const DEVIATIONS = 2.5 * 1.4826 * (1 + 5 / 3)
/** Square of the smallest deviation that is told from none, in pixels. */
const LEAST_SQUARED_ERROR = 1e-6

/** A fit, and which of the points it follows. */
export interface RobustFit {
  matrix: AffineMatrix
  inliers: Five<boolean>
}

/**
 * The similarity from `from` to `to` by least median of squares: of the similarities through two points the one whose median
 * squared error is least; then least squares on the points that lie near it.
 *
 * Errors are float32, as the original's are: which of two nearly equal candidates wins depends on it.
 */
export function fitSimilarity(from: Five<Point>, to: Five<Point>): RobustFit {
  let best = Infinity
  let errors: number[] = []
  for (const pair of PAIRS) {
    const candidate = leastSquares(
      pair.map((i) => from[i]),
      pair.map((i) => to[i]),
    )
    const found = from.map((point, i) => squaredError(candidate, point, to[i]!))
    const median = [...found].sort((a, b) => a - b)[2]!
    if (!(median < best)) continue // nor where two points are the same, which gives NaN
    best = median
    errors = found
  }
  const limit = Math.fround(Math.max(DEVIATIONS ** 2 * best, LEAST_SQUARED_ERROR))
  const inliers = errors.map((error) => error <= limit)
  const matrix = leastSquares(
    from.filter((_, i) => inliers[i]),
    to.filter((_, i) => inliers[i]),
  )
  return { matrix, inliers: inliers as unknown as Five<boolean> }
}

/** The similarity with the least sum of squared errors; exact through two points. */
export function leastSquares(from: readonly Point[], to: readonly Point[]): AffineMatrix {
  const [px, py] = [mean(from, 0), mean(from, 1)]
  const [qx, qy] = [mean(to, 0), mean(to, 1)]
  let [along, across, size] = [0, 0, 0]
  for (const [i, [x, y]] of from.entries()) {
    const [u, v] = [x - px, y - py]
    const [s, t] = [to[i]![0] - qx, to[i]![1] - qy]
    along += u * s + v * t
    across += u * t - v * s
    size += u * u + v * v
  }
  const [a, b] = [along / size, across / size]
  return [a, -b, qx - a * px + b * py, b, a, qy - b * px - a * py]
}

/** The inverse of a map. */
export function inverseOf([a, b, c, d, e, f]: AffineMatrix): AffineMatrix {
  const one = 1 / (a * e - b * d)
  const [p, q, r, s] = [e * one, -b * one, -d * one, a * one]
  return [p, q, -p * c - q * f, r, s, -r * c - s * f]
}

/** Where a map takes a point. */
export function mapped([a, b, c, d, e, f]: AffineMatrix, [x, y]: Point): Point {
  return [a * x + b * y + c, d * x + e * y + f]
}

function mean(points: readonly Point[], axis: 0 | 1): number {
  return points.reduce((sum, point) => sum + point[axis], 0) / points.length
}

function squaredError(matrix: AffineMatrix, [x, y]: Point, to: Point): number {
  const f = Math.fround
  const [a, b, c, d, e, g] = matrix.map(f) as unknown as AffineMatrix
  const [u, v] = [f(x), f(y)]
  const across = f(f(f(f(a * u) + f(b * v)) + c) - f(to[0]))
  const down = f(f(f(f(d * u) + f(e * v)) + g) - f(to[1]))
  return f(f(across * across) + f(down * down))
}
