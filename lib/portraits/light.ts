/** The light of a picture, fixed in the image: a key light, a fill from the other side, and the surroundings. */

import type { Colour } from './colour'
import { clamp, mix, type Point3, radians } from './maths'
import type { PortraitState } from './state'

export class Light {
  readonly key: Point3
  readonly #half: Point3
  readonly #colour: Colour
  readonly #ambient: Colour
  readonly #strength: number
  readonly #fill: number

  constructor(state: PortraitState) {
    const [a, e] = [radians(state.lightAzimuth), radians(state.lightElevation)]
    this.key = [Math.sin(a) * Math.cos(e), -Math.sin(e), Math.cos(a) * Math.cos(e)]
    const [hx, hy, hz] = [this.key[0], this.key[1], this.key[2] + 1]
    const length = Math.hypot(hx, hy, hz)
    this.#half = [hx / length, hy / length, hz / length]
    const w = state.lightWarmth
    const c = state.lightContrast
    this.#strength = state.lightStrength
    this.#colour = [1 + 0.06 * w, 1 + 0.01 * w, 1 - 0.12 * w]
    this.#ambient = [mix(0.62, 0.3, c) * (1 - 0.05 * w), mix(0.62, 0.3, c), mix(0.62, 0.32, c) * (1 + 0.06 * w)]
    this.#fill = mix(0.5, 0.72, c)
  }

  /** Light on a matt surface per channel; `wrap` lets it bleed into the shadow, more in red, as in skin. */
  diffuse([x, y, z]: Point3, wrap: number): Colour {
    const facing = x * this.key[0] + y * this.key[1] + z * this.key[2]
    const sky = 0.85 - 0.15 * y
    const channel = (k: 0 | 1 | 2, bleed: number) => {
      const lit = clamp((facing + bleed) / (1 + bleed))
      return this.#strength * (this.#ambient[k] * sky + this.#fill * this.#colour[k] * lit ** 1.15)
    }
    return [channel(0, wrap * 1.9), channel(1, wrap), channel(2, wrap * 0.8)]
  }

  /** Mirror-like share of the key light, 0 to 1. */
  gloss([x, y, z]: Point3, sharpness: number): number {
    const d = x * this.#half[0] + y * this.#half[1] + z * this.#half[2]
    return d <= 0 ? 0 : this.#strength * d ** sharpness
  }

  /** Sheen of strands along `tangent` (Kajiya and Kay): bright where the strand lies across the half vector. */
  sheen([x, y, z]: Point3, sharpness: number): number {
    const d = x * this.#half[0] + y * this.#half[1] + z * this.#half[2]
    return this.#strength * Math.max(0, 1 - d * d) ** (sharpness / 2)
  }
}
