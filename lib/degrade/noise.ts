/**
 * Noise: Gaussian (electronics) and Poisson (photons), in each colour by itself or the same in all three.
 */

import type { RgbImage } from '../image'
import type { Random } from '../util/random'

export const NOISES = ['gaussian-colour', 'gaussian-grey', 'poisson-colour', 'poisson-grey'] as const
export type NoiseKind = (typeof NOISES)[number]

/** Rec. 601 luma. */
const LUMA = [0.299, 0.587, 0.114] as const

/** Ten deviations of less do not reach the half of a level that changes a byte. */
const SMALLEST_SIGMA = 0.05

/**
 * `image` with noise; `image` itself where that is too little to change a byte.
 *
 * @param sigma Standard deviation in 8-bit levels: everywhere for Gaussian noise, at white for Poisson noise, whose
 *              variance falls with the brightness.
 */
export function addNoise(image: RgbImage, kind: NoiseKind, sigma: number, random: Random): RgbImage {
  if (sigma < SMALLEST_SIGMA) return image
  const { data, width, height } = image
  const noisy = new Uint8ClampedArray(data.length) // rounds and clamps
  const photons = (255 / sigma) ** 2 // counted at white
  const level = 255 / photons // what one photon adds
  const shot = (value: number) => random.poisson(value / level) * level - value
  const bell = () => sigma * random.normal()
  switch (kind) {
    case 'gaussian-colour':
      for (let i = 0; i < data.length; i++) noisy[i] = data[i]! + bell()
      break
    case 'poisson-colour':
      for (let i = 0; i < data.length; i++) noisy[i] = data[i]! + shot(data[i]!)
      break
    default:
      for (let i = 0; i < data.length; i += 3) {
        const luma = LUMA[0] * data[i]! + LUMA[1] * data[i + 1]! + LUMA[2] * data[i + 2]!
        const noise = kind === 'gaussian-grey' ? bell() : shot(luma)
        for (let c = i; c < i + 3; c++) noisy[c] = data[c]! + noise
      }
  }
  return { data: new Uint8Array(noisy.buffer), width, height }
}
