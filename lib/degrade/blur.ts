/**
 * Blurs of every shape, chosen by one width.
 */

import { filter } from './filter'
import { type Ellipse, gaussian, generalizedGaussian, type Kernel, plateau, sinc } from './kernels'
import type { RgbImage } from '../image'
import { resize } from './resize'

const BLURS = ['isotropic', 'anisotropic', 'generalized', 'plateau', 'sinc'] as const

export interface Blur {
  kernel: (typeof BLURS)[number]
  /** Width in pixels: geometric mean of the standard deviations; of a sinc, of the Gaussian that halves as early. */
  sigma: number
  /** How many times longer than broad the bell is. */
  ratio: number
  /** Turn of the long axis, in radians. */
  angle: number
  /** Exponent of generalized Gaussians and plateaus. */
  shape: number
}

/** Bells wider than this are applied to a smaller copy, which loses nothing that they would have left. */
const LARGEST_SIGMA = 4

/** All but the centre of a narrower bell is less than changes a byte, whatever its shape. */
const SMALLEST_SIGMA = 0.005

/** `image` blurred; `image` itself where that is too little to change a byte. */
export function blur(image: RgbImage, what: Blur): RgbImage {
  const { width, height } = image
  if (what.sigma < SMALLEST_SIGMA) return image
  const times = Math.floor(what.sigma / (LARGEST_SIGMA / 2))
  if (what.sigma <= LARGEST_SIGMA || Math.min(width, height) < 4 * times) return filter(image, kernelOf(what))
  const small = resize(image, Math.round(width / times), Math.round(height / times), 'area')
  const blurred = filter(small, kernelOf({ ...what, sigma: what.sigma / times }))
  return resize(blurred, width, height, 'cubic')
}

/** The kernel that `blur` applies. */
export function kernelOf({ kernel, sigma, ratio, angle, shape }: Blur): Kernel {
  const long = Math.sqrt(ratio)
  const ellipse: Ellipse = { sigmaX: sigma * long, sigmaY: sigma / long, angle }
  switch (kernel) {
    case 'isotropic':
      return gaussian({ sigmaX: sigma, sigmaY: sigma, angle: 0 })
    case 'anisotropic':
      return gaussian(ellipse)
    case 'generalized':
      return generalizedGaussian(ellipse, shape)
    case 'plateau':
      return plateau(ellipse, shape)
    case 'sinc':
      return sinc(HALF / sigma)
  }
}

/** A Gaussian's response is a half where sigma times the angular frequency is sqrt(2 ln 2). */
const HALF = Math.sqrt(2 * Math.LN2)
