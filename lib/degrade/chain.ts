/**
 * One picture on its way through a pipeline: applies operations one after the other and keeps the record of them.
 *
 * All random numbers are drawn at every strength, also those that turn out not to matter: the same seed then makes the
 * same choices at every strength.
 */

import { setImmediate } from 'node:timers/promises'
import type { RgbImage } from '../image'
import { abortError } from '../util/abort'
import type { Random } from '../util/random'
import { blur, type Blur } from './blur'
import { type Codec, compress, MAX_SIDE } from './compress'
import { addNoise, type NoiseKind } from './noise'
import { resize, type ResizeFilter } from './resize'
import { type Range, REFERENCE_SIDE } from './strength'

/** One thing that was done, with its numbers: lengths in pixels of the picture as it then was. */
export interface Operation {
  name: string
  [parameter: string]: number | string
}

export class Chain {
  image: RgbImage
  readonly operations: Operation[] = []
  readonly #width: number
  readonly #height: number
  readonly #random: Random
  readonly #signal: AbortSignal | undefined

  constructor(image: RgbImage, random: Random, signal?: AbortSignal) {
    this.image = image
    this.#width = image.width
    this.#height = image.height
    this.#random = random
    this.#signal = signal
  }

  /** Blurs by a width given for a 512-pixel picture. Sinc kernels take the given share, all others the rest. */
  async blur(range: Range, sincShare: number): Promise<void> {
    const random = this.#random
    const width = random.uniform(...range)
    const bell = random.pick({ isotropic: 0.5, anisotropic: 0.3, generalized: 0.1, plateau: 0.1 })
    const kernel = random.chance(sincShare) ? 'sinc' : bell
    const ratio = Math.exp(random.uniform(0, Math.log(4)))
    const angle = random.uniform(-Math.PI / 2, Math.PI / 2)
    const peaked = random.uniform(0.5, 1)
    const flat = random.uniform(1, kernel === 'plateau' ? 2 : 4)
    const shape = random.chance(0.5) && kernel === 'generalized' ? peaked : flat
    const sigma = (width * Math.min(this.image.width, this.image.height)) / REFERENCE_SIDE
    const what: Blur = { kernel, sigma, ratio, angle, shape }
    await this.#blur(what)
  }

  /** A sinc filter by a width in pixels of the picture as it is. */
  async rings(range: Range): Promise<void> {
    const sigma = this.#random.uniform(...range)
    await this.#blur({ kernel: 'sinc', sigma, ratio: 1, angle: 0, shape: 1 })
  }

  async #blur(what: Blur): Promise<void> {
    await this.#apply({ name: 'blur', ...described(what) }, (image) => blur(image, what))
  }

  /**
   * How many times smaller the picture gets in all, from a range given for a 512-pixel picture: at least 1, and such
   * that the shorter side keeps 8 pixels where it has as many.
   */
  drawShrink([from, to]: Range): number {
    const factor = Math.exp(this.#random.uniform(Math.log(from), Math.log(to)))
    const side = Math.min(this.#width, this.#height)
    return Math.max(1, Math.min((factor * side) / REFERENCE_SIDE, side / 8))
  }

  /** Resizes to the original size divided by `factor`; one below 1 enlarges, as far as every codec goes. */
  async shrinkTo(factor: number): Promise<void> {
    const filter = this.#random.pick({ area: 0.35, linear: 0.25, cubic: 0.25, lanczos3: 0.1, nearest: 0.05 })
    const divisor = Math.max(factor, Math.max(this.#width, this.#height) / MAX_SIDE)
    const side = (pixels: number) => Math.max(1, Math.round(pixels / divisor))
    await this.#resize(side(this.#width), side(this.#height), filter)
  }

  /** Resizes to the original size. */
  async restoreSize(): Promise<void> {
    const filter = this.#random.pick({ cubic: 0.5, linear: 0.3, mitchell: 0.1, lanczos3: 0.1 })
    await this.#resize(this.#width, this.#height, filter)
  }

  async noise(range: Range, kind: NoiseKind): Promise<void> {
    const sigma = this.#random.uniform(...range)
    const random = this.#random.branch()
    const operation = { name: 'noise', kind, sigma: rounded(sigma) }
    await this.#apply(operation, (image) => addNoise(image, kind, sigma, random))
  }

  async compress(range: Range, codec: Codec): Promise<void> {
    const quality = Math.round(this.#random.uniform(...range))
    await this.#apply({ name: codec, quality }, (image) => compress(image, codec, quality))
  }

  async #resize(width: number, height: number, filter: ResizeFilter): Promise<void> {
    const operation = { name: 'resize', filter, width, height }
    await this.#apply(operation, (image) => resize(image, width, height, filter))
  }

  async #apply(operation: Operation, work: (image: RgbImage) => RgbImage | Promise<RgbImage>): Promise<void> {
    await setImmediate() // yields to timers and signals, which the operations' own promises do not
    if (this.#signal?.aborted) throw abortError(this.#signal)
    const before = this.image
    this.image = await work(before)
    if (this.image !== before) this.operations.push(operation) // operations that changed nothing are not recorded
  }
}

/** What of a blur its kernel depends on. */
function described({ kernel, sigma, ratio, angle, shape }: Blur) {
  const width = { kernel, sigma: rounded(sigma) }
  if (kernel === 'isotropic' || kernel === 'sinc') return width
  const ellipse = { ...width, ratio: rounded(ratio), angle: rounded(angle) }
  return kernel === 'anisotropic' ? ellipse : { ...ellipse, shape: rounded(shape) }
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000
}
