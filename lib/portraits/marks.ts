/** Details of the skin: nostrils, freckles, moles, wrinkles. */

import { blend, css, scale } from './colour'
import type { PortraitIdentity } from './identity'
import { mix, type Point2 } from './maths'
import { Random } from '../util/random'
import { pair, type Sketch } from './sketch'
import { skinColour } from './skin'
import type { PortraitState } from './state'

export function drawNostrils(sketch: Sketch, p: PortraitIdentity): void {
  const { noseTipY, noseHalfWidth } = sketch.head.features
  const s = sketch.camera.scale
  const dark = css(scale(skinColour(p), 0.26))
  for (const side of [-1, 1]) {
    const [x, y] = sketch.at(side * (noseHalfWidth * 0.46), noseTipY + 13 - 3 * p.noseTip)
    const [rx, ry] = [(6.2 + 1.6 * p.noseWidth) * s, 3.1 * s]
    sketch.add(
      `<ellipse cx="${x.toFixed(2)}" cy="${y.toFixed(2)}" rx="${(rx * 1.35).toFixed(2)}" ry="${(ry * 1.6).toFixed(2)}" fill="${dark}" fill-opacity="0.22"/>` +
        `<ellipse cx="${x.toFixed(2)}" cy="${y.toFixed(2)}" rx="${rx.toFixed(2)}" ry="${ry.toFixed(2)}" fill="${dark}" fill-opacity="0.72" transform="rotate(${side * -14} ${pair([x, y])})"/>`,
    )
    const wing: Point2[] = [
      [side * (noseHalfWidth - 1), noseTipY - 14],
      [side * (noseHalfWidth + 3), noseTipY - 2],
      [side * (noseHalfWidth + 1), noseTipY + 9],
      [side * (noseHalfWidth - 7), noseTipY + 14],
    ]
    sketch.softLine(sketch.through(wing), dark, 2.4, 0.36)
  }
}

export function drawMarks(sketch: Sketch, p: PortraitIdentity): void {
  const s = sketch.camera.scale
  const skin = skinColour(p)
  if (p.freckles > 0) {
    const random = new Random(p.freckleSeed, 'freckles')
    const colour = css(blend(scale(skin, 0.7), [150, 80, 40], 0.4))
    let dots = ''
    const count = Math.round(110 * p.freckles)
    for (let i = 0; i < count; i++) {
      const [x, y] = [random.bell() * 108, 36 + random.bell() * 42]
      const r = random.uniform(0.9, 2.1) * s
      const [px, py] = sketch.at(x, y)
      dots += `M${(px - r).toFixed(2)} ${py.toFixed(2)}a${r.toFixed(2)} ${r.toFixed(2)} 0 1 0 ${(2 * r).toFixed(2)} 0a${r.toFixed(2)} ${r.toFixed(2)} 0 1 0 ${(-2 * r).toFixed(2)} 0`
    }
    sketch.add(`<path d="${dots}" fill="${colour}" fill-opacity="${(0.28 + 0.3 * p.freckles).toFixed(2)}"/>`)
  }
  for (const mole of p.moles) {
    const [x, y] = sketch.at(mole.x, mole.y, 1)
    const r = mole.radius * s
    const colour = css(scale(blend(skin, [70, 36, 24], mole.tone * 0.85), 0.85))
    sketch.add(
      `<circle cx="${x.toFixed(2)}" cy="${y.toFixed(2)}" r="${r.toFixed(2)}" fill="${colour}"/>` +
        `<circle cx="${(x - r * 0.3).toFixed(2)}" cy="${(y - r * 0.3).toFixed(2)}" r="${(r * 0.35).toFixed(2)}" fill="#fff" fill-opacity="0.22"/>`,
    )
  }
}

/** Lines of the forehead, around the eyes and from nose to mouth. */
export function drawWrinkles(sketch: Sketch, p: PortraitIdentity, state: PortraitState): void {
  const { eyeX, eyeY, eyeHalfWidth, noseHalfWidth, mouthY, mouthHalfWidth, noseTipY } = sketch.head.features
  const dark = css(scale(skinColour(p), 0.42))
  const smile = Math.max(0, state.smile)
  const stroke = (points: Point2[], width: number, opacity: number) => {
    if (opacity > 0.02) sketch.softLine(sketch.through(points), dark, width * 1.2, opacity)
  }
  const raised = Math.max(0, state.browRaise)
  for (const [i, y] of [-66, -82, -97].entries()) {
    const sag = (x: number) => y - 4 * raised + 3 * Math.cos((x / 70) * Math.PI) * (i % 2 ? 1 : -0.6)
    const half = 66 - 8 * i
    stroke(
      [-half, -half / 2, 0, half / 2, half].map((x): Point2 => [x, sag(x)]),
      1.7,
      0.3 * p.wrinkles + 0.12 * raised * p.age,
    )
  }
  for (const side of [-1, 1] as const) {
    for (const k of [-1, 0, 1]) {
      const x = eyeX + eyeHalfWidth
      stroke(
        [
          [side * (x + 5), eyeY + 2 + k * 3],
          [side * (x + 13), eyeY + 3 + k * 7],
          [side * (x + 20), eyeY + 6 + k * 11],
        ],
        1.4,
        0.32 * p.wrinkles + 0.14 * smile * p.age,
      )
    }
    stroke(
      [
        [side * (noseHalfWidth + 5), noseTipY - 4],
        [side * mix(noseHalfWidth + 5, mouthHalfWidth + 12, 0.5), noseTipY + 18],
        [side * (mouthHalfWidth + 11), mouthY - 12],
        [side * (mouthHalfWidth + 13), mouthY + 4],
      ],
      2,
      0.05 + 0.26 * p.wrinkles + 0.16 * smile,
    )
    stroke(
      [
        [side * 10, -42],
        [side * 8, -30],
        [side * 9, -18],
      ],
      1.6,
      0.26 * p.wrinkles * (0.4 + p.sex * 0.6),
    )
  }
}
