/** Small numeric helpers of the renderer. Lengths are in pixels of the 512 px FFHQ template. */

export type Point2 = [number, number]
export type Point3 = [number, number, number]

export const clamp = (x: number, min = 0, max = 1): number => (x < min ? min : x > max ? max : x)
export const mix = (a: number, b: number, t: number): number => a + (b - a) * t
export const radians = (degrees: number): number => (degrees * Math.PI) / 180

export function smoothstep(from: number, to: number, x: number): number {
  const t = clamp((x - from) / (to - from))
  return t * t * (3 - 2 * t)
}

/** exp(-(dx/sx)^2 - (dy/sy)^2): the bump everything soft is made of. */
export function bump(dx: number, dy: number, sx: number, sy: number): number {
  const r = (dx / sx) * (dx / sx) + (dy / sy) * (dy / sy)
  return r > 9 ? 0 : Math.exp(-r)
}

/** A function of whole steps from `from` to `to`, read from a table with linear interpolation. */
export function tabulated(f: (x: number) => number, from: number, to: number): (x: number) => number {
  const n = Math.ceil(to - from) + 1
  const table = Float64Array.from({ length: n + 1 }, (_, i) => f(from + i))
  return (x) => {
    const at = clamp(x - from, 0, n - 1)
    const i = Math.floor(at)
    return table[i]! + (table[i + 1]! - table[i]!) * (at - i)
  }
}

/** A smooth curve through (x, y) keys in rising order of x (monotone slopes, so it never overshoots). */
export function curve(keys: readonly (readonly [number, number])[]): (x: number) => number {
  const n = keys.length
  const slope = keys.map((_, i) => {
    if (i === 0 || i === n - 1) return 0
    const [left, middle, right] = [keys[i - 1]!, keys[i]!, keys[i + 1]!]
    const a = (middle[1] - left[1]) / (middle[0] - left[0])
    const b = (right[1] - middle[1]) / (right[0] - middle[0])
    return a * b <= 0 ? 0 : (2 * a * b) / (a + b)
  })
  return (x) => {
    if (x <= keys[0]![0]) return keys[0]![1]
    if (x >= keys[n - 1]![0]) return keys[n - 1]![1]
    let i = 0
    while (x > keys[i + 1]![0]) i++
    const [x0, y0] = keys[i]!
    const [x1, y1] = keys[i + 1]!
    const h = x1 - x0
    const t = (x - x0) / h
    const u = 1 - t
    return (
      y0 * u * u * (1 + 2 * t) + slope[i]! * h * t * u * u + y1 * t * t * (3 - 2 * t) - slope[i + 1]! * h * t * t * u
    )
  }
}
