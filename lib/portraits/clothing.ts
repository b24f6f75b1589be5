/** What is worn: a body below the neck, open at the collar. */

import type { Camera } from './camera'
import { blend, type Colour, hsl, scale } from './colour'
import type { PortraitIdentity } from './identity'
import type { Light } from './light'
import { bump, mix, type Point3, smoothstep } from './maths'
import { Mesh } from './mesh'
import { noise } from './noise'
import { neckRadius } from './skin'
import type { PortraitState } from './state'

/** Collar of each of `CLOTHING_STYLES`: height at the neck's side, drop of the front, and how pointed the drop is. */
const COLLARS = [
  { height: 252, drop: 26, point: 1, rise: 0 },
  { height: 246, drop: 84, point: 3, rise: 0 },
  { height: 212, drop: 16, point: 1, rise: 1 },
  { height: 226, drop: 60, point: 4, rise: 0.6 },
  { height: 232, drop: 100, point: 2.4, rise: 0.3 },
] as const

export function clothing(camera: Camera, light: Light, identity: PortraitIdentity, state: PortraitState): Mesh {
  const [columns, rows] = [41, 18]
  const collar = COLLARS[state.clothingStyle]!
  const radius = neckRadius(identity)
  const place = (column: number, row: number): Point3 => {
    const theta = mix(-1.9, 1.9, column / (columns - 1))
    const t = row / (rows - 1)
    const front = Math.max(0, Math.cos(theta)) ** (1 + collar.point)
    const out = smoothstep(0, 1, t) * 0.6 + 0.4 * t
    const spread = collar.rise * bump(t, 0, 0.25, 1) * 5
    const x = Math.sin(theta) * mix(radius + 3 - spread, 245 + 40 * identity.sex, out ** (1 + 0.6 * collar.rise))
    const y = collar.height + collar.drop * front * (1 - t) + 150 * t ** 1.3 + 20 * (1 - Math.abs(Math.sin(theta))) * t
    const z = -18 + Math.cos(theta) * mix(radius + 8 - spread, 150, out)
    return [x, y, z]
  }
  const base = hsl(state.clothingHue, state.clothingSaturation, state.clothingLightness)
  const edge: Colour = collar.rise > 0.5 ? blend(base, [255, 255, 255], 0.08) : scale(base, 0.86)
  return new Mesh(camera, columns, rows, place, camera.body).shade(({ row, column, normal, position }) => {
    const lit = light.diffuse(normal, 0.1)
    const t = row / (rows - 1)
    const fold = 1 + 0.08 * noise(position[0] * 0.25 + column, position[1] * 0.12)
    const shade = fold * mix(0.72, 1, smoothstep(215, 300, position[1]))
    const colour = t < 0.13 ? edge : base
    return [colour[0] * lit[0] * shade, colour[1] * lit[1] * shade, colour[2] * lit[2] * shade]
  })
}
