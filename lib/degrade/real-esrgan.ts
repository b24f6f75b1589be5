/**
 * The second-order degradation of Real-ESRGAN (arXiv 2107.10833): blur, resize, noise and JPEG, all twice, with a sinc
 * filter at the end; then enlarged again, as face restoration takes its input (GFPGAN, arXiv 2101.04061).
 */

import type { Chain } from './chain'
import type { Codec } from './compress'
import type { NoiseKind } from './noise'
import type { Random } from '../util/random'
import type { Ranges } from './strength'

export async function realEsrgan(chain: Chain, ranges: Ranges, random: Random): Promise<void> {
  const factor = chain.drawShrink(ranges.shrink)

  await chain.blur(ranges.blur, 0.1)
  await chain.shrinkTo(factor ** firstPart(random))
  await chain.noise(ranges.noise, noiseKind(random))
  await chain.compress(ranges.quality, codec(random))

  await chain.blur(ranges.secondBlur, 0.1)
  await chain.shrinkTo(factor)
  await chain.noise(ranges.secondNoise, noiseKind(random))
  // The sinc filter leaves its rings before or after the last compression, half and half.
  const ringsFirst = random.chance(0.5)
  if (ringsFirst) await chain.rings(ranges.rings)
  await chain.compress(ranges.quality, codec(random))
  if (!ringsFirst) await chain.rings(ranges.rings)

  await chain.restoreSize()
}

/** How much of the shrinking, in logarithms, the first resize does: some, none, or the opposite. */
function firstPart(random: Random): number {
  const down = random.uniform(0.3, 1)
  const up = random.uniform(-0.15, 0)
  return { down, up, keep: 0 }[random.pick({ down: 0.7, up: 0.2, keep: 0.1 })]
}

function noiseKind(random: Random): NoiseKind {
  return random.pick({ 'gaussian-colour': 0.3, 'gaussian-grey': 0.2, 'poisson-colour': 0.3, 'poisson-grey': 0.2 })
}

function codec(random: Random): Codec {
  return random.pick({ jpeg: 0.8, webp: 0.2 })
}
