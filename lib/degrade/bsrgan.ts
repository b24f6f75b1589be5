/**
 * The shuffled degradation of BSRGAN (arXiv 2103.14006): two blurs, two resizes, two noises and a compression in random
 * order; at last a JPEG, as every picture ends up as one; then enlarged again.
 */

import type { Chain } from './chain'
import type { Random } from '../util/random'
import type { Ranges } from './strength'

export async function bsrgan(chain: Chain, ranges: Ranges, random: Random): Promise<void> {
  const factor = chain.drawShrink(ranges.shrink)
  const firstFactor = factor ** random.uniform(0.2, 0.9)
  const grey = random.chance(0.4)
  const codec = random.pick({ jpeg: 0.7, webp: 0.3 })

  // Whichever resize comes first goes part of the way.
  let resized = false
  const resize = () => {
    const to = resized ? factor : firstFactor
    resized = true
    return chain.shrinkTo(to)
  }
  const steps = [
    () => chain.blur(ranges.blur, 0),
    () => chain.blur(ranges.secondBlur, 0.2),
    resize,
    resize,
    () => chain.noise(ranges.noise, grey ? 'gaussian-grey' : 'gaussian-colour'),
    () => chain.noise(ranges.secondNoise, grey ? 'poisson-grey' : 'poisson-colour'),
    () => chain.compress(ranges.quality, codec),
  ]
  for (const step of random.shuffle(steps)) await step()

  await chain.compress(ranges.quality, 'jpeg')
  await chain.restoreSize()
}
