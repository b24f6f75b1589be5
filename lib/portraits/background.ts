/** What is behind the person: soft colours in five kinds. */

import { blend, type Colour, hsl, scale } from './colour'
import { bump, clamp, mix, smoothstep } from './maths'
import type { Layer } from './mesh'
import { Random } from '../util/random'
import { BACKGROUND_STYLES, type PortraitState } from './state'

/** Side of the grid on which backgrounds are computed; they are soft, so it is stretched over the picture. */
const GRID = 33

/** Fills the layer, whose side is `size * samples`; all samples of a pixel are alike. */
export function paintBackground(layer: Layer, size: number, samples: number, state: PortraitState): void {
  const colourAt = painter(state)
  const grid = Array.from({ length: GRID * GRID }, (_, i) =>
    colourAt((i % GRID) / (GRID - 1), Math.floor(i / GRID) / (GRID - 1)),
  )
  const step = (GRID - 1) / size
  const row = new Uint8ClampedArray(size * samples * 4).fill(255)
  for (let y = 0; y < size; y++) {
    const v = (y + 0.5) * step
    const j = Math.floor(v)
    for (let x = 0; x < size; x++) {
      const u = (x + 0.5) * step
      const i = j * GRID + Math.floor(u)
      const colour = between(grid[i]!, grid[i + 1]!, grid[i + GRID]!, grid[i + GRID + 1]!, u % 1, v - j)
      for (let sample = 0; sample < samples; sample++)
        for (let k = 0; k < 3; k++) row[(x * samples + sample) * 4 + k] = colour[k]!
    }
    for (let sample = 0; sample < samples; sample++) layer.set(row, (y * samples + sample) * row.length)
  }
}

function between(a: Colour, b: Colour, c: Colour, d: Colour, u: number, v: number): Colour {
  return blend(blend(a, b, u), blend(c, d, u), v)
}

function distance(x: number, y: number): number {
  return Math.sqrt(x * x + y * y)
}

type Painter = (x: number, y: number) => Colour

function painter(state: PortraitState): Painter {
  const { backgroundHue: hue, backgroundSaturation: saturation, backgroundLightness: lightness } = state
  const base = hsl(hue, saturation, lightness)
  const random = new Random(state.backgroundSeed, 'background')
  switch (BACKGROUND_STYLES[state.backgroundStyle]) {
    case 'studio':
      return (x, y) => scale(base, 1.14 - 0.55 * distance(x - 0.42, y - 0.4) ** 1.6)
    case 'gradient': {
      const other = hsl(hue + random.uniform(-0.15, 0.15), saturation, clamp(lightness + random.uniform(-0.3, 0.3)))
      const angle = random.uniform(0, 2 * Math.PI)
      return (x, y) =>
        blend(base, other, smoothstep(-0.6, 0.6, (x - 0.5) * Math.cos(angle) + (y - 0.5) * Math.sin(angle)))
    }
    case 'bokeh':
      return lights(random, state, base)
    case 'indoors':
      return indoors(random, base, hue)
    default:
      return outdoors(random, state)
  }
}

/** Blurred lights on a dark ground. */
function lights(random: Random, state: PortraitState, base: Colour): Painter {
  const dark = scale(base, 0.55)
  const spots = Array.from({ length: 14 }, () => ({
    x: random.uniform(),
    y: random.uniform(),
    radius: random.uniform(0.06, 0.15),
    light: random.uniform(0.2, 0.7),
    colour: hsl(state.backgroundHue + random.uniform(-0.12, 0.12), 0.7, 0.72),
  }))
  return (x, y) => {
    let colour = scale(dark, 1.15 - 0.4 * y)
    for (const spot of spots) {
      const disc = 1 - smoothstep(0.55, 1.2, distance(x - spot.x, y - spot.y) / spot.radius)
      colour = blend(colour, spot.colour, disc * spot.light)
    }
    return colour
  }
}

/** A wall with a window and furniture, out of focus. */
function indoors(random: Random, base: Colour, hue: number): Painter {
  const boxes = Array.from({ length: 5 }, () => ({
    x: random.uniform(),
    y: random.uniform(0.2, 1),
    w: random.uniform(0.05, 0.22),
    h: random.uniform(0.08, 0.4),
    colour: hsl(hue + random.uniform(-0.3, 0.3), random.uniform(0.05, 0.4), random.uniform(0.15, 0.9)),
  }))
  const soft = (d: number, size: number) => 1 - smoothstep(size * 0.7, size * 1.25, Math.abs(d))
  return (x, y) => {
    let colour = scale(base, mix(1.05, 0.85, y))
    for (const box of boxes) colour = blend(colour, box.colour, 0.75 * soft(x - box.x, box.w) * soft(y - box.y, box.h))
    return colour
  }
}

/** Sky, leaves and ground, out of focus. */
function outdoors(random: Random, state: PortraitState): Painter {
  const bright = mix(0.7, 1.1, state.backgroundLightness)
  const sky = scale(hsl(0.56 + random.uniform(-0.04, 0.04), 0.5, 0.78), bright)
  const green = scale(hsl(random.uniform(0.18, 0.36), 0.1 + 0.5 * state.backgroundSaturation, 0.36), bright)
  const horizon = random.uniform(0.1, 0.7)
  const clumps = Array.from({ length: 18 }, () => [
    random.uniform(),
    random.uniform(horizon - 0.25, 1),
    random.uniform(0.06, 0.2),
    random.uniform(-0.4, 0.5),
  ])
  return (x, y) => {
    let colour = blend(scale(sky, 1.08 - 0.1 * y), green, smoothstep(horizon - 0.12, horizon + 0.12, y))
    for (const [cx, cy, r, light] of clumps as [number, number, number, number][])
      colour = blend(colour, scale(green, 1 + light), 0.7 * bump(x - cx, y - cy, r, r))
    return colour
  }
}
