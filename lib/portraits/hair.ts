/**
 * Hair: one shell around the skull per style, covered by a texture of strands. Where the shell ends (hairline, fringe,
 * curtain, nape), how far it stands off and which way its strands run make the style.
 */

import type { Camera } from './camera'
import { blend, type Colour, ramp } from './colour'
import type { Head } from './head'
import { HAIR_STYLES, type PortraitIdentity } from './identity'
import type { Light } from './light'
import { clamp, curve, mix, type Point3, smoothstep, tabulated } from './maths'
import { Mesh } from './mesh'
import { noise } from './noise'

const HAIR: readonly Colour[] = [
  [22, 18, 19],
  [44, 30, 24],
  [78, 50, 33],
  [120, 82, 50],
  [170, 126, 78],
  [214, 178, 124],
  [238, 218, 180],
]

/** The hair's colour in plain white light. */
export function hairColour(identity: PortraitIdentity): Colour {
  const natural = ramp(HAIR, identity.hairTone)
  const red = blend(natural, [164, 66, 28], 0.75 * identity.hairRed)
  return blend(red, [196, 194, 192], identity.hairGrey * 0.92)
}

/** Keys of (degrees from the front, y). */
type Edge = readonly (readonly [number, number])[]

/** Lower edge of the shell by azimuth in degrees, and the shape between. */
interface Cut {
  /** Height of the shell's lower edge. */
  edge: Edge
  /** How far the hair stands off the skull, at the top and at the sides. */
  top: number
  sides: number
  /** Extra height at the front of the top. */
  quiff?: number
  /** How much wider than the skull the shell is at its lower end. */
  flare?: number
  /** Strands run from a parting instead of from the crown. */
  parted?: boolean
  /** 0 straight strands to 1 curls. */
  curl: number
  /** The front edge hangs free instead of growing from the skin. */
  fringe?: boolean
  /** Lowest density: below 1 the skin shows through. */
  density?: number
  /** No hair above this height at the front and top. */
  bare?: number
}

function cutOf(p: PortraitIdentity): Cut | undefined {
  const line = -122 - 14 * p.hairline
  const temple = line + 20 - 20 * Math.max(0, p.hairline)
  const volume = p.hairVolume
  const length = 215 + 90 * p.hairLength
  const short: Edge = [
    ...([
      [0, line],
      [22, line + 4],
      [36, temple],
      [50, -76],
      [62, -54],
      [71, 12],
      [80, 20],
      [87, -22],
    ] as const),
    ...([
      [97, -16],
      [108, 62],
      [130, 108],
      [180, 116],
    ] as const),
  ]
  const long: Edge = [
    ...([
      [0, line],
      [24, line + 4],
      [38, line + 22],
      [51, -66],
      [59, 60],
      [69, length],
      [180, length + 20],
    ] as const),
  ]
  const fringe = (rest: Edge): Edge => [
    ...([
      [0, -46 + 8 * p.hairLength],
      [30, -42 + 8 * p.hairLength],
      [44, -24],
    ] as const),
    ...rest,
  ]
  const curl = p.hairWave
  switch (HAIR_STYLES[p.hairStyle]) {
    case 'bald':
      return undefined
    case 'buzz':
      return { edge: short, top: 3, sides: 2, curl: 0.9, density: 0.95 }
    case 'short':
      return { edge: short, top: 16 + 5 * volume, sides: 7 + 2 * volume, curl: curl * 0.6 }
    case 'side part':
      return { edge: short, top: 22 + 6 * volume, sides: 8, parted: true, curl: curl * 0.4 }
    case 'quiff':
      return { edge: short, top: 24 + 6 * volume, sides: 5, quiff: 26 + 10 * volume, curl: curl * 0.4 }
    case 'curly crop':
      return { edge: short, top: 34 + 9 * volume, sides: 20 + 5 * volume, curl: 1 }
    case 'afro':
      return { edge: afro(short), top: 66 + 22 * volume, sides: 56 + 20 * volume, flare: 0.05, curl: 1.3 }
    case 'bob':
      return {
        edge: [
          [0, line],
          [24, line + 4],
          [40, line + 22],
          [50, -70],
          [57, 30],
          [64, 118],
          [180, 128 + 12 * p.hairLength],
        ],
        top: 20 + 6 * volume,
        sides: 24 + 8 * volume,
        flare: 0.16,
        parted: true,
        curl: curl * 0.6,
      }
    case 'bob with fringe':
      return {
        edge: fringe([
          [52, 40],
          [60, 122 + 16 * p.hairLength],
          [180, 130 + 16 * p.hairLength],
        ]),
        top: 22 + 5 * volume,
        sides: 22 + 8 * volume,
        flare: 0.14,
        curl: curl * 0.4,
        fringe: true,
      }
    case 'long':
      return {
        edge: long,
        top: 20 + 7 * volume,
        sides: 22 + 9 * volume,
        flare: 0.22,
        parted: true,
        curl: curl * 0.8,
      }
    case 'long with fringe':
      return {
        edge: fringe([
          [54, 40],
          [64, length],
          [180, length + 20],
        ]),
        top: 22 + 6 * volume,
        sides: 20 + 8 * volume,
        flare: 0.2,
        curl: curl * 0.5,
        fringe: true,
      }
    case 'bun':
      return { edge: short, top: 11 + 3 * volume, sides: 6, curl: 0.1 }
    case 'receding':
      return {
        edge: short.map(([a, y]) => [a, a < 40 ? Math.min(y, -150) : y]),
        top: 9,
        sides: 9,
        curl: curl * 0.5,
        bare: -128,
      }
    default:
      return {
        edge: [
          [0, -74],
          [26, -66],
          [44, -50],
          [58, -30],
          [66, 18],
          [78, 30],
          [87, -10],
          [97, -5],
          [108, 66],
          [180, 122],
        ],
        top: 24 + 6 * volume,
        sides: 15 + 4 * volume,
        parted: true,
        curl: curl * 0.5,
        fringe: true,
      }
  }
}

function afro(edge: Edge): Edge {
  return edge.map(([angle, y]) => [angle, angle > 68 ? Math.max(y, 40) : y] as const)
}

const COLUMNS = 81
const ROWS = 31

export class Hair {
  readonly colour: Colour
  readonly #p: PortraitIdentity
  readonly #head: Head
  readonly #cut: Cut | undefined
  readonly #edge: (degrees: number) => number
  readonly #partX: number

  constructor(identity: PortraitIdentity, head: Head) {
    this.#p = identity
    this.#head = head
    this.colour = hairColour(identity)
    this.#cut = cutOf(identity)
    this.#edge = this.#cut ? tabulated(curve(this.#cut.edge), 0, 180) : () => -1000
    this.#partX = 50 * identity.hairPart
  }

  /** Light that hair leaves to the skin below it: less next to its edge. */
  shadow([x, y, z]: Point3): number {
    if (!this.#cut) return 1
    const below = y - this.#lowerEdge(Math.atan2(x, z * 0.8))
    const strength = this.#cut.bare !== undefined ? 0.12 : this.#cut.density ? 0.12 : this.#cut.fringe ? 0.34 : 0.2
    return 1 - strength * (1 - smoothstep(-4, this.#cut.fringe ? 34 : 24, below))
  }

  #lowerEdge(theta: number): number {
    const degrees = (Math.abs(theta) * 180) / Math.PI
    // A side parting lifts one side of the front and lowers the other.
    const sweep = this.#cut?.parted && this.#cut.fringe ? 16 * this.#p.hairPart * Math.sin(theta) : 0
    return this.#edge(degrees) + sweep
  }

  /** See `Strands`: cropped hair is a veil over the skin. */
  get softness(): number {
    return this.#cut?.density ? 1.1 : 0.5
  }

  meshes(camera: Camera, light: Light): Mesh[] {
    if (!this.#cut) return []
    const meshes = [this.#shell(camera, light, this.#cut)]
    if (HAIR_STYLES[this.#p.hairStyle] === 'bun') meshes.push(this.#bun(camera, light))
    return meshes
  }

  #shell(camera: Camera, light: Light, cut: Cut): Mesh {
    const seed = this.#p.hairSeed
    const along = (row: number) => row / (ROWS - 1)
    const place = (column: number, row: number): Point3 => {
      const theta = azimuth(column)
      const t = along(row)
      const edge = this.#lowerEdge(theta)
      const crown = this.#head.features.crownY
      const y = mix(crown, edge, t)
      return this.#standOff(cut, theta, y, edge)
    }
    const mesh = new Mesh(camera, COLUMNS, ROWS, place)
    const curl = cut.curl
    const u = (column: number, position: Point3) => this.#across(cut, azimuth(column), position)
    mesh.strands((index, position) => {
      const column = index % COLUMNS
      const t = along((index - column) / COLUMNS)
      const theta = azimuth(column)
      const wave = 5 * curl * Math.sin(position[1] * 0.09 + Math.sin(theta * 7 + seed) * 2)
      const across = u(column, position) * mix(2.6, 1.5, clamp(curl)) + wave + seed
      const fade = cut.density ?? 1.3
      const bare = cut.bare === undefined ? 1 : this.#bareness(position, cut.bare)
      const end = 1 - smoothstep(cut.fringe || (cut.flare ?? 0) > 0.1 ? 0.9 : 0.78, 1, t)
      return [across + 1024, position[1] * mix(0.035, 0.9, clamp(curl) ** 2) + 1024, Math.min(fade, end * 1.7) * bare]
    })
    const shades = this.#shades()
    return mesh.shade(({ index, column, row, normal, position }) => {
      const tangent = strandDirection(mesh, index, column, row, u)
      return strandLight(
        light,
        normal,
        camera.direction(tangent),
        shades,
        mix(1, 0.35, clamp(curl)),
        this.#depth(position, along(row)),
      )
    })
  }

  #bareness([x, y, z]: Point3, bare: number): number {
    const top = 1 - smoothstep(bare + 10, bare + 60, y)
    const front = smoothstep(-60, 40, z) * (1 - smoothstep(108, 128, Math.abs(x)))
    return 1 - clamp(top * 0.75 + front)
  }

  /** Darker inside: near the neck, and under the outer layers. */
  #depth([, y, z]: Point3, t: number): number {
    return (
      (1 - 0.3 * smoothstep(60, 200, y) * (1 - smoothstep(-60, 40, z))) *
      (1 - (this.#cut?.fringe ? 0.22 : 0.06) * smoothstep(0.8, 1, t))
    )
  }

  /** The shell's point: the skull's oval, grown by the hair's thickness, and hanging straight below the ears. */
  #standOff(cut: Cut, theta: number, y: number, edge: number): Point3 {
    const head = this.#head
    const { crownY } = head.features
    const cosine = Math.cos(theta)
    const frontness = smoothstep(0.2, 0.9, cosine)
    const rough = cut.curl > 0.5 ? (cut.curl - 0.4) * 0.13 : 0.02
    const bumpy = 1 + rough * 2 * noise(theta * 14 + this.#p.hairSeed, y * 0.22 + 300)
    const high = smoothstep(20, -120, y)
    const grow = (mix(cut.sides, cut.top, high) + (cut.quiff ?? 0) * frontness * smoothstep(-80, -170, y)) * bumpy
    // Hair that grows from the hairline leaves the skin gradually; a fringe or curtain hangs in front of it.
    const rooted = cut.fringe
      ? 1
      : mix(1, smoothstep(0, cut.curl >= 1 ? 64 : 34, edge - y), y < 40 || cut.curl >= 1 ? 1 : 0)
    const thickness = 2.5 + grow * mix(0.25, 1, rooted)
    const level = Math.min(y, 30)
    const hang = Math.max(0, y - 30)
    const lateral = 1 + ((cut.flare ?? 0) * hang) / 190
    const wave = hang > 0 ? 7 * cut.curl * Math.sin(y * 0.055 + theta * 3) * smoothstep(0, 60, hang) : 0
    const width = (head.width(level) + thickness) * lateral + wave
    const x = width * Math.sin(theta)
    const up = smoothstep(-60, crownY, y) * thickness * 0.95
    if (cosine <= 0) return [x, y - up, -(head.back(level) + thickness) * (-cosine) ** 0.8]
    return [x, y - up, (head.front(level) + thickness) * cosine ** 0.8]
  }

  /** The coordinate across strands, in pixels: constant along each strand. */
  #across(cut: Cut, theta: number, [x, y, z]: Point3): number {
    const degrees = (theta * 180) / Math.PI
    if (!cut.parted) return degrees
    const side = x < this.#partX * smoothstep(40, -120, y) ? -1 : 1
    const around = 95 - (Math.atan2(z, -(y - 20)) * 180) / Math.PI
    return side * mix(around, Math.abs(degrees), 0.3 + 0.7 * smoothstep(-110, 10, y)) + 180
  }

  #shades(): Shades {
    return { base: this.colour, shine: blend(this.colour, [255, 244, 226], 0.42) }
  }

  #bun(camera: Camera, light: Light): Mesh {
    const [columns, rows] = [25, 13]
    const { crownY } = this.#head.features
    const radius = 50 + 10 * this.#p.hairVolume
    const place = (column: number, row: number): Point3 => {
      const theta = mix(-Math.PI, Math.PI, column / (columns - 1))
      const phi = mix(0.05, Math.PI - 0.05, row / (rows - 1))
      const swell = 1 + 0.06 * Math.sin(theta * 2 + phi * 3)
      return [
        Math.sin(theta) * Math.sin(phi) * radius * 1.15 * swell,
        crownY - 4 - Math.cos(phi) * radius * 0.8 * swell,
        -60 + Math.cos(theta) * Math.sin(phi) * radius * swell,
      ]
    }
    const mesh = new Mesh(camera, columns, rows, place)
    const u = (column: number, position: Point3) => column * 8 + (position[1] - crownY) * 1.3
    mesh.strands((index, position) => [u(index % columns, position) * 2 + 1024, position[1] * 0.06 + 1024, 1.5])
    const shades = this.#shades()
    return mesh.shade(({ index, column, row, normal }) => {
      const tangent = strandDirection(mesh, index, column, row, u)
      return strandLight(light, normal, camera.direction(tangent), shades, 1, 0.95)
    })
  }
}

function azimuth(column: number): number {
  const t = (column / (COLUMNS - 1)) * 2 - 1
  return t * Math.PI
}

interface Shades {
  base: Colour
  shine: Colour
}

/** Direction along the strands at a vertex: where the coordinate across them does not change. */
function strandDirection(
  mesh: Mesh,
  index: number,
  column: number,
  row: number,
  across: (column: number, position: Point3) => number,
): Point3 {
  const c = column < mesh.columns - 1 ? 1 : -1
  const r = row < mesh.rows - 1 ? mesh.columns : -mesh.columns
  const [here, right, below] = [mesh.position(index), mesh.position(index + c), mesh.position(index + r)]
  const value = across(column, here)
  const du = across(column + c, right) - value
  const dv = across(column, below) - value
  // A jump is a parting: there strands run down.
  const [a, b] = Math.abs(du) > 60 || (du === 0 && dv === 0) ? [0, 1] : [dv, -du]
  const t: Point3 = [
    a * (right[0] - here[0]) + b * (below[0] - here[0]),
    a * (right[1] - here[1]) + b * (below[1] - here[1]),
    a * (right[2] - here[2]) + b * (below[2] - here[2]),
  ]
  const length = Math.sqrt(t[0] * t[0] + t[1] * t[1] + t[2] * t[2]) || 1
  return [t[0] / length, t[1] / length, t[2] / length]
}

/** Colour of strands in the light. */
export function strandLight(
  light: Light,
  normal: Point3,
  tangent: Point3,
  shades: Shades,
  gloss: number,
  depth: number,
): Colour {
  const facing: Point3 = normal[2] < 0 ? [-normal[0], -normal[1], -normal[2]] : normal
  const diffuse = light.diffuse(facing, 0.25)
  const rim = 0.55 + 0.45 * smoothstep(0, 0.7, facing[2])
  const shine =
    gloss * (0.5 * light.sheen(tangent, 40) + 0.22 * light.sheen(tangent, 9)) * smoothstep(0, 0.6, facing[2])
  const { base } = shades
  const dim = rim * depth
  const lit: Colour = [base[0] * diffuse[0] * dim, base[1] * diffuse[1] * dim, base[2] * diffuse[2] * dim]
  return blend(lit, shades.shine, clamp(shine * depth * 0.8))
}
