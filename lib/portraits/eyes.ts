/** Eyes, lids, lashes and brows. */

import { blend, type Colour, css, hsl, ramp, scale } from './colour'
import { hairColour } from './hair'
import type { PortraitIdentity } from './identity'
import type { Light } from './light'
import { clamp, mix, type Point2, radians } from './maths'
import { Random } from '../util/random'
import { joined, pair, type Sketch } from './sketch'
import { skinColour } from './skin'
import type { PortraitState } from './state'

const IRIS: readonly Colour[] = [
  [40, 24, 17],
  [72, 43, 26],
  [108, 72, 40],
  [112, 108, 64],
  [82, 130, 92],
  [74, 134, 168],
  [70, 122, 190],
  [138, 152, 164],
]

/** The iris's middle colour in plain white light. */
function irisColour(identity: PortraitIdentity): Colour {
  return scale(ramp(IRIS, identity.irisTone), 1 + 0.2 * identity.irisShade)
}

/** Outline of one eye on the face; `side` is -1 for the image's left. */
interface EyeShape {
  /** From the inner to the outer corner, along the upper and the lower lid. */
  upper: Point2[]
  lower: Point2[]
  centre: Point2
}

export function eyeShape(sketch: Sketch, p: PortraitIdentity, state: PortraitState, side: 1 | -1): EyeShape {
  const { eyeX, eyeY, eyeHalfWidth: w } = sketch.head.features
  const smile = Math.max(0, state.smile)
  const up = (14.6 - p.sex + 2 * p.eyeSize - 2.5 * p.eyeHood) * state.eyeOpen * (1 - 0.1 * smile)
  const down = (8.6 + p.eyeSize) * mix(0.55, 1, clamp(state.eyeOpen)) * (1 - 0.35 * smile)
  const rise = 2 + 4 * p.eyeTilt
  // t runs from the inner corner (-1) to the outer one (1).
  const line = (t: number, bow: number): Point2 => {
    const arch = (1 - t * t) ** 0.68
    const skew = 1 - 0.18 * t * Math.sign(-bow)
    return [side * (eyeX + t * w), eyeY + 2 - (t + 0.4) * rise * 0.6 + bow * arch * skew]
  }
  const at = [-1, -0.75, -0.4, 0, 0.4, 0.75, 1]
  return { upper: at.map((t) => line(t, -up)), lower: at.map((t) => line(t, down)), centre: [side * eyeX, eyeY] }
}

export function drawEye(sketch: Sketch, p: PortraitIdentity, state: PortraitState, light: Light, side: 1 | -1): void {
  const shape = eyeShape(sketch, p, state, side)
  const id = side < 0 ? 'l' : 'r'
  const outline = joined(sketch.through(shape.upper), sketch.through([...shape.lower].reverse()))
  sketch.define(`<clipPath id="eye-${id}"><path d="${outline}"/></clipPath>`)
  drawShadow(sketch, p, state, shape)
  if (state.eyeOpen > 0.12) {
    const facing = sketch.camera.direction([side * 0.35, -0.1, 0.93])
    const dim = clamp(0.2 + 0.85 * light.diffuse(facing, 0.2)[1], 0.3, 1)
    sketch.add(`<path d="${outline}" fill="${css(scale([226, 218, 213], dim))}"/><g clip-path="url(#eye-${id})">`)
    drawBall(sketch, p, state, shape, id)
    sketch.add('</g>')
  }
  drawLids(sketch, p, state, shape, side)
}

/** Make-up and the soft shade of the upper lid. */
function drawShadow(sketch: Sketch, p: PortraitIdentity, state: PortraitState, shape: EyeShape): void {
  const above = shape.upper.map(([x, y], i): Point2 => [x, y - 3 - 11 * Math.sin((i / 6) * Math.PI) - i])
  const path = joined(sketch.through(shape.upper), sketch.through(above.reverse()))
  const skin = skinColour(p)
  const shade = blend(skin, [70, 30, 30], 0.55)
  sketch.add(`<path d="${path}" fill="${css(shade)}" fill-opacity="${0.16 + 0.1 * p.skinTone}"/>`)
  if (state.eyeshadow > 0) {
    const colour = hsl(mix(0.7, 1.12, state.eyeshadowHue), 0.35, mix(0.5, 0.3, p.skinTone))
    sketch.add(`<path d="${path}" fill="${css(colour)}" fill-opacity="${(0.6 * state.eyeshadow).toFixed(3)}"/>`)
  }
}

function drawBall(sketch: Sketch, p: PortraitIdentity, state: PortraitState, shape: EyeShape, id: string): void {
  const { camera } = sketch
  const iris = irisColour(p)
  const radius = 13.6 * camera.scale
  const [x, y] = sketch.at(shape.centre[0] + 8.5 * state.gazeX, shape.centre[1] - 2 + 4.5 * state.gazeY)
  const squeeze = Math.cos(radians(state.yaw * 0.8 + state.gazeX * 18))
  const turn = `translate(${pair([x, y])}) rotate(${(state.tilt * 0.35).toFixed(2)}) scale(${(squeeze * radius).toFixed(3)} ${radius.toFixed(3)})`
  const stop = (offset: number, colour: Colour) => `<stop offset="${offset}" stop-color="${css(colour)}"/>`
  sketch.define(
    `<radialGradient id="iris-${id}" cx="0.5" cy="0.56" r="0.52">${stop(0.3, blend(iris, [190, 140, 84], 0.16))}` +
      `${stop(0.55, scale(iris, 1.18))}${stop(0.8, iris)}${stop(1, scale(iris, 0.38))}</radialGradient>`,
  )
  const random = new Random(p.freckleSeed, 'iris')
  let fibres = ''
  for (let i = 0; i < 20; i++) {
    const angle = (i + random.uniform()) * (Math.PI / 10)
    const [c, s, inner] = [Math.cos(angle), Math.sin(angle), random.uniform(0.36, 0.55)]
    fibres += `M${pair([c * inner, s * inner])}L${pair([c * 0.85, s * 0.85])}`
  }
  const pupil = 0.36 + 0.05 * (1 - state.lightStrength)
  const glint: Point2 = [clamp(state.lightAzimuth / 90, -1, 1) * 0.34, -0.3 - 0.12 * clamp(state.lightElevation / 60)]
  sketch.add(
    `<g transform="${turn}"><circle r="1" fill="url(#iris-${id})"/>` +
      `<path d="${fibres}" stroke="${css(scale(iris, 1.6))}" stroke-width="0.05" stroke-opacity="0.4"/>` +
      `<circle r="${pupil.toFixed(3)}" fill="#0a0708"/>` +
      `<ellipse cx="${glint[0].toFixed(2)}" cy="${glint[1].toFixed(2)}" rx="0.21" ry="0.19" fill="#fff" fill-opacity="0.92"/>` +
      `<ellipse cx="${(-glint[0]).toFixed(2)}" cy="0.45" rx="0.3" ry="0.16" fill="#fff" fill-opacity="0.13"/></g>`,
  )
  // The upper lid's shadow on the ball, and the corner's pink.
  const line = sketch.through(shape.upper)
  const [cx, cy] = sketch.at(...shape.upper[0]!)
  sketch.add(
    `<path d="${line}" fill="none" stroke="#2c1414" stroke-width="${(11 * camera.scale).toFixed(2)}" stroke-opacity="0.2"/>` +
      `<path d="${line}" fill="none" stroke="#2c1414" stroke-width="${(6 * camera.scale).toFixed(2)}" stroke-opacity="0.28"/>` +
      `<circle cx="${cx.toFixed(2)}" cy="${cy.toFixed(2)}" r="${(6.5 * camera.scale).toFixed(2)}" fill="#c47a70" fill-opacity="0.7"/>`,
  )
}

function drawLids(sketch: Sketch, p: PortraitIdentity, state: PortraitState, shape: EyeShape, side: 1 | -1): void {
  const skin = skinColour(p)
  const scaleOf = sketch.camera.scale
  const stroke = (path: string, colour: Colour, width: number, opacity: number) =>
    sketch.add(
      `<path d="${path}" fill="none" stroke="${css(colour)}" stroke-width="${(width * scaleOf).toFixed(2)}" ` +
        `stroke-linecap="round" stroke-opacity="${opacity.toFixed(3)}"/>`,
    )
  const dark = blend(skin, [50, 18, 16], 0.72)
  const lash: Colour = blend([24, 16, 15], hairColour(p), 0.18)
  // Rims: the lower lid catches light, the upper one carries the lashes.
  const under = shape.lower.map(([x, y]): Point2 => [x, y + 1.5])
  stroke(sketch.through(under), blend(skin, [255, 214, 200], 0.35), 2.2, 0.5)
  stroke(sketch.through(shape.lower), dark, 1.3, 0.45)
  const bag = shape.lower.slice(1).map(([x, y], i): Point2 => [x, y + 8 + 3 * Math.sin((i / 5) * Math.PI)])
  stroke(sketch.through(bag), dark, 1.6, 0.08 + 0.24 * p.wrinkles + 0.1 * Math.max(0, state.smile))
  if (p.eyeHood < 0.75) {
    const crease = shape.upper.map(([x, y], i): Point2 => [
      x + (i === 0 ? side * 3 : 0),
      y - 3 - (7 - 6 * p.eyeHood) * Math.sin(((i + 0.6) / 7) * Math.PI),
    ])
    stroke(sketch.through(crease), dark, 1.7, 0.55 * (1 - 0.5 * p.eyeHood))
  }
  stroke(sketch.through(shape.upper), lash, 2.4 + 1.5 * p.lashes, 0.9)
  let lashes = ''
  const random = new Random(p.freckleSeed, 'lashes')
  const count = Math.round(10 + 8 * p.lashes)
  for (let i = 0; i < count; i++) {
    const t = (i + 1.5) / (count + 1)
    const at = t * 6
    const k = Math.min(5, Math.floor(at))
    const [a, b] = [shape.upper[k]!, shape.upper[k + 1]!]
    const root: Point2 = [mix(a[0], b[0], at - k), mix(a[1], b[1], at - k)]
    const length = (3.5 + 5.5 * p.lashes) * (0.55 + 0.75 * t) * random.uniform(0.8, 1.15)
    const lean = side * (t - 0.35) * 1.1
    const fall = state.eyeOpen < 0.35 ? -0.8 : 1
    const tip: Point2 = [root[0] + lean * length, root[1] - length * 0.72 * fall]
    lashes += `M${pair(sketch.at(...root))}L${pair(sketch.at(...tip, 3))}`
  }
  stroke(lashes, lash, 1.1, 0.75)
}

/** One brow: tapered hairs along an arch over a soft base. */
export function drawBrow(sketch: Sketch, p: PortraitIdentity, state: PortraitState, side: 1 | -1): void {
  const line = browLine(sketch, p, state)
  const thickness = 6.5 + 2.6 * p.browThickness
  const half = (t: number) =>
    thickness * (0.55 + 0.6 * Math.sin(Math.min(1, t * 1.5) * Math.PI * 0.5)) * (1 - 0.82 * t ** 2.2)
  const ts = [0, 0.15, 0.35, 0.55, 0.75, 0.9, 1]
  const top = ts.map((t): Point2 => [side * line(t)[0], line(t)[1] - half(t)])
  const bottom = ts.map((t): Point2 => [side * line(t)[0], line(t)[1] + half(t) * 0.7])
  const hair = blend(hairColour(p), [40, 28, 24], 0.45 + 0.2 * p.hairTone - 0.25 * p.hairGrey)
  const body = joined(sketch.through(top), sketch.through(bottom.reverse()))
  sketch.add(`<path d="${body}" fill="${css(hair)}" fill-opacity="0.34"/>`)
  const random = new Random(p.freckleSeed, 'brow')
  let hairs = ''
  for (let i = 0; i < 46; i++) {
    const t = (i + random.uniform()) / 46
    const [x, y] = line(t)
    const h = half(t)
    const start: Point2 = [side * x, y + random.uniform(-0.3, 1) * h * 0.8]
    const length = 6 + 5 * (1 - t) * 0.5 + thickness * 0.5
    const angle = mix(1.25, 0.05, Math.min(1, t * 1.5)) + random.uniform(-0.15, 0.15) - (start[1] < y ? 0.25 : 0)
    const tip: Point2 = [start[0] + side * Math.cos(angle) * length, start[1] - Math.sin(angle) * length * 0.8]
    hairs += `M${pair(sketch.at(...start))}L${pair(sketch.at(...tip))}`
  }
  const width = (1.5 * sketch.camera.scale).toFixed(2)
  sketch.add(
    `<path d="${hairs}" stroke="${css(hair)}" stroke-width="${width}" stroke-linecap="round" stroke-opacity="0.72"/>`,
  )
}

/** The middle line of a brow, t from 0 (inner) to 1 (outer), for the right side of the image. */
export function browLine(sketch: Sketch, p: PortraitIdentity, state: PortraitState): (t: number) => Point2 {
  const { eyeX, eyeY } = sketch.head.features
  const [from, to] = [eyeX - 36, eyeX + 36 + 5 * p.browLength]
  const base = eyeY - 36 - 4 * p.browHeight + 2.5 * p.sex - 9 * state.browRaise
  const sad = Math.max(0, -state.smile)
  return (t) => {
    const arch = (6 + 4 * p.browArch) * Math.sin(Math.min(1, t * 0.98) ** 1.3 * Math.PI)
    return [mix(from, to, t), base - arch + 5 * t * (0.7 - p.browTilt) + sad * 8 * (t - 0.4)]
  }
}
