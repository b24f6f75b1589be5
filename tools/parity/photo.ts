/** Faces in photographs: where they lie, how they are cut out, and how they are pasted back. */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { capturePictures } from '../../dist/image.js'
import type { Tensor } from '../../dist/ops/index.js'
import { alignFace, type Alignment, BORDER_MODES, type BorderMode, templateFor } from '../../dist/photo/alignment.js'
import type { Point } from '../../dist/photo/anchors.js'
import { faceCrop } from '../../dist/photo/face-crop.js'
import { pasteBack, type PasteMask } from '../../dist/photo/paste-back.js'
import { allocatePixels, type PhotoPixels } from '../../dist/photo/pixels.js'
import { type AffineMatrix, type Five, inverseOf, leastSquares, mapped } from '../../dist/photo/similarity.js'
import type { Golden, Json } from './golden'
import type { Run } from './run'
import { LIMITS } from './sheet'

interface AlignConfig {
  face_size: number
  crop_scale: number
  crop_shift_y: number
}

const MAX_PIXELS = 1 << 24

function optionsOf({ face_size, crop_scale, crop_shift_y }: AlignConfig, border: BorderMode = 'constant') {
  return { size: face_size, cropScale: crop_scale, cropShift: crop_shift_y, border }
}

/** Points [x, y] of a flat list. */
function points(values: ArrayLike<number>): Point[] {
  return Array.from({ length: values.length / 2 }, (_, i) => [values[2 * i]!, values[2 * i + 1]!] as const)
}

const five = (values: ArrayLike<number>) => points(values) as unknown as Five<Point>
const numbersOf = (tensor: Tensor) => Array.from(tensor.data as Float64Array)

/** `face_align`: template, matrices, and the crop with every border. */
export async function compareFaceAlign(golden: Golden, run: Run): Promise<void> {
  const config = golden.json<AlignConfig>('config')
  const landmarks = five(numbersOf(golden.read('input.landmarks')))
  const expected = (name: string) => numbersOf(golden.read(name))
  const template = templateFor(optionsOf(config))
  run.intermediate('template', template.flat(), expected('intermediate.template'), LIMITS.exact)
  const { matrix, inverse, inliers } = alignFace(landmarks, optionsOf(config))
  run.compare('affine_lmeds', matrix, expected('output.affine_lmeds'), LIMITS.alignment)
  run.compare('inverse_affine_lmeds', inverse, expected('output.inverse_affine_lmeds'), LIMITS.alignment)
  run.compare('lmeds_inliers', inliers.map(Number), expected('output.lmeds_inliers'), LIMITS.exact)
  const plain = leastSquares(landmarks, template)
  run.compare('affine_least_squares', plain, expected('output.affine_least_squares'), LIMITS.alignment)
  for (const border of BORDER_MODES) {
    const crop = await pixelsOf(golden, `output.aligned_${border}`, `${nameOf(golden)}.aligned_${border}.png`)
    const image = await pixelsOf(golden, 'input.image_rgb_u8', `${nameOf(golden)}.image.png`)
    if (!crop || !image) continue
    const found = await faceCrop(image, alignFace(landmarks, optionsOf(config, border)))
    run.compare(`aligned_${border}`, found.data, crop.data, LIMITS.exact)
  }
}

interface Parameters extends Omit<AlignConfig, 'face_size'> {
  face_width: number
  landmarks: number[][]
  template: number[][]
  affine_matrix: number[][]
  inverse_affine: number[][]
}

/** `face_align_params`: what the published workflow keeps of an alignment, in float32. */
export function compareAlignmentParameters(json: Json, run: Run): Promise<void> {
  const { face_width, landmarks, template, ...rest } = json as unknown as Parameters
  const options = optionsOf({ face_size: face_width, ...rest })
  run.compare('template', templateFor(options).flat(), template.flat(), LIMITS.exact)
  const { matrix, inverse } = alignFace(five(landmarks.flat()), options)
  run.compare('affine_matrix', matrix, rest.affine_matrix.flat(), LIMITS.alignment)
  run.compare('inverse_affine', inverse, rest.inverse_affine.flat(), LIMITS.alignment)
  return Promise.resolve()
}

/** `landmark_table`: many faces, a row each. */
export function compareLandmarkTable(golden: Golden, run: Run): Promise<void> {
  const options = optionsOf(golden.json<AlignConfig>('config'))
  const template = templateFor(options)
  run.compare('template', template.flat(), numbersOf(golden.read('input.template')), LIMITS.exact)
  const all = numbersOf(golden.read('input.landmarks'))
  const rows = Array.from({ length: all.length / 10 }, (_, i) => five(all.slice(10 * i, 10 * i + 10)))
  const fits = rows.map((landmarks) => alignFace(landmarks, options))
  const expected = (name: string) => numbersOf(golden.read(`output.${name}`))
  const matrices = fits.flatMap(({ matrix }) => matrix)
  run.compare('affine_lmeds', matrices, expected('affine_lmeds'), LIMITS.alignment, `${rows.length} faces`)
  const inliers = fits.flatMap(({ inliers }) => inliers.map(Number))
  run.compare('lmeds_inliers', inliers, expected('lmeds_inliers'), LIMITS.exact)
  const plain = rows.flatMap((landmarks) => leastSquares(landmarks, template))
  run.compare('affine_least_squares', plain, expected('affine_least_squares'), LIMITS.alignment)
  return Promise.resolve()
}

interface PasteConfig {
  face_size: number
  /** The photograph, relative to the folder above the case's. */
  image?: string
}

/** `paste_back`: mask and picture for every softness, with black beyond the crop as the published workflow has it. */
export async function comparePasteBack(golden: Golden, run: Run): Promise<void> {
  const { face_size: size, image } = golden.json<PasteConfig>('config')
  const photo = await pixelsOf(golden, 'input.image_rgb_u8', image === undefined ? undefined : `../${image}`)
  const restored = await pixelsOf(golden, 'input.restored_rgb_u8', `${nameOf(golden)}.restored.png`)
  if (!photo || !restored) throw new Error('its photograph or its restored face is missing')
  const alignment = placedAt(numbersOf(golden.read('input.inverse_affine')), size)
  for (const name of golden.names('output.mask_')) {
    const softness = Number(name.replace('p', '.'))
    const pasted = copyOf(photo)
    const face = { ...restored, channels: 3 as const }
    const mask = await pasteBack(pasted, face, alignment, { softness, beyond: 'black', maskType: 'f32' })
    run.compare(`mask_${name}`, spread(mask, photo), numbersOf(golden.read(`output.mask_${name}`)), LIMITS.pasteMask)
    const composed = await pixelsOf(golden, `output.composed_${name}`, `${nameOf(golden)}.composed_${name}.png`)
    if (composed) run.compare(`composed_${name}`, pasted.data, composed.data, LIMITS.pastedPixels)
  }
  run.untraced(golden.names('intermediate.'))
}

/** An alignment of which only the place is known. */
function placedAt(numbers: readonly number[], size: number): Alignment {
  const inverse = numbers as unknown as AffineMatrix
  const crop = { size, border: 'constant', cropScale: 1, cropShift: 0 } as const
  const landmarks = templateFor(crop).map((point) => mapped(inverse, point)) as unknown as Five<Point>
  return { ...crop, matrix: inverseOf(inverse), inverse, landmarks, inliers: [true, true, true, true, true] }
}

/** A mask as large as its photograph. */
function spread({ left, top, width, height, data }: PasteMask, photo: PhotoPixels): Float32Array {
  const whole = new Float32Array(photo.width * photo.height)
  for (let y = 0; y < height; y++) whole.set(data.subarray(y * width, (y + 1) * width), (top + y) * photo.width + left)
  return whole
}

function copyOf(photo: PhotoPixels): PhotoPixels {
  const copy = allocatePixels(photo.width, photo.height, photo.channels)
  copy.data.set(photo.data)
  return copy
}

/** The case's name, which the pictures beside it bear too. */
function nameOf(golden: Golden): string {
  return path.basename(golden.path, '.safetensors')
}

/** Pixels that are a tensor of the case, or else a picture beside it. */
async function pixelsOf(golden: Golden, tensor: string, file: string | undefined): Promise<PhotoPixels | undefined> {
  if (golden.has(tensor)) {
    const { shape, data } = golden.read(tensor)
    return pixelsFrom(data as Uint8Array, shape[1]!, shape[0]!)
  }
  const picture = file === undefined ? undefined : golden.beside(file)
  if (picture === undefined || !existsSync(picture)) return undefined
  const [captured] = capturePictures([{ name: picture, image: picture }], MAX_PIXELS)
  const { data, width, height } = await captured!.read()
  return pixelsFrom(data, width, height)
}

function pixelsFrom(data: Uint8Array, width: number, height: number): PhotoPixels {
  const pixels = allocatePixels(width, height, 3)
  pixels.data.set(data)
  return pixels
}
