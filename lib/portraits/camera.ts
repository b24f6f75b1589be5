/**
 * Pose, perspective and the FFHQ alignment: from head coordinates to pixels of the 512 px template.
 */

import type { Head } from './head'
import { type Point2, type Point3, radians } from './maths'
import type { PortraitState } from './state'

/** Eyes, nose tip and mouth corners in the 512 px FFHQ template, image left first. */
const FFHQ_TEMPLATE: readonly Point2[] = [
  [192.98, 239.95],
  [318.9, 240.19],
  [256.63, 314.02],
  [201.26, 371.41],
  [313.09, 371.15],
]

/** Template pixels from the viewer to the head's middle: about 1.2 m. */
const DISTANCE = 2000

/** The neck's joint, about which the head turns. */
const PIVOT: Point3 = [0, 110, -20]

/** A rotation, by rows. */
type Rotation = readonly [number, number, number, number, number, number, number, number, number]

/** A rigid pose: the head's own, or the body's, which follows the head a little. */
export class Pose {
  readonly #r: Rotation

  constructor(yaw: number, pitch: number, roll: number) {
    const [a, b, c] = [radians(yaw), radians(-pitch), radians(roll)]
    const [ca, sa, cb, sb, cc, sc] = [Math.cos(a), Math.sin(a), Math.cos(b), Math.sin(b), Math.cos(c), Math.sin(c)]
    // Roll x pitch x yaw.
    this.#r = [
      ...([cc * ca - sc * sb * sa, -sc * cb, cc * sa + sc * sb * ca] as const),
      ...([sc * ca + cc * sb * sa, cc * cb, sc * sa - cc * sb * ca] as const),
      ...([-cb * sa, sb, cb * ca] as const),
    ]
  }

  direction([x, y, z]: Point3): Point3 {
    const r = this.#r
    return [r[0] * x + r[1] * y + r[2] * z, r[3] * x + r[4] * y + r[5] * z, r[6] * x + r[7] * y + r[8] * z]
  }

  apply([x, y, z]: Point3): Point3 {
    const [dx, dy, dz] = this.direction([x - PIVOT[0], y - PIVOT[1], z - PIVOT[2]])
    return [dx + PIVOT[0], dy + PIVOT[1], dz + PIVOT[2]]
  }
}

export class Camera {
  readonly head: Pose
  readonly body: Pose
  // Image = (a x - b y + tx, b x + a y + ty).
  #a = 1
  #b = 0
  #tx = 0
  #ty = 0

  constructor(state: PortraitState, head: Head) {
    this.head = new Pose(state.yaw, state.pitch, state.tilt)
    this.body = new Pose(state.yaw * 0.35, state.pitch * 0.1, state.tilt * 0.1)
    this.#align(fivePoints(head).map((point) => this.#perspective(this.head.apply(point))))
    this.#crop(state)
  }

  /** Pixels of one unit at the head's middle, in the template. */
  get scale(): number {
    return Math.sqrt(this.#a * this.#a + this.#b * this.#b)
  }

  /** A point of the head (or body) to [x, y, depth]: template pixels, and larger depth is nearer. */
  project(point: Point3, pose: Pose = this.head): Point3 {
    const posed = pose.apply(point)
    const [x, y] = this.#perspective(posed)
    return [this.#a * x - this.#b * y + this.#tx, this.#b * x + this.#a * y + this.#ty, posed[2]]
  }

  /** A direction (a normal) of the head or body as the image sees it. */
  direction(direction: Point3, pose: Pose = this.head): Point3 {
    const [x, y, z] = pose.direction(direction)
    const s = this.scale
    return [(this.#a * x - this.#b * y) / s, (this.#b * x + this.#a * y) / s, z]
  }

  #perspective([x, y, z]: Point3): Point2 {
    const near = DISTANCE / (DISTANCE - z + 150)
    return [x * near, y * near]
  }

  /** The similarity that brings the five points nearest to the template (least squares). */
  #align(points: readonly Point2[]): void {
    const mean = (of: readonly Point2[], k: 0 | 1) => of.reduce((sum, p) => sum + p[k], 0) / of.length
    const [mx, my] = [mean(points, 0), mean(points, 1)]
    const [qx, qy] = [mean(FFHQ_TEMPLATE, 0), mean(FFHQ_TEMPLATE, 1)]
    let [along, across, square] = [0, 0, 0]
    for (const [i, [x, y]] of points.entries()) {
      const [u, v] = [FFHQ_TEMPLATE[i]![0] - qx, FFHQ_TEMPLATE[i]![1] - qy]
      along += (x - mx) * u + (y - my) * v
      across += (x - mx) * v - (y - my) * u
      square += (x - mx) ** 2 + (y - my) ** 2
    }
    this.#a = along / square
    this.#b = across / square
    this.#tx = qx - this.#a * mx + this.#b * my
    this.#ty = qy - this.#b * mx - this.#a * my
  }

  /** The state's own framing, about the image's middle; a third of the tilt survives the alignment. */
  #crop(state: PortraitState): void {
    const angle = radians(state.tilt * 0.35)
    const [c, s] = [Math.cos(angle) * state.cropScale, Math.sin(angle) * state.cropScale]
    const [a, b] = [this.#a, this.#b]
    const [x, y] = [this.#tx - 256, this.#ty - 270]
    this.#a = c * a - s * b
    this.#b = s * a + c * b
    this.#tx = c * x - s * y + 256 + state.cropX
    this.#ty = s * x + c * y + 270 + state.cropY
  }
}

/** Eyes, nose tip, mouth corners on the head, image left first. */
export function fivePoints(head: Head): Point3[] {
  const { eyeX, eyeY, noseTipY, mouthHalfWidth } = head.features
  const corner = mouthCornerY(head)
  return [
    head.point(-eyeX, eyeY),
    head.point(eyeX, eyeY),
    head.point(0, noseTipY),
    head.point(-mouthHalfWidth, corner),
    head.point(mouthHalfWidth, corner),
  ]
}

/** Height of the mouth's corners: a smile lifts them. */
export function mouthCornerY(head: Head): number {
  return head.features.mouthY - 3 - head.smileLift
}
