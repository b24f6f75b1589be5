/**
 * Grids of shaded vertices, and drawing them into layers of pixels with a depth buffer.
 */

import type { Camera, Pose } from './camera'
import type { Colour } from './colour'
import type { Point3 } from './maths'
import { noiseTexture } from './noise'

/** A vertex seen by a shader: where it is on the body, and which way it faces in the image. */
export interface Vertex {
  column: number
  row: number
  index: number
  position: Point3
  normal: Point3
}

/** Values per vertex: x, y, depth, red, green, blue, then strands' u, v and density. */
const STRIDE = 9

/** A surface as columns x rows of vertices, projected. */
export class Mesh {
  readonly columns: number
  readonly rows: number
  readonly vertices: Float32Array
  readonly #points: Point3[]
  readonly #normals: Point3[]

  /** @param place the position of each vertex on the head or body */
  constructor(
    camera: Camera,
    columns: number,
    rows: number,
    place: (column: number, row: number) => Point3,
    pose: Pose = camera.head,
  ) {
    this.columns = columns
    this.rows = rows
    this.vertices = new Float32Array(columns * rows * STRIDE)
    this.#points = new Array<Point3>(columns * rows)
    this.#normals = new Array<Point3>(columns * rows)
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++) this.#points[row * columns + column] = place(column, row)
    for (let i = 0; i < this.#points.length; i++) {
      this.#write(i, 0, camera.project(this.#points[i]!, pose))
      this.#normals[i] = camera.direction(this.#normal(i), pose)
    }
  }

  /** Three of a vertex's values. (`TypedArray.set` with an array costs more than the shading.) */
  #write(index: number, first: number, values: Readonly<Point3>): void {
    const at = index * STRIDE + first
    this.vertices[at] = values[0]
    this.vertices[at + 1] = values[1]
    this.vertices[at + 2] = values[2]
  }

  /** Unit normal in body coordinates from the neighbours' differences. */
  #normal(i: number): Point3 {
    const { columns } = this
    const column = i % columns
    const last = this.#points.length - columns
    const a = this.#points[column > 0 ? i - 1 : i]!
    const b = this.#points[column < columns - 1 ? i + 1 : i]!
    const c = this.#points[i >= columns ? i - columns : i]!
    const d = this.#points[i < last ? i + columns : i]!
    const [ux, uy, uz] = [b[0] - a[0], b[1] - a[1], b[2] - a[2]]
    const [vx, vy, vz] = [d[0] - c[0], d[1] - c[1], d[2] - c[2]]
    const [nx, ny, nz] = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx]
    const length = Math.sqrt(nx * nx + ny * ny + nz * nz) || 1
    return [nx / length, ny / length, nz / length]
  }

  position(index: number): Point3 {
    return this.#points[index]!
  }

  /** Colours every vertex. */
  shade(shader: (vertex: Vertex) => Colour): this {
    for (let index = 0; index < this.#points.length; index++) {
      const [position, normal] = [this.#points[index]!, this.#normals[index]!]
      const column = index % this.columns
      this.#write(index, 3, shader({ column, row: (index - column) / this.columns, index, position, normal }))
    }
    return this
  }

  /** Gives every vertex its place in the strand texture, and how densely strands cover the surface there. */
  strands(place: (index: number, position: Point3) => [u: number, v: number, density: number]): this {
    for (let index = 0; index < this.#points.length; index++) this.#write(index, 6, place(index, this.#points[index]!))
    return this
  }
}

/** How a surface of strands is drawn: where the density is low, single strands remain. */
export interface Strands {
  /** How strongly the texture varies the colour. */
  contrast: number
  /** How gradually strands appear with growing density. */
  softness: number
}

/** Red, green, blue and coverage per pixel; the colours are already multiplied by the coverage. */
export type Layer = Uint8ClampedArray

/** The pixels being drawn to, `side` x `side`, and their depths; `scale` pixels per template pixel. */
export class Raster {
  readonly side: number
  readonly scale: number
  readonly depth: Float32Array

  constructor(side: number) {
    this.side = side
    this.scale = side / 512
    this.depth = new Float32Array(side * side).fill(-1e9)
  }

  layer(): Layer {
    return new Uint8ClampedArray(this.side * this.side * 4)
  }

  /**
   * Draws a mesh where it is nearer than what is there.
   *
   * @param strands absent for smooth surfaces
   */
  draw(layer: Layer, mesh: Mesh, strands?: Strands): void {
    const { columns, rows } = mesh
    for (let row = 0; row + 1 < rows; row++) {
      for (let column = 0; column + 1 < columns; column++) {
        const i = row * columns + column
        this.#triangle(layer, mesh.vertices, i, i + 1, i + columns, strands)
        this.#triangle(layer, mesh.vertices, i + 1, i + columns + 1, i + columns, strands)
      }
    }
  }

  #triangle(layer: Layer, v: Float32Array, ia: number, ib: number, ic: number, strands?: Strands): void {
    const { side, scale, depth } = this
    const [a, b, c] = [ia * STRIDE, ib * STRIDE, ic * STRIDE]
    if (strands && v[a + 8]! <= 0 && v[b + 8]! <= 0 && v[c + 8]! <= 0) return
    const ax = v[a]! * scale
    const ay = v[a + 1]! * scale
    const bx = v[b]! * scale - ax
    const by = v[b + 1]! * scale - ay
    const cx = v[c]! * scale - ax
    const cy = v[c + 1]! * scale - ay
    const area = bx * cy - by * cx
    if (Math.abs(area) < 1e-6) return
    const inverse = 1 / area
    // Pixel centres lie at halves.
    const left = Math.max(0, Math.ceil(ax + Math.min(0, bx, cx) - 0.5))
    const right = Math.min(side - 1, Math.floor(ax + Math.max(0, bx, cx) - 0.5))
    const top = Math.max(0, Math.ceil(ay + Math.min(0, by, cy) - 0.5))
    const bottom = Math.min(side - 1, Math.floor(ay + Math.max(0, by, cy) - 0.5))
    const texture = noiseTexture()
    const ua = v[a + 6]!
    // A triangle across a parting belongs to one side of it.
    const parting = Math.abs(v[b + 6]! - ua) > 70 || Math.abs(v[c + 6]! - ua) > 70
    const ub = parting ? ua : v[b + 6]!
    const uc = parting ? ua : v[c + 6]!
    for (let y = top; y <= bottom; y++) {
      const dy = y + 0.5 - ay
      for (let x = left; x <= right; x++) {
        const dx = x + 0.5 - ax
        const t = (dx * cy - dy * cx) * inverse
        const u = (bx * dy - by * dx) * inverse
        const s = 1 - t - u
        if (t < -1e-6 || u < -1e-6 || s < -1e-6) continue
        const pixel = y * side + x
        const z = s * v[a + 2]! + t * v[b + 2]! + u * v[c + 2]!
        if (z <= depth[pixel]!) continue
        let bright = 1
        let cover = 1
        if (strands) {
          const q = s * ua + t * ub + u * uc
          const w = s * v[a + 7]! + t * v[b + 7]! + u * v[c + 7]!
          const value = texture[((w & 255) << 8) | (q & 255)]!
          const density = s * v[a + 8]! + t * v[b + 8]! + u * v[c + 8]!
          cover = Math.min(1, 0.5 + (density - 0.5 - 0.5 * value) / strands.softness)
          if (cover <= 0.02) continue
          bright = 1 + strands.contrast * value
        }
        if (cover > 0.5) depth[pixel] = z
        const keep = 1 - cover
        const at = pixel * 4
        if (keep === 0) {
          layer[at] = bright * (s * v[a + 3]! + t * v[b + 3]! + u * v[c + 3]!)
          layer[at + 1] = bright * (s * v[a + 4]! + t * v[b + 4]! + u * v[c + 4]!)
          layer[at + 2] = bright * (s * v[a + 5]! + t * v[b + 5]! + u * v[c + 5]!)
          layer[at + 3] = 255
          continue
        }
        const gain = cover * bright
        layer[at] = keep * layer[at]! + gain * (s * v[a + 3]! + t * v[b + 3]! + u * v[c + 3]!)
        layer[at + 1] = keep * layer[at + 1]! + gain * (s * v[a + 4]! + t * v[b + 4]! + u * v[c + 4]!)
        layer[at + 2] = keep * layer[at + 2]! + gain * (s * v[a + 5]! + t * v[b + 5]! + u * v[c + 5]!)
        layer[at + 3] = keep * layer[at + 3]! + cover * 255
      }
    }
  }
}
