/** Colours as [red, green, blue], 0 to 255. */

import { clamp, mix } from './maths'

export type Colour = [number, number, number]

export function blend(a: Colour, b: Colour, t: number): Colour {
  return [mix(a[0], b[0], t), mix(a[1], b[1], t), mix(a[2], b[2], t)]
}

/** Multiplies every channel. */
export function scale(colour: Colour, factor: number): Colour {
  return [colour[0] * factor, colour[1] * factor, colour[2] * factor]
}

export function multiply(a: Colour, b: Colour): Colour {
  return [(a[0] * b[0]) / 255, (a[1] * b[1]) / 255, (a[2] * b[2]) / 255]
}

/** The colour at `t` (0 to 1) along evenly spaced stops. */
export function ramp(stops: readonly Colour[], t: number): Colour {
  const at = clamp(t) * (stops.length - 1)
  const i = Math.min(Math.floor(at), stops.length - 2)
  return blend(stops[i]!, stops[i + 1]!, at - i)
}

/** Hue in turns, saturation and lightness 0 to 1. */
export function hsl(hue: number, saturation: number, lightness: number): Colour {
  const channel = (offset: number): number => {
    const k = (offset + (((hue % 1) + 1) % 1) * 12) % 12
    const a = saturation * Math.min(lightness, 1 - lightness)
    return 255 * (lightness - a * Math.max(-1, Math.min(k - 3, 9 - k, 1)))
  }
  return [channel(0), channel(8), channel(4)]
}

/** As SVG writes it. */
export function css(colour: Colour): string {
  return `rgb(${colour.map((channel) => Math.round(clamp(channel, 0, 255))).join(',')})`
}
