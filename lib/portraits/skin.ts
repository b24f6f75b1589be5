/** The skin: the head's surface, ears, neck, and their colours in the light. */

import type { Camera } from './camera'
import { blend, type Colour, multiply, ramp, scale } from './colour'
import type { Head } from './head'
import type { PortraitIdentity } from './identity'
import type { Light } from './light'
import { bump, clamp, mix, type Point3, smoothstep } from './maths'
import { Mesh, type Vertex } from './mesh'
import { noise } from './noise'
import type { PortraitState } from './state'

const SKIN: readonly Colour[] = [
  [252, 226, 212],
  [244, 208, 184],
  [232, 184, 150],
  [208, 154, 116],
  [172, 116, 80],
  [130, 82, 56],
  [92, 56, 40],
  [64, 40, 31],
]

/** The skin's colour in plain white light. */
export function skinColour(identity: PortraitIdentity): Colour {
  const tint: Colour = identity.skinUndertone > 0 ? [255, 232, 232] : [250, 246, 222]
  return multiply(ramp(SKIN, identity.skinTone), blend([255, 255, 255], tint, Math.abs(identity.skinUndertone) * 0.7))
}

const COLUMNS = 59
const ROWS = 66

/** Vertices are denser at the middle of the face, where the nose is. */
function azimuth(column: number): number {
  const t = (column / (COLUMNS - 1)) * 2 - 1
  return (0.62 * t + 0.38 * t ** 3) * 2.3
}

export function headMesh(head: Head, camera: Camera): Mesh {
  const { crownY, chinY } = head.features
  const rows = Array.from({ length: ROWS }, (_, row) => {
    const t = row / (ROWS - 1)
    return mix(crownY, chinY, 0.3 * t + 0.7 * (0.5 - 0.5 * Math.cos(Math.PI * t)))
  })
  return new Mesh(camera, COLUMNS, ROWS, (column, row) => head.at(azimuth(column), rows[row]!))
}

/** Shading of skin wherever it is: light that bleeds, and gloss. `shade` darkens what lies in shadow. */
export class Skin {
  readonly colour: Colour
  readonly #light: Light
  readonly #gloss: number
  readonly #shine: Colour

  constructor(identity: PortraitIdentity, light: Light) {
    this.colour = skinColour(identity)
    this.#light = light
    this.#gloss = mix(0.1, 0.3, identity.skinGloss) + 0.06 * identity.skinTone
    this.#shine = blend([255, 250, 244], this.colour, 0.25)
  }

  lit(albedo: Colour, normal: Point3, shade: number, gloss = 1): Colour {
    const light = this.#light.diffuse(normal, 0.24)
    // Shadows in skin stay warm: green and blue fall faster than red.
    const lit: Colour = [
      albedo[0] * light[0] * shade ** 0.8,
      albedo[1] * light[1] * shade,
      albedo[2] * light[2] * shade ** 1.05,
    ]
    const shine =
      this.#gloss * gloss * shade * (this.#light.gloss(normal, 18) * 0.7 + this.#light.gloss(normal, 5) * 0.2)
    return [
      lit[0] + (this.#shine[0] - lit[0] * 0.6) * shine,
      lit[1] + (this.#shine[1] - lit[1] * 0.6) * shine,
      lit[2] + (this.#shine[2] - lit[2] * 0.6) * shine,
    ]
  }
}

/** Colours the face: blush, lips' surroundings, eye sockets, wrinkles' soft part, shadows of nose, brow and hair. */
export function shadeFace(
  mesh: Mesh,
  skin: Skin,
  head: Head,
  identity: PortraitIdentity,
  state: PortraitState,
  hairShadow: (position: Point3) => number,
): void {
  const paint = new FacePaint(head, identity, state)
  mesh.shade(({ position, normal }: Vertex) => {
    const shade = paint.occlusion(position) * hairShadow(position)
    return skin.lit(paint.albedo(skin.colour, position), normal, shade, paint.gloss(position))
  })
}

class FacePaint {
  readonly #head: Head
  readonly #identity: PortraitIdentity
  readonly #state: PortraitState
  readonly #shadow: number

  constructor(head: Head, identity: PortraitIdentity, state: PortraitState) {
    this.#head = head
    this.#identity = identity
    this.#state = state
    // The side of the nose that the light does not reach.
    this.#shadow = state.lightContrast * clamp(state.lightAzimuth / 45, -1, 1)
  }

  albedo(base: Colour, [x, y, z]: Point3): Colour {
    const p = this.#identity
    const { eyeX, eyeY, noseTipY, chinY } = this.#head.features
    const ax = Math.abs(x)
    const front = smoothstep(20, 90, z)
    const flush =
      0.55 * bump(ax - 80, y - 62, 36, 30) +
      0.5 * bump(x, y - noseTipY + 4, 26, 22) +
      0.25 * bump(x, y - chinY + 22, 34, 22)
    const blush = this.#state.blush * 0.55 * bump(ax - 90, y - 50, 34, 24)
    const red: Colour = [base[0] * 0.97, base[1] * 0.72, base[2] * 0.7]
    const under = (0.06 + 0.34 * p.age) * bump(ax - eyeX + 5, y - eyeY - 20, 30, 11)
    const lid = 0.2 * bump(ax - eyeX, y - eyeY + 8, 34, 12)
    const tired: Colour = [base[0] * 0.78, base[1] * 0.66, base[2] * 0.68]
    const blotch = 1 + 0.02 * noise(x * 0.6 + p.hairSeed, y * 0.6) + 0.015 * noise(x * 2, y * 2)
    const fair = blend(base, red, front * clamp(flush * (0.25 + 0.6 * p.skinRedness) * (1 - 0.5 * p.skinTone) + blush))
    return scale(blend(fair, tired, clamp(under + lid) * front), blotch)
  }

  gloss([x, y]: Point3): number {
    const { noseTipY, eyeX } = this.#head.features
    const ax = Math.abs(x)
    return (
      0.6 +
      1.5 * bump(x, y - noseTipY + 3, 13, 13) +
      0.35 * bump(x, y - 20, 9, 45) +
      0.5 * bump(x, y + 95, 60, 34) +
      0.5 * bump(ax - 84, y - 42, 28, 18) +
      0.4 * bump(ax - eyeX, y + 26, 30, 8) -
      0.5 * smoothstep(150, 190, y)
    )
  }

  /** Light that reaches a point, 1 in the open: less in the folds of the face. */
  occlusion([x, y, z]: Point3): number {
    const p = this.#identity
    const { eyeX, eyeY, noseTipY, noseHalfWidth, mouthY, mouthHalfWidth, chinY, jawDrop } = this.#head.features
    const ax = Math.abs(x)
    const side = x > 0 ? 1 : -1
    const ageing = p.wrinkles
    const lower = y - jawDrop
    const smile = Math.max(0, this.#state.smile)
    const foldX = mix(noseHalfWidth + 3, mouthHalfWidth + 10, clamp((y - 76) / (mouthY - 72)))
    const fold = y > 70 && y < mouthY + 12 ? (0.03 + 0.2 * ageing + 0.13 * smile) * bump(ax - foldX, 0, 6, 1) : 0
    const beside = this.#shadow * side < 0 ? Math.abs(this.#shadow) : 0
    const dark =
      0.17 * bump(ax - 31, y - eyeY - 1, 11, 15) +
      0.16 * bump(ax - eyeX, y - eyeY + 12, 34, 9) +
      0.24 * bump(x, y - noseTipY - 17, noseHalfWidth, 8) +
      0.1 * bump(x, y - noseTipY - 27, 24, 12) +
      0.2 * bump(ax - noseHalfWidth - 3, y - noseTipY - 2, 5, 14) +
      beside * 0.38 * bump(ax - 27, y - 44, 15, 44) +
      0.16 * bump(x, lower - mouthY - 28, 34, 8) +
      0.08 * bump(ax - mouthHalfWidth - 4, y - mouthY, 8, 8) +
      0.05 * bump(x, y - mouthY + 24, 5, 12) +
      fold +
      0.3 * smoothstep(chinY - 20, chinY + 6, lower)
    const round = 1 - 0.2 * (1 - smoothstep(-40, 95, z))
    return clamp(1 - dark, 0.25, 1) * round
  }
}

/** An ear: an oval bowl at the side of the head. `side` is -1 for the image's left. */
export function ear(head: Head, camera: Camera, skin: Skin, identity: PortraitIdentity, side: 1 | -1): Mesh {
  const [columns, rows] = [19, 9]
  const size = 1 + 0.14 * identity.earSize + 0.08 * identity.age
  const out = mix(0.3, 0.85, identity.earAngle)
  const centreY = 24
  const baseX = head.width(centreY)
  const radius = (row: number) => row / (rows - 1)
  const place = (column: number, row: number): Point3 => {
    const angle = (column / (columns - 1)) * 2 * Math.PI
    const r = radius(row)
    // Egg shape, wide at the top; back edge stands away from the head.
    const v = Math.sin(angle) * r
    const w = Math.cos(angle) * r * (1 - 0.28 * v)
    const rim = 5 * bump(r - 0.86, 0, 0.14, 1) - 6 * bump(r - 0.45, 0, 0.26, 1)
    const away = (1 - w) * 15 * out + rim
    return [side * (baseX - 7 + away), centreY + v * 39 * size, -8 + w * 21 * size - away * 0.2]
  }
  return new Mesh(camera, columns, rows, place).shade(({ row, column, normal, position }) => {
    const r = radius(row)
    const facing: Point3 = normal[2] < 0 ? [-normal[0], -normal[1], -normal[2]] : normal
    const hollow = 1 - 0.42 * bump(r - 0.35, 0, 0.3, 1) - 0.16 * bump(r - 0.72, 0, 0.08, 1)
    const front = 0.12 * smoothstep(0.2, 1, Math.cos((column / (columns - 1)) * 2 * Math.PI))
    const red: Colour = [skin.colour[0], skin.colour[1] * 0.86, skin.colour[2] * 0.84]
    return skin.lit(red, facing, (hollow - front) * (position[1] > 50 ? 0.98 : 0.94), 0.4)
  })
}

/** Neck and upper chest. */
export function neck(head: Head, camera: Camera, skin: Skin, identity: PortraitIdentity): Mesh {
  const [columns, rows] = [33, 26]
  const radius = neckRadius(identity)
  const { chinY } = head.features
  const place = (column: number, row: number): Point3 => {
    const theta = mix(-1.7, 1.7, column / (columns - 1))
    const t = row / (rows - 1)
    const y = mix(90, 400, t)
    const flare = smoothstep(225, 400, y)
    const x = Math.sin(theta) * (radius + 210 * flare ** 1.6)
    const cord = 2 * bump(Math.abs(Math.sin(theta)) - 0.3 - 0.25 * (1 - t), 0, 0.2, 1)
    return [x, y + 22 * flare * Math.cos(theta), -22 + Math.cos(theta) * (radius * 0.95 + 30 * flare) + cord]
  }
  return new Mesh(camera, columns, rows, place, camera.body).shade(({ position, normal }) => {
    const under = mix(0.5, 1, smoothstep(chinY - 15, chinY + 75, position[1]))
    const albedo = scale(skin.colour, 0.97)
    return skin.lit(albedo, normal, under, 0.35)
  })
}

export function neckRadius(identity: PortraitIdentity): number {
  return 68 + 27 * identity.sex + 4 * identity.headWidth + 5 * identity.cheekFullness
}
