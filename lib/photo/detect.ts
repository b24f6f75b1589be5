/**
 * Finds faces in photographs with RetinaFace.
 *
 * @example
 * await using detector = await FaceDetector.load('retinaface_r34.safetensors')
 * const [face] = await detector.detect({ data, width, height })
 */
import { openSafetensors } from '../checkpoint/safetensors'
import { expectation, IConFaceError, invalid } from '../errors'
import type { RgbImage } from '../image'
import { type Checkpoint, Networks, type NetworksOptions, type StoredTensor } from '../networks'
import { integer, known, number, oneOf } from '../options'
import { decodeFaces, type DetectedFace } from './anchors'
import {
  type Attempt,
  detectionAttempts,
  detectorSize,
  FACE_SELECTIONS,
  type FaceSelection,
  selectFace,
} from './policy'

export interface DetectOptions {
  /** Pictures whose short side is below it are enlarged to it first, 0 to 4096; 0: none is. Default 640. */
  shortSide?: number
  /** Only faces with a score above it, 0 to 1. Default 0.6. */
  confidence?: number
  /** Faces that overlap a better one by more than this share (intersection over union) are dropped. Default 0.4. */
  overlap?: number
}

export interface FindOptions extends DetectOptions {
  /** Which of several faces is meant. Default `largest`. */
  selection?: FaceSelection
}

const DEFAULTS = { shortSide: 640, confidence: 0.6, overlap: 0.4 }
const MOST = { candidates: 5000, faces: 750 }

/** A RetinaFace network (MobileNet 0.25 or ResNet-34) with a thread of its own. Pictures are looked at one after the other. */
export class FaceDetector {
  private constructor(private readonly networks: Networks) {}

  /**
   * @param file  A safetensors file under the published names; `iconface convert` makes one of a `.pth` file.
   * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT` when the file is malformed, or holds no such network;
   *         `ERR_ICONFACE_FILE_NOT_FOUND`, `ERR_ICONFACE_IO`, `ERR_ICONFACE_OUT_OF_MEMORY`.
   */
  static async load(file: string, options: Omit<NetworksOptions, 'precision'> = {}): Promise<FaceDetector> {
    return new FaceDetector(await Networks.load(detectorCheckpoint(file), { ...options, precision: 'f32' }))
  }

  /**
   * All faces, best first.
   *
   * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT`, `ERR_ICONFACE_OUT_OF_MEMORY`, `ERR_ICONFACE_DISPOSED`.
   */
  async detect(image: RgbImage, options: DetectOptions = {}): Promise<DetectedFace[]> {
    known('detect', options, Object.keys(DEFAULTS))
    return this.look(image, check(options))
  }

  /**
   * The face meant. Where none is found, larger sizes and then lower confidences are tried (960 and 1280 pixels, 0.45 and
   * 0.3).
   *
   * @throws {IConFaceError} `ERR_ICONFACE_INVALID_IMAGE`, naming every attempt, when there is none; and what `detect` throws.
   */
  async find(image: RgbImage, options: FindOptions = {}): Promise<DetectedFace> {
    known('find', options, [...Object.keys(DEFAULTS), 'selection'])
    const { selection = 'largest' } = options
    oneOf('selection', selection, FACE_SELECTIONS)
    const { shortSide, confidence, overlap } = check(options)
    const attempts = detectionAttempts(shortSide, confidence)
    for (const attempt of attempts) {
      const faces = await this.look(image, { ...attempt, overlap })
      if (faces.length > 0) return faces[selectFace(faces, selection, image.height, image.width)]!
    }
    const tried = attempts.map((attempt) => `${attempt.shortSide} px above ${attempt.confidence}`).join(', ')
    throw new IConFaceError('ERR_ICONFACE_INVALID_IMAGE', `there is no face in the picture (looked for at ${tried})`)
  }

  dispose(): Promise<void> {
    return this.networks.dispose()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  private async look(image: RgbImage, { shortSide, confidence, overlap }: Attempt & { overlap: number }) {
    const { data, width, height } = image
    integer('width', width, 1, 65535)
    integer('height', height, 1, 65535)
    if (data.length !== width * height * 3) throw invalid('data', `${width * height * 3} bytes (RGB)`, data)
    const size = detectorSize(height, width, shortSide)
    const pixels = { dtype: 'u8' as const, shape: [height, width, 3], data }
    const result = await this.networks.run('face_detection', { pixels }, { height: size.height, width: size.width })
    const predictions = {
      boxes: result.boxes.data as Float32Array,
      logits: result.logits.data as Float32Array,
      landmarks: result.landmarks.data as Float32Array,
    }
    if (!predictions.logits.every(Number.isFinite)) {
      throw new IConFaceError('ERR_ICONFACE_NUMERICAL', "the face detector's scores are not finite; are its weights?")
    }
    const faces = decodeFaces(predictions, size.height, size.width, { confidence, overlap, ...MOST })
    return size.scale === 1 ? faces : faces.map((face) => shrunk(face, size.scale))
  }
}

function check(options: DetectOptions): Required<DetectOptions> {
  const { shortSide, confidence, overlap } = { ...DEFAULTS, ...options }
  integer('shortSide', shortSide, 0, 4096)
  number('confidence', confidence, 0, 1)
  number('overlap', overlap, 0, 1)
  return { shortSide, confidence, overlap }
}

/** From the network's pixels to the picture's. */
function shrunk({ box, score, landmarks }: DetectedFace, scale: number): DetectedFace {
  const point = ([x, y]: readonly [number, number]) => [x / scale, y / scale] as const
  const [a, b, c, d, e] = landmarks
  return {
    box: [box[0] / scale, box[1] / scale, box[2] / scale, box[3] / scale],
    score,
    landmarks: [point(a), point(b), point(c), point(d), point(e)],
  }
}

/** Other names of the same tensors: those of the other PyTorch implementation, and of parallel training. */
const OTHER_NAMES: readonly (readonly [RegExp, string])[] = [
  [/^module\./, ''],
  [/^body\./, 'fx.'],
  [/^BboxHead\.(\d)\.conv1x1\./, 'bbox_head.bbox_head.$1.'],
  [/^ClassHead\.(\d)\.conv1x1\./, 'class_head.class_head.$1.'],
  [/^LandmarkHead\.(\d)\.conv1x1\./, 'landmark_head.landmark_head.$1.'],
]

/** A file of RetinaFace's weights as a checkpoint for {@link Networks}. */
export function detectorCheckpoint(file: string): Checkpoint {
  const { path, fileSize, tensors } = openSafetensors(file)
  const named: Record<string, StoredTensor> = {}
  for (const [name, tensor] of tensors) {
    if (name.endsWith('.num_batches_tracked')) continue
    const canonical = OTHER_NAMES.reduce((text, [pattern, to]) => text.replace(pattern, to), name)
    named[`detector.${canonical}`] = { file: 0, ...tensor }
  }
  if (!('detector.fpn.output1.0.weight' in named)) {
    const message = expectation('the face detector', 'the tensors of a RetinaFace network', path)
    throw new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', message)
  }
  return { files: [{ path, size: fileSize }], tensors: named }
}
