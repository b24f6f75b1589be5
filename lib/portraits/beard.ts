/** Beards: the face's own surface, lifted a little and covered with strands where the style has hair. */

import type { Camera } from './camera'
import { type Colour, scale } from './colour'
import { hairColour, strandLight } from './hair'
import type { Head } from './head'
import { BEARD_STYLES, type PortraitIdentity } from './identity'
import type { Light } from './light'
import { bump, clamp, mix, type Point3, smoothstep } from './maths'
import { Mesh } from './mesh'

const COLUMNS = 51
const ROWS = 32

/** How much hair grows at (x, y) of the face, 0 to 1, for a style. */
function growth(style: (typeof BEARD_STYLES)[number], head: Head, x: number, y: number): number {
  const { mouthY, mouthHalfWidth, chinY, noseTipY } = head.features
  const ax = Math.abs(x)
  const lip = bump(x, y - mouthY - 8, mouthHalfWidth * 0.86, 13)
  const moustache =
    smoothstep(noseTipY + 16 + 0.25 * ax, noseTipY + 27 + 0.3 * ax, y) *
    (1 - smoothstep(mouthY - 8, mouthY - 1, y - 0.14 * Math.max(0, ax - 18))) *
    (1 - smoothstep(mouthHalfWidth - 16, mouthHalfWidth + 2, ax))
  const chin = bump(x, y - chinY + 8, 36, 36)
  const around = bump(ax - mouthHalfWidth - 5, y - mouthY - 14, 12, 34)
  // The cheek line falls from the ear to the mouth's corner.
  const line = mix(mouthY - 4, 56, smoothstep(mouthHalfWidth, 125, ax))
  const jaw =
    smoothstep(line - 4, line + 20, y) *
    smoothstep(mouthHalfWidth - 26, mouthHalfWidth + 10, ax + Math.max(0, y - mouthY) * 1.5)
  switch (style) {
    case 'none':
      return 0
    case 'moustache':
      return moustache
    case 'goatee':
      return clamp(Math.max(moustache, chin * 1.4, around) - lip * 1.6)
    default:
      return clamp(Math.max(moustache, jaw, chin * 1.4) - lip * 1.8)
  }
}

export class Beard {
  readonly #p: PortraitIdentity
  readonly #head: Head
  readonly #style: (typeof BEARD_STYLES)[number]

  constructor(identity: PortraitIdentity, head: Head) {
    this.#p = identity
    this.#head = head
    this.#style = BEARD_STYLES[identity.beardStyle]!
  }

  /** See `Strands`: stubble is a veil. */
  get softness(): number {
    return this.#style === 'stubble' ? 1.5 : 0.6
  }

  mesh(camera: Camera, light: Light): Mesh | undefined {
    if (this.#style === 'none') return undefined
    const { chinY, noseTipY, mouthY, jawDrop } = this.#head.features
    const top = Math.min(40, noseTipY)
    const stubble = this.#style === 'stubble'
    const lift = stubble ? 1.2 : 5
    const heights = Array.from({ length: ROWS }, (_, row) => mix(top, chinY - 0.5, 1 - (1 - row / (ROWS - 1)) ** 1.6))
    const place = (column: number, row: number): Point3 => {
      const theta = mix(-1.5, 1.5, column / (COLUMNS - 1))
      const y = heights[row]!
      const [x, py, z] = this.#head.at(theta, y)
      const long = this.#style === 'long' ? 42 : this.#style === 'full' ? 12 : this.#style === 'goatee' ? 9 : 0
      const hang = long * smoothstep(mouthY + 14, chinY, y)
      const out = lift * smoothstep(mouthY - 40, chinY - 30, y) + (stubble ? 0.4 : 1.5)
      return [x * (1 + (out * 0.6) / 100), py + hang, z + out + hang * 0.15]
    }
    const mesh = new Mesh(camera, COLUMNS, ROWS, place)
    mesh.strands((index, [px, py]) => {
      const column = index % COLUMNS
      const y = heights[(index - column) / COLUMNS]!
      const [x] = this.#head.at(mix(-1.5, 1.5, column / (COLUMNS - 1)), y)
      const grown = growth(this.#style, this.#head, x, y)
      const fan = x * (1.9 - 0.004 * (y - mouthY)) + (y < mouthY ? Math.abs(x) * 0.3 : 0)
      const density = grown * mix(stubble ? 0.3 : 0.8, stubble ? 0.62 : 1.3, this.#p.beardDensity)
      return stubble
        ? [px * 3.1 + 1024, (py - jawDrop) * 3.1 + 1024, density]
        : [fan * 1.5 + 1024, py * 0.28 + 1024, density]
    })
    const base: Colour = scale(hairColour(this.#p), 0.82)
    return mesh.shade(({ normal, position }) => {
      const under = 1 - 0.3 * smoothstep(chinY + jawDrop - 10, chinY + jawDrop + 40, position[1])
      return strandLight(light, normal, [0, 1, 0], { base, shine: scale(base, 1.9) }, 0.35, under)
    })
  }
}
