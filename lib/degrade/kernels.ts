/**
 * Blur kernels: square, odd-sized, sum 1. Shapes as in Real-ESRGAN (arXiv 2107.10833, section 3.2) and its sinc filters
 * (section 3.3).
 */

/** A square kernel of `size * size` weights, row-major, that sum to 1; `size` is odd. */
export interface Kernel {
  size: number
  weights: Float64Array
}

/** A bell: its standard deviations along its own two axes, in pixels, and how far those are turned, in radians. */
export interface Ellipse {
  sigmaX: number
  sigmaY: number
  angle: number
}

/** `exp(-d^2 / 2)`, d the distance in standard deviations. Equal sigmas: isotropic, otherwise anisotropic. */
export function gaussian(ellipse: Ellipse): Kernel {
  return bell(ellipse, (square) => Math.exp(-0.5 * square))
}

/** `exp(-(d^2)^shape / 2)`: peaked and long-tailed for `shape < 1`, a flat-topped disc for `shape > 1`. */
export function generalizedGaussian(ellipse: Ellipse, shape: number): Kernel {
  return bell(ellipse, (square) => Math.exp(-0.5 * square ** shape))
}

/** `1 / (1 + (d^2)^shape)`: a plateau with slowly falling sides. */
export function plateau(ellipse: Ellipse, shape: number): Kernel {
  return bell(ellipse, (square) => 1 / (1 + square ** shape))
}

/**
 * The ideal low-pass filter, which leaves ringing beside edges: `cutoff / (2 pi r) J1(cutoff r)`, cut off after three
 * rings.
 *
 * @param cutoff Radians per pixel, above 0. From pi on everything passes.
 */
export function sinc(cutoff: number): Kernel {
  if (cutoff >= Math.PI) return { size: 1, weights: Float64Array.of(1) }
  const radius = Math.ceil(10 / cutoff)
  return sampled(radius, (x, y) => {
    const r = Math.hypot(x, y)
    return r === 0 ? cutoff ** 2 / (4 * Math.PI) : (cutoff * besselJ1(cutoff * r)) / (2 * Math.PI * r)
  })
}

/** A profile of the squared distance, up to three standard deviations. */
function bell({ sigmaX, sigmaY, angle }: Ellipse, profile: (square: number) => number): Kernel {
  const cos = Math.cos(angle)
  const sin = Math.sin(angle)
  const radius = Math.max(1, Math.ceil(3 * Math.max(sigmaX, sigmaY)))
  return sampled(radius, (x, y) => {
    const along = (x * cos + y * sin) / sigmaX
    const across = (y * cos - x * sin) / sigmaY
    return profile(along * along + across * across)
  })
}

function sampled(radius: number, value: (x: number, y: number) => number): Kernel {
  const size = 2 * radius + 1
  const weights = new Float64Array(size * size)
  let sum = 0
  for (let y = -radius; y <= radius; y++) {
    for (let x = -radius; x <= radius; x++) {
      sum += weights[(y + radius) * size + x + radius] = value(x, y)
    }
  }
  return { size, weights: weights.map((weight) => weight / sum) }
}

/** The Bessel function of the first kind and order 1, by Bessel's integral: (1/pi) of cos(t - x sin t) over [0, pi]. */
export function besselJ1(x: number): number {
  // The trapezoid rule converges exponentially on a periodic integrand: with n points its error is about J_(n-1)(x),
  // which vanishes in double precision for so many.
  const points = Math.ceil(32 + 1.3 * Math.abs(x))
  let sum = 0
  for (let i = 0; i < points; i++) {
    const t = (2 * Math.PI * i) / points
    sum += Math.cos(t - x * Math.sin(t))
  }
  return sum / points
}
