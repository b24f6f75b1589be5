/** Lips, teeth and the inside of the mouth. */

import { mouthCornerY } from './camera'
import { blend, type Colour, css, hsl, scale } from './colour'
import type { PortraitIdentity } from './identity'
import type { Light } from './light'
import { mix, type Point2 } from './maths'
import { joined, type Sketch, spline } from './sketch'
import { skinColour } from './skin'
import type { PortraitState } from './state'

/** Four lines from the image's left corner to the right one, in frontal positions of the closed jaw. */
interface MouthShape {
  top: Point2[]
  upperInner: Point2[]
  lowerInner: Point2[]
  bottom: Point2[]
}

export function mouthShape(sketch: Sketch, p: PortraitIdentity, state: PortraitState): MouthShape {
  const { mouthY, mouthHalfWidth: w } = sketch.head.features
  const corner = mouthCornerY(sketch.head)
  const smile = Math.max(0, state.smile)
  const up = (12.5 - 1.5 * p.sex + 4 * p.upperLip) * (1 - 0.2 * smile)
  const down = (16.5 - 2 * p.sex + 4.5 * p.lowerLip) * (1 - 0.15 * smile)
  // A broad smile shows teeth with the jaw closed.
  const part = 6 * Math.max(0, smile - 0.45) + 2.5 * state.mouthOpen
  const open = part + 2
  const at = [-1, -0.78, -0.5, -0.22, 0, 0.22, 0.5, 0.78, 1]
  const line = (height: (a: number) => number, lift: number): Point2[] =>
    at.map((t) => {
      const a = Math.abs(t)
      return [t * w, mix(mouthY + lift, corner, a ** 1.8) + height(a)]
    })
  const full = (a: number) => (1 - a ** 2.2) ** 0.9
  const bow = (a: number) =>
    (2 + 3.5 * p.cupidBow) * (Math.exp(-((a / 0.16) ** 2)) - 0.35 * Math.exp(-(((a - 0.25) / 0.15) ** 2)))
  return {
    top: line((a) => -part * 0.6 * full(a) - up * full(a) + bow(a) * 0.8, 0),
    upperInner: line((a) => -part * 0.6 * full(a) + 1.2 * bow(a) * 0.3, 0),
    lowerInner: line((a) => (state.mouthOpen > 0 ? open * 5 * state.mouthOpen : 0) * full(a) + part * full(a), 0),
    bottom: line((a) => (part * 0.8 + down) * full(a), 0),
  }
}

export function drawMouth(sketch: Sketch, p: PortraitIdentity, state: PortraitState, light: Light): void {
  const raw = mouthShape(sketch, p, state)
  const { jawDrop } = sketch.head.features
  // The lower lip moves with the jaw as a whole; the face's surface follows more softly.
  const place = (points: Point2[], drop: number): Point2[] =>
    points.map(([x, y]) => {
      const a = Math.abs(x) / sketch.head.features.mouthHalfWidth
      const [px, py, pz] = sketch.head.point(x, y)
      const natural = py - y
      return sketch.point([px, y + mix(natural, jawDrop * drop * (1 - a ** 2), drop > 0 ? 1 : 0), pz])
    })
  const upperOuter = place(raw.top, 0)
  const upperInner = place(raw.upperInner, 0)
  const lowerInner = place(raw.lowerInner, 0.86)
  const lowerOuter = place(raw.bottom, 0.95)
  const s = sketch.camera.scale
  const colour = lipColour(p, state)
  const lit = (normal: [number, number, number], shade: number): Colour => {
    const d = light.diffuse(sketch.camera.direction(normal), 0.25)
    return [colour[0] * d[0] * shade, colour[1] * d[1] * shade, colour[2] * d[2] * shade]
  }
  drawInside(sketch, upperInner, lowerInner, state, light)
  const upper = joined(spline(upperOuter), spline([...upperInner].reverse()))
  const lower = joined(spline(lowerInner), spline([...lowerOuter].reverse()))
  const [mid, mouthTop, mouthBottom] = [upperInner[4]!, upperOuter[4]!, lowerOuter[4]!]
  const gradient = (id: string, from: Point2, to: Point2, stops: [number, Colour][]) =>
    sketch.define(
      `<linearGradient id="${id}" gradientUnits="userSpaceOnUse" x1="${from[0].toFixed(2)}" y1="${from[1].toFixed(2)}" x2="${to[0].toFixed(2)}" y2="${to[1].toFixed(2)}">` +
        stops.map(([o, c]) => `<stop offset="${o}" stop-color="${css(c)}"/>`).join('') +
        '</linearGradient>',
    )
  gradient('lip-u', mouthTop, mid, [
    [0, blend(lit([0, -0.3, 0.95], 1), skinColour(p), 0.12)],
    [0.55, lit([0, 0.35, 0.93], 0.94)],
    [1, lit([0, 0.7, 0.7], 0.68)],
  ])
  gradient('lip-l', lowerInner[4]!, mouthBottom, [
    [0, lit([0, -0.5, 0.85], 0.8)],
    [0.4, lit([0, -0.35, 0.93], 1.1)],
    [1, blend(lit([0, 0.6, 0.8], 0.95), skinColour(p), 0.1)],
  ])
  sketch.add(
    `<path d="${lower}" fill="url(#lip-l)" fill-opacity="0.93"/><path d="${upper}" fill="url(#lip-u)" fill-opacity="0.93"/>`,
  )
  drawGloss(sketch, lowerInner, lowerOuter, state, p)
  const line = spline(upperInner)
  const closed = state.mouthOpen < 0.05
  sketch.add(
    `<path d="${line}" fill="none" stroke="${css(scale(colour, 0.32))}" stroke-width="${((closed ? 2.4 : 1.4) * s).toFixed(2)}" stroke-linecap="round" stroke-opacity="${closed ? 0.75 : 0.5}"/>`,
  )
  for (const end of [upperInner[0]!, upperInner[8]!])
    sketch.add(
      `<circle cx="${end[0].toFixed(2)}" cy="${end[1].toFixed(2)}" r="${(2.2 * s).toFixed(2)}" fill="${css(scale(skinColour(p), 0.4))}" fill-opacity="0.25"/>`,
    )
}

function drawInside(sketch: Sketch, upper: Point2[], lower: Point2[], state: PortraitState, light: Light): void {
  const outline = joined(spline(upper), spline([...lower].reverse()))
  const gap = lower[4]![1] - upper[4]![1]
  if (gap < 1.5) return
  const s = sketch.camera.scale
  const white = light.diffuse([0, 0, 1], 0.1)[1]
  const tooth: Colour = [238 * Math.min(1, white), 232 * Math.min(1, white), 220 * Math.min(1, white)]
  sketch.define(`<clipPath id="mouth"><path d="${outline}"/></clipPath>`)
  const reach = Math.min(gap, 13 * s)
  const teeth = upper.map(([x, y], i): Point2 => [x, y + reach * (1 - (Math.abs(i - 4) / 4) ** 3)])
  const row = joined(spline(upper), spline([...teeth].reverse()))
  let gaps = ''
  for (let i = 1; i < 8; i++)
    for (const f of [0, 0.5]) {
      const j = Math.min(8, i + 1)
      const x = mix(upper[i]![0], upper[j]![0], f)
      const y = mix(upper[i]![1], upper[j]![1], f)
      gaps += `M${x.toFixed(2)} ${(y - 1).toFixed(2)}v${(reach + 1).toFixed(2)}`
    }
  const [tx, ty] = lower[4]!
  sketch.add(
    `<path d="${outline}" fill="#3a1214"/><g clip-path="url(#mouth)">` +
      `<ellipse cx="${tx.toFixed(2)}" cy="${ty.toFixed(2)}" rx="${(30 * s).toFixed(2)}" ry="${(Math.min(13, gap * 0.45) * s).toFixed(2)}" fill="#a8484a"/>` +
      `<path d="${row}" fill="${css(tooth)}"/>` +
      `<path d="${gaps}" stroke="#8a7264" stroke-width="${(0.9 * s).toFixed(2)}" stroke-opacity="0.4"/>` +
      `<path d="${spline(upper)}" fill="none" stroke="#3a1214" stroke-width="${(6 * s).toFixed(2)}" stroke-opacity="${(0.3 + 0.1 * state.mouthOpen).toFixed(2)}"/></g>`,
  )
}

function drawGloss(sketch: Sketch, inner: Point2[], outer: Point2[], state: PortraitState, p: PortraitIdentity): void {
  const s = sketch.camera.scale
  const shift = state.lightAzimuth / 90
  const [a, b] = [inner[4]!, outer[4]!]
  const centre: Point2 = [mix(a[0], b[0], 0.4) + shift * 14 * s, mix(a[1], b[1], 0.42)]
  const strength = 0.16 + 0.12 * p.skinGloss + 0.3 * state.lipstick
  sketch.define(
    `<radialGradient id="gloss"><stop offset="0" stop-color="#fff" stop-opacity="${strength.toFixed(3)}"/><stop offset="1" stop-color="#fff" stop-opacity="0"/></radialGradient>`,
  )
  sketch.add(
    `<ellipse cx="${centre[0].toFixed(2)}" cy="${centre[1].toFixed(2)}" rx="${(20 * s).toFixed(2)}" ry="${(4.5 * s).toFixed(2)}" fill="url(#gloss)"/>`,
  )
}

function lipColour(p: PortraitIdentity, state: PortraitState): Colour {
  const skin = skinColour(p)
  const rose: Colour = [mix(206, 96, p.skinTone), mix(112, 50, p.skinTone), mix(108, 52, p.skinTone)]
  const natural = blend(skin, rose, 0.78 + 0.2 * p.lipColour - 0.22 * p.sex)
  const paint = hsl(mix(0.92, 1.03, state.lipstickHue), 0.66, mix(0.46, 0.33, p.skinTone))
  return blend(natural, paint, state.lipstick * 0.85)
}
