/**
 * Finds faces in photographs with RetinaFace.
 *
 * @example
 * await using detector = await FaceDetector.load('retinaface_r34.safetensors')
 * const [face] = await detector.detect('photo.jpg')
 */
import { showsCaller } from '../util/caller'
import { detectorCheckpoint } from '../checkpoint/detector'
import { IConFaceError, invalid } from '../errors'
import { capturePictures, type ImageInput, ownRgb, type RawImage, type RgbImage } from '../image'
import { checkWithin, LIMITS } from '../limits'
import { Networks, type NetworksOptions } from '../networks/networks'
import {
  checkCompute,
  DEFAULT_MAX_PIXELS,
  checkInteger,
  checkKnown,
  namesOf,
  checkNumber,
  checkOneOf,
} from '../options'
import { isArrayBuffer, isUint8Array, isUrl } from '../util/realm'
import { decodeFaces, type DetectedFace, type Point, type Predictions } from './anchors'
import {
  detectionAttempts,
  detectorSize,
  type DetectorSize,
  FACE_SELECTIONS,
  type FaceSelection,
  selectFace,
} from './policy'

/** How faces are looked for. */
export interface DetectOptions {
  /** Pictures whose short side is below it are enlarged to it first, 0 to 4096; 0: none is. Default 640. */
  shortSide?: number | undefined
  /** Only faces with a score above it, 0 to 1. Default 0.6. */
  confidence?: number | undefined
  /** Faces that overlap a better one by more than this share (intersection over union) are dropped. Default 0.4. */
  overlap?: number | undefined
}

/** How one face is looked for and chosen. */
export interface FindOptions extends DetectOptions {
  /** Which of several faces is meant. Default `largest`. */
  selection?: FaceSelection | undefined
}

/** The detector always computes in f32, so there is no `precision`. */
export type DetectorOptions = Omit<NetworksOptions, 'precision'>

const LOAD_OPTIONS = namesOf<DetectorOptions>({ threads: true, isa: true, device: true })
const DETECT_OPTIONS = { shortSide: true, confidence: true, overlap: true } as const
const DETECT_NAMES = namesOf<DetectOptions>(DETECT_OPTIONS)
const FIND_NAMES = namesOf<FindOptions>({ ...DETECT_OPTIONS, selection: true })
const MOST = { candidates: 5000, faces: 750 }
/** Longest side of the network's input, in pixels. */
const MOST_PIXELS = 16384

/**
 * A RetinaFace network (MobileNet 0.25 or ResNet-34) with a thread of its own. Pictures are processed one after the other;
 * the calling thread decodes the network's results (8 ms for 271 faces in 2.1 megapixels).
 */
export class FaceDetector {
  private constructor(private readonly networks: Networks) {}

  /**
   * @param file  A safetensors file under the published names; `iconface convert` makes one of a `.pth` file.
   * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT` when the file is malformed, or holds no such network;
   *         `ERR_ICONFACE_FILE_NOT_FOUND`, `ERR_ICONFACE_IO`, `ERR_ICONFACE_OUT_OF_MEMORY`; `ERR_ICONFACE_UNSUPPORTED`
   *         for an unknown instruction set, `ERR_ICONFACE_DEVICE_UNAVAILABLE`.
   */
  @showsCaller
  static async load(file: string, options: DetectorOptions = {}): Promise<FaceDetector> {
    checkKnown('options', options, LOAD_OPTIONS)
    checkCompute(options)
    if (typeof file !== 'string' || file === '') throw invalid('file', 'the path of a safetensors file', file)
    return new FaceDetector(await Networks.load(detectorCheckpoint(file), { ...options, precision: 'f32' }))
  }

  /**
   * All faces, best first.
   *
   * @param image  Any picture, or plain RGB pixels, which are copied at the call. Enlarged it may have at most 16384 pixels
   *         on a side.
   * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT`; `ERR_ICONFACE_NUMERICAL` when the network's results are not
   *         finite; `ERR_ICONFACE_OUT_OF_MEMORY`, `ERR_ICONFACE_DISPOSED`, `ERR_ICONFACE_CUDA`.
   */
  @showsCaller
  async detect(image: ImageInput | RgbImage, options: DetectOptions = {}): Promise<DetectedFace[]> {
    checkKnown('options', options, DETECT_NAMES)
    const { shortSide, confidence, overlap } = checkDetectOptions(options)
    const look = await this.look(isPlain(image) ? checkImage(image) : await decoded(image), shortSide)
    return look.faces(confidence, overlap)
  }

  /**
   * The face meant. Where none is found, lower confidences (0.45 and 0.3), then larger sizes (960 and 1280 pixels) are
   * tried. Confidences are rounded to hundredths.
   *
   * @param image  As in `detect`; larger sizes that would have more than 16384 pixels on a side are not tried.
   * @throws {IConFaceError} `ERR_ICONFACE_NO_FACE`, naming every attempt, when there is none; and what `detect` throws.
   */
  @showsCaller
  async find(image: ImageInput | RgbImage, options: FindOptions = {}): Promise<DetectedFace> {
    checkKnown('options', options, FIND_NAMES)
    const { selection = 'largest' } = options
    checkOneOf('selection', selection, FACE_SELECTIONS)
    const { shortSide, confidence, overlap } = checkDetectOptions(options)
    const { width, height, data } = isPlain(image) ? checkImage(image) : await decoded(image)
    const own = { width, height, data: Uint8Array.from(data) } // it is read again, at every size
    const tried: string[] = []
    let look: Look | undefined
    for (const attempt of detectionAttempts(shortSide, confidence)) {
      const size = detectorSize(height, width, attempt.shortSide)
      const fallback = attempt.shortSide !== shortSide
      if (fallback && Math.max(size.height, size.width) > MOST_PIXELS) break
      if (look?.size.height !== size.height || look.size.width !== size.width)
        look = await this.look(own, attempt.shortSide)
      tried.push(`${attempt.shortSide} px above ${attempt.confidence}`)
      const faces = look.faces(attempt.confidence, overlap)
      if (faces.length > 0) return faces[selectFace(faces, selection, height, width)]!
    }
    const message = `there is no face in the picture (looked for at ${tried.join(', ')})`
    throw new IConFaceError('ERR_ICONFACE_NO_FACE', message)
  }

  /** Frees the weights and threads before it resolves. */
  @showsCaller
  dispose(): Promise<void> {
    return this.networks.dispose()
  }

  /** `await using` disposes at the end of the block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  /** Runs the network once. */
  private async look({ data, width, height }: RgbImage, shortSide: number): Promise<Look> {
    const size = detectorSize(height, width, shortSide)
    if (Math.max(size.height, size.width) > MOST_PIXELS) {
      const enlarged = `${width} x ${height}, looked at as ${size.width} x ${size.height}`
      throw invalid('the picture', `at most ${MOST_PIXELS} pixels on a side`, enlarged)
    }
    const pixels = { dtype: 'u8' as const, shape: [height, width, 3], data }
    const result = await this.networks.run('face_detection', { pixels }, { height: size.height, width: size.width })
    const values = (name: 'boxes' | 'logits' | 'landmarks') => result[name].data as Float32Array
    return new Look(size, { boxes: values('boxes'), logits: values('logits'), landmarks: values('landmarks') })
  }
}

/** The network's results for a picture at one size. */
class Look {
  constructor(
    readonly size: DetectorSize,
    private readonly predictions: Predictions,
  ) {}

  /** Faces in the picture's own pixels, best first. */
  faces(confidence: number, overlap: number): DetectedFace[] {
    const { height, width, scale } = this.size
    const faces = decodeFaces(this.predictions, height, width, { confidence, overlap, ...MOST })
    if (!faces.every(({ box }) => box.every(Number.isFinite))) {
      // box sizes are exponentials, which may overflow
      throw new IConFaceError('ERR_ICONFACE_NUMERICAL', 'the face detector gave a box that is not finite')
    }
    return scale === 1 ? faces : faces.map((face) => shrunk(face, scale))
  }
}

function checkDetectOptions(options: DetectOptions): Required<DetectOptions> {
  const { shortSide = 640, confidence = 0.6, overlap = 0.4 } = options
  checkInteger('shortSide', shortSide, 0, 4096)
  checkNumber('confidence', confidence, 0, 1)
  checkNumber('overlap', overlap, 0, 1)
  return { shortSide, confidence, overlap }
}

/** Pixels that need not be decoded; also everything that is no picture, for {@link checkImage} to refuse. */
function isPlain(image: ImageInput | RgbImage): image is RgbImage {
  if (typeof image === 'string' || isUrl(image) || isUint8Array(image) || isArrayBuffer(image)) return false
  const { channels = 3 } = (image ?? {}) as Partial<RawImage>
  return channels === 3
}

async function decoded(image: ImageInput): Promise<RgbImage> {
  const [picture] = capturePictures([{ name: 'the picture', image }], DEFAULT_MAX_PIXELS)
  return ownRgb(await picture!.read())
}

function checkImage(image: unknown): RgbImage {
  if (typeof image !== 'object' || image === null) throw invalid('the picture', 'an object', image)
  const { data, width, height } = image as Partial<RgbImage>
  checkWithin('width', width, LIMITS.side)
  checkWithin('height', height, LIMITS.side)
  const bytes = width * height * 3
  if (!isUint8Array(data) || data.length !== bytes) throw invalid('data', `${bytes} bytes (RGB)`, data)
  return { data, width, height }
}

/** From the network's pixels to the picture's. */
function shrunk({ box, score, landmarks }: DetectedFace, scale: number): DetectedFace {
  const point = ([x, y]: Point) => [x / scale, y / scale] as const
  const [a, b, c, d, e] = landmarks
  return {
    box: [box[0] / scale, box[1] / scale, box[2] / scale, box[3] / scale],
    score,
    landmarks: [point(a), point(b), point(c), point(d), point(e)],
  }
}
