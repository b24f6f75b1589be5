/** Puts a portrait together: background, body and head, the drawn features, hair and beard in front. */

import { sharp } from '../picture/sharp'
import { cannot } from '../util/shortage'
import type { RgbImage } from '../image'
import { paintBackground } from './background'
import { Beard } from './beard'
import { Camera } from './camera'
import { clothing } from './clothing'
import { drawBrow, drawEye } from './eyes'
import { drawGlasses } from './glasses'
import { Hair } from './hair'
import { Head } from './head'
import type { PortraitIdentity } from './identity'
import { landmarks } from './landmarks'
import { Light } from './light'
import { drawMarks, drawNostrils, drawWrinkles } from './marks'
import type { Point2 } from './maths'
import { type Layer, Raster } from './mesh'
import { drawMouth } from './mouth'
import { Sketch } from './sketch'
import { ear, headMesh, neck, shadeFace, Skin } from './skin'
import type { PortraitState } from './state'

/** Samples per pixel along each axis for everything that is not SVG. */
const SAMPLES = 2

/** A picture, also one for `restore` and `degrade`, and where its landmarks are. */
export interface Portrait extends RgbImage {
  channels: 3
  /** Pixels, in the order of `PORTRAIT_LANDMARKS`. */
  landmarks: [number, number][]
}

/** Draws; the arguments are checked by the caller. */
export async function drawPortrait(identity: PortraitIdentity, state: PortraitState, size: number): Promise<Portrait> {
  const head = new Head(identity, state)
  const camera = new Camera(state, head)
  const light = new Light(state)
  const sketch = new Sketch(head, camera)
  drawFeatures(sketch, identity, state, light)
  // The SVG is rasterised on another thread while the surfaces are drawn here.
  const features = sharp(Buffer.from(sketch.svg(size)))
    .ensureAlpha()
    .raw()
    .toBuffer()
    .catch(cannot('draw a portrait'))
  const raster = new Raster(size * SAMPLES)
  const hair = new Hair(identity, head)
  const under = drawBody(raster, head, camera, light, identity, state, hair)
  const over = drawHair(raster, hair, new Beard(identity, head), camera, light)
  const data = compose(under, await features, over, size)
  const scale = size / 512
  const points = landmarks(sketch, identity, state).map(([x, y]): Point2 => [x * scale, y * scale])
  return { data, width: size, height: size, channels: 3, landmarks: points }
}

function drawFeatures(sketch: Sketch, identity: PortraitIdentity, state: PortraitState, light: Light): void {
  drawWrinkles(sketch, identity, state)
  drawMarks(sketch, identity)
  drawNostrils(sketch, identity)
  drawMouth(sketch, identity, state, light)
  for (const side of [-1, 1] as const) {
    drawEye(sketch, identity, state, light, side)
    drawBrow(sketch, identity, state, side)
  }
  drawGlasses(sketch, identity, state)
}

function drawBody(
  raster: Raster,
  head: Head,
  camera: Camera,
  light: Light,
  identity: PortraitIdentity,
  state: PortraitState,
  hair: Hair,
): Layer {
  const layer = raster.layer()
  paintBackground(layer, raster.side / SAMPLES, SAMPLES, state)
  const skin = new Skin(identity, light)
  const face = headMesh(head, camera)
  shadeFace(face, skin, head, identity, state, (position) => hair.shadow(position))
  raster.draw(layer, face)
  for (const side of [-1, 1] as const) raster.draw(layer, ear(head, camera, skin, identity, side))
  raster.draw(layer, neck(head, camera, skin, identity))
  raster.draw(layer, clothing(camera, light, identity, state))
  return layer
}

function drawHair(raster: Raster, hair: Hair, beard: Beard, camera: Camera, light: Light): Layer {
  const layer = raster.layer()
  for (const mesh of hair.meshes(camera, light)) raster.draw(layer, mesh, { contrast: 0.3, softness: hair.softness })
  const mesh = beard.mesh(camera, light)
  if (mesh) raster.draw(layer, mesh, { contrast: 0.3, softness: beard.softness })
  return layer
}

/** Averages the samples of the two layers and lays the SVG between them. */
function compose(under: Layer, features: Uint8Array, over: Layer, size: number): Uint8Array {
  const data = new Uint8Array(size * size * 3)
  const side = size * SAMPLES
  const samples = SAMPLES * SAMPLES
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const first = (y * SAMPLES * side + x * SAMPLES) * 4
      const pixel = y * size + x
      const drawn = features[pixel * 4 + 3]! / 255
      for (let k = 0; k < 3; k++) {
        let [back, front, cover] = [0, 0, 0]
        for (let j = 0; j < SAMPLES; j++) {
          for (let i = 0; i < SAMPLES; i++) {
            const at = first + (j * side + i) * 4
            back += under[at + k]!
            cover += over[at + 3]!
            front += over[at + k]!
          }
        }
        const behind = (back / samples) * (1 - drawn) + features[pixel * 4 + k]! * drawn
        data[pixel * 3 + k] = Math.min(255, Math.round(behind * (1 - cover / samples / 255) + front / samples))
      }
    }
  }
  return data
}
