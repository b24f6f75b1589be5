/** Glasses: two lenses in front of the eyes, a bridge, and arms that go back to the ears. */

import { css, hsl, type Colour, scale } from './colour'
import { GLASSES_STYLES, type PortraitIdentity } from './identity'
import { clamp, mix, type Point2, type Point3 } from './maths'
import { joined, pair, type Sketch, spline } from './sketch'
import type { PortraitState } from './state'

/** Half width and half height of a lens, roundness of its corners (2 is an ellipse), rim in pixels. */
const FRAMES: Record<string, { width: number; height: number; power: number; rim: number; lift: number }> = {
  round: { width: 41, height: 39, power: 2, rim: 3.6, lift: 0 },
  rectangular: { width: 47, height: 30, power: 4.5, rim: 5, lift: 0 },
  browline: { width: 46, height: 33, power: 3, rim: 2.2, lift: 0 },
  thin: { width: 45, height: 31, power: 3, rim: 2, lift: 0 },
  'cat-eye': { width: 47, height: 32, power: 2.8, rim: 5, lift: 9 },
}

export function drawGlasses(sketch: Sketch, p: PortraitIdentity, state: PortraitState): void {
  const style = GLASSES_STYLES[p.glassesStyle]!
  if (style === 'none') return
  const frame = FRAMES[style]!
  const { eyeX, eyeY } = sketch.head.features
  const s = sketch.camera.scale
  const grow = 1 + 0.09 * p.glassesSize
  const [w, h] = [Math.min(frame.width * grow, eyeX - 9), frame.height * grow]
  const colour: Colour = hsl(p.glassesHue, p.glassesTone > 0.5 ? 0.25 : 0.45, mix(0.07, 0.5, p.glassesTone))
  const depth = sketch.head.point(0, eyeY - 8)[2] + 10
  // The front bends back a little towards the sides.
  const place = (x: number, y: number): Point3 => [x, y, depth - (x / 100) ** 2 * 26]
  const rim = (side: number): Point2[] =>
    Array.from({ length: 25 }, (_, i) => {
      const a = (i / 24) * 2 * Math.PI
      const [c, d] = [Math.cos(a), Math.sin(a)]
      const r = (Math.abs(c) ** frame.power + Math.abs(d) ** frame.power) ** (-1 / frame.power)
      const lift = frame.lift * clamp(c) * clamp(-d + 0.3)
      return sketch.point(place(side * (eyeX + 2 + c * r * w), eyeY + 5 + d * r * h - lift))
    })
  const line = (path: string, width: number, tint: Colour, opacity = 1, dx = 0, dy = 0) =>
    sketch.add(
      `<path d="${path}" fill="none" stroke="${css(tint)}" stroke-width="${(width * s).toFixed(2)}" stroke-linecap="round" stroke-opacity="${opacity}"` +
        `${dx || dy ? ` transform="translate(${dx} ${dy})"` : ''}/>`,
    )
  const glare = clamp(0.1 + 0.06 * Math.abs(state.lightAzimuth / 45))
  sketch.define(
    `<linearGradient id="lens" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="#fff" stop-opacity="${glare.toFixed(3)}"/>` +
      `<stop offset="0.45" stop-color="#dfe8f0" stop-opacity="0.03"/><stop offset="1" stop-color="#9fb4c4" stop-opacity="0.1"/></linearGradient>`,
  )
  const dark: Colour = [40, 18, 12]
  for (const side of [-1, 1]) {
    const edge = spline(rim(side))
    const ear = sketch.point([side * (sketch.head.width(0) + 1), eyeY - 4, -5])
    const hinge = sketch.point(place(side * (eyeX + w), eyeY - 6))
    // An arm is seen where it runs outwards from the hinge.
    if (side * (ear[0] - hinge[0]) > 2) line(`M${pair(hinge)}L${pair(ear)}`, frame.rim * 0.9, colour)
    line(edge, frame.rim, dark, 0.16, 1, 5 * s)
    sketch.add(`<path d="${joined(edge)}" fill="url(#lens)"/>`)
    line(edge, frame.rim, colour)
    line(edge, frame.rim * 0.3, scale(colour, 1.9), 0.5, -0.4, -0.7)
    if (style === 'browline') line(spline(rim(side).slice(12, 25)), 7, colour)
  }
  const inner = eyeX + 2 - w
  const bridge = [-inner, 0, inner].map((x) => sketch.point(place(x, eyeY - 4 - (x === 0 ? 5 : 0))))
  line(spline(bridge), frame.rim, colour)
}
