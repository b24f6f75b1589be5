/**
 * The head as a surface. Coordinates are pixels of the 512 px FFHQ template with the origin between the eyes:
 * x to the right of the image, y down, z towards the viewer. At each height the head is an oval of half width `width`,
 * front depth `front` and back depth `back` around (0, centre); bumps make brow, nose, cheeks, lips and chin.
 */

import type { PortraitIdentity } from './identity'
import { bump, clamp, curve, mix, type Point3, smoothstep, tabulated } from './maths'
import type { PortraitState } from './state'

/** Where the parts of this face are. */
interface Features {
  eyeX: number
  eyeY: number
  eyeHalfWidth: number
  noseTipY: number
  noseHalfWidth: number
  mouthY: number
  mouthHalfWidth: number
  chinY: number
  crownY: number
  /** How far the jaw hangs down, in pixels. */
  jawDrop: number
}

/** Heads flatten towards the front: exponent of the cosine. */
const FLATNESS = 0.8

export class Head {
  readonly features: Features
  readonly #identity: PortraitIdentity
  readonly #state: PortraitState
  readonly #width: (y: number) => number
  readonly #front: (y: number) => number
  readonly #centre: (y: number) => number

  constructor(identity: PortraitIdentity, state: PortraitState) {
    this.#identity = identity
    this.#state = state
    const p = identity
    const mouthY = 131 + 5 * p.mouthHeight
    const chinY = 198 + 8 * p.sex + 11 * p.chinLength
    this.features = {
      eyeX: 63 + 4 * p.eyeSpacing,
      eyeY: 2 * p.eyeHeight,
      eyeHalfWidth: 31 + 2.5 * p.eyeSize - p.sex,
      noseTipY: 74 + 6 * p.noseLength,
      noseHalfWidth: 31 + 6 * p.noseWidth,
      mouthY,
      mouthHalfWidth: 51 + 5 * p.mouthWidth + 2 * p.sex + (state.smile > 0 ? 10 : 3) * state.smile,
      chinY,
      crownY: -222 - 12 * p.headHeight,
      jawDrop: 30 * state.mouthOpen,
    }
    this.#width = tabulated(
      curve([
        [-90, 143 + 7 * p.foreheadWidth + 5 * p.headWidth],
        [-20, 141 + 4 * p.foreheadWidth + 4 * p.headWidth],
        [40, 136 + 8 * p.cheekWidth + 3 * p.headWidth],
        [100, 115 + 5 * p.sex + 8 * p.jawWidth + 7 * p.cheekFullness],
        [150, 91 + 8 * p.sex + 9 * p.jawWidth + 5 * p.cheekFullness],
        [chinY - 14, 50 + 9 * p.sex + 11 * p.chinWidth + 4 * p.jawWidth],
      ]),
      -300,
      320,
    )
    this.#front = tabulated(
      curve([
        [-180, 168],
        [-90, 180],
        [-34, 184 + 5 * p.sex],
        [0, 176],
        [50, 177],
        [110, 182],
        [chinY - 30, 178 + 4 * p.chinLength],
      ]),
      -300,
      320,
    )
    this.#centre = tabulated(
      curve([
        [60, 0],
        [105, 12],
        [150, 48],
        [chinY, 100],
      ]),
      -300,
      320,
    )
  }

  /** How far the oval has closed towards the crown or the chin: 1 in between, 0 at the ends. */
  #closing(y: number): number {
    const { crownY, chinY } = this.features
    if (y < -90) return Math.sqrt(Math.max(0, 1 - ((-90 - y) / (-90 - crownY)) ** 2))
    const start = chinY - 40
    if (y > start) return Math.max(0, 1 - ((y - start) / (chinY - start)) ** 2.4) ** 0.6
    return 1
  }

  /** Half width of the plain oval at height y. */
  width(y: number): number {
    return this.#width(y) * this.#closing(y)
  }

  front(y: number): number {
    const centre = this.#centre(y)
    return centre + (this.#front(y) - centre) * this.#closing(y)
  }

  centre(y: number): number {
    return this.#centre(y)
  }

  back(y: number): number {
    return mix(182, 70, smoothstep(40, 180, y)) * this.#closing(y)
  }

  /** The surface at azimuth `theta` (0 front, radians) and height y of the closed mouth. */
  at(theta: number, y: number): Point3 {
    const x = this.width(y) * Math.sin(theta)
    const cosine = Math.cos(theta)
    const centre = this.centre(y)
    if (cosine <= 0) return [x, this.dropped(x, y), centre - this.back(y) * (-cosine) ** FLATNESS]
    const z = centre + (this.front(y) - centre) * cosine ** FLATNESS
    return [x, this.dropped(x, y), z + this.relief(x, y) * smoothstep(0, 0.35, cosine)]
  }

  /** The point of the face at frontal position (x, y): where brows, lids, lips, moles lie. */
  point(x: number, y: number, lift = 0): Point3 {
    const sine = clamp(x / Math.max(this.width(y), 1), -0.98, 0.98)
    const [px, py, pz] = this.at(Math.asin(sine), y)
    return [px, py, pz + lift]
  }

  /** How far a smile lifts the mouth's corners. */
  get smileLift(): number {
    return (this.#state.smile > 0 ? 9 : 7) * this.#state.smile
  }

  /** Height after the jaw has dropped. */
  dropped(x: number, y: number): number {
    const { jawDrop, mouthY } = this.features
    const side = 1 - 0.6 * smoothstep(60, 130, Math.abs(x))
    return jawDrop === 0 ? y : y + jawDrop * side * smoothstep(mouthY - 8, mouthY + 26, y)
  }

  /** Relief of the face over the plain oval, in pixels. */
  relief(x: number, y: number): number {
    const ax = Math.abs(x)
    return this.#nose(x, ax, y) + this.#upper(ax, y) + this.#lower(x, ax, y)
  }

  #upper(ax: number, y: number): number {
    const p = this.#identity
    const { eyeX, eyeY } = this.features
    const raise = 5 * this.#state.browRaise
    return (
      (3 + 7 * p.sex) * bump(ax - 42, y + 33 + raise, 44, 15) +
      -(12 + 2 * p.sex + 4 * p.eyeDepth) * bump(ax - eyeX + 4, y - eyeY + 4, 36, 19) +
      -6 * bump(ax - 30, y - eyeY - 2, 13, 16) +
      11 * bump(ax - eyeX, y - eyeY - 1, 25, 15) +
      -3 * p.age * bump(ax - eyeX + 6, y - eyeY - 24, 26, 6)
    )
  }

  #nose(x: number, ax: number, y: number): number {
    const p = this.#identity
    const { noseTipY: tip, noseHalfWidth } = this.features
    const along = (y + 34) / (tip + 34)
    if (along < 0 || y > tip + 40) return 0
    const s = clamp(along)
    const rise = mix(5 + 5 * p.noseBridge, 38 + 5 * p.noseTip, s ** 1.35) + 5 * p.noseHump * bump(s - 0.45, 0, 0.25, 1)
    const width = mix(13 + 3 * bump(s, 0, 0.3, 1), 18 + 3 * p.noseWidth, s)
    // The middle of the underside hangs lower than its sides.
    const low = tip + 9 * bump(x, 0, 13, 1)
    const underside = 1 - smoothstep(low - 9 - 4 * p.noseTip, low + 17, y)
    const ridge = rise * smoothstep(0, 0.45, along) * Math.exp(-((ax / width) ** 2)) * underside
    const ball = 10 * bump(x, y - tip, 15, 14)
    const wing = 17 * bump(ax - (noseHalfWidth - 9), y - tip - 3, 11, 14)
    return ridge + ball + wing
  }

  #lower(x: number, ax: number, y: number): number {
    const p = this.#identity
    const { mouthY, chinY, mouthHalfWidth } = this.features
    const smile = Math.max(0, this.#state.smile)
    const fold = clamp((y - 74) / (mouthY - 70))
    const foldX = mix(34, mouthHalfWidth + 12, fold)
    const folds = y > 66 && y < mouthY + 14 ? (0.6 + 4.5 * p.wrinkles + 4 * smile) * bump(ax - foldX, 0, 7, 1) : 0
    return (
      (8 + 3 * p.cheekWidth) * bump(ax - 90, y - 48, 36, 27) +
      (8 * smile + 4 * p.cheekFullness) * bump(ax - 76, y - 68, 28, 24) +
      -(3 - 4 * p.cheekFullness + 3 * p.age) * bump(ax - 86, y - 112, 24, 34) +
      8 * bump(x, y - mouthY, 54, 36) +
      -3 * bump(x, y - mouthY + 26, 6, 11) +
      (4 + 2 * p.upperLip) * bump(x, y - mouthY + 9, 36, 7) +
      (6 + 2 * p.lowerLip) * bump(x, y - mouthY - 11, 32, 9) +
      -6 * bump(x, y - mouthY - 31, 32, 10) +
      (8 + 3 * p.chinLength) * bump(x, y - chinY + 24, 30 + 6 * p.chinWidth, 19) +
      -5 * p.chinCleft * bump(x, y - chinY + 20, 4, 13) -
      folds
    )
  }
}
