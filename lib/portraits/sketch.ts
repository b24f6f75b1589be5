/** Drawing on the face: SVG whose points lie on the head. Coordinates of the SVG are template pixels (512 x 512). */

import type { Camera } from './camera'
import type { Head } from './head'
import type { Point2, Point3 } from './maths'

export class Sketch {
  readonly head: Head
  readonly camera: Camera
  readonly #parts: string[] = []
  readonly #definitions: string[] = []

  constructor(head: Head, camera: Camera) {
    this.head = head
    this.camera = camera
  }

  add(svg: string): void {
    this.#parts.push(svg)
  }

  define(svg: string): void {
    this.#definitions.push(svg)
  }

  /** A frontal position of the face in the image. */
  at(x: number, y: number, lift = 0): Point2 {
    return this.point(this.head.point(x, y, lift))
  }

  point(point: Point3): Point2 {
    const [x, y] = this.camera.project(point)
    return [x, y]
  }

  /** A smooth path through frontal positions; closed paths return to their start with a corner. */
  through(points: readonly Point2[], lift = 0): string {
    return spline(points.map(([x, y]) => this.at(x, y, lift)))
  }

  /** A soft line: three strokes, the broader the fainter. */
  softLine(path: string, colour: string, width: number, opacity: number): void {
    for (const [broad, faint] of [
      [2.6, 0.3],
      [1.5, 0.35],
      [0.7, 0.35],
    ] as const)
      this.add(
        `<path d="${path}" fill="none" stroke="${colour}" stroke-width="${(width * broad * this.camera.scale).toFixed(2)}" ` +
          `stroke-linecap="round" stroke-opacity="${(opacity * faint).toFixed(3)}"/>`,
      )
  }

  svg(size: number): string {
    return (
      `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}" viewBox="0 0 512 512">` +
      `<defs>${this.#definitions.join('')}</defs>${this.#parts.join('')}</svg>`
    )
  }
}

/** Catmull and Rom's curve through the points, as Bézier segments. */
export function spline(points: readonly Point2[]): string {
  let path = `M${pair(points[0]!)}`
  for (let i = 0; i + 1 < points.length; i++) {
    const [p0, p1, p2, p3] = [points[i - 1] ?? points[i]!, points[i]!, points[i + 1]!, points[i + 2] ?? points[i + 1]!]
    const c1: Point2 = [p1[0] + (p2[0] - p0[0]) / 6, p1[1] + (p2[1] - p0[1]) / 6]
    const c2: Point2 = [p2[0] - (p3[0] - p1[0]) / 6, p2[1] - (p3[1] - p1[1]) / 6]
    path += `C${pair(c1)} ${pair(c2)} ${pair(p2)}`
  }
  return path
}

/** Continues a path of {@link spline} with another one. */
export function joined(...paths: readonly string[]): string {
  return paths.map((path, i) => (i === 0 ? path : `L${path.slice(1)}`)).join('') + 'Z'
}

export function pair([x, y]: Point2): string {
  return `${x.toFixed(2)} ${y.toFixed(2)}`
}
