/**
 * The result of restoring a photograph: its pixels, what was done to each face, and writing it to files.
 */

import type { Sharp } from 'sharp'
import type { RgbImage } from '../image'
import { type OwnSamples, type PictureMetadata, withPictureMetadata } from '../picture/metadata-carrier'
import { encode, type EncodeOptions, filePath, type OutputFormat, outputFormat, type Restoration } from '../restoration'
import { writeWhole } from '../formats/whole-file'
import { showsCaller } from '../util/caller'
import type { IConFaceWarning } from '../warning'
import type { Alignment } from './alignment'
import type { PasteMask } from './paste-back'
import type { FoundFace } from './photo-options'

/** A face of a photograph, and what was done to it. Places are in pixels of the upright photograph as it was given. */
export interface PhotoFace extends FoundFace {
  /** Whose it is: a name of `people`; `references` where one list was given; `null` for nobody. */
  readonly person: string | null
  /** Similarity to the person's references before it was restored, or to the most similar person's for nobody's face. */
  readonly similarity: number | null
  /** Restored and pasted back, or kept as it was; `reason` says why. */
  readonly status: 'restored' | 'kept'
  readonly reason: string | null
  /** How it was cut out; `null` where it was not. Given back in `alignments` it is cut the same way, without looking. */
  readonly alignment: Alignment | null
  /** What the model got, in sRGB. */
  readonly crop: RgbImage | null
  /** What the model made of it. */
  readonly restored: Restoration | null
  /** How much of each pixel of the result is restored, 0 to 255, for the part of it where any is. */
  readonly mask: PasteMask | null
}

/** File formats that hold 16 bits. */
const DEEP: readonly OutputFormat[] = ['png', 'tif', 'tiff']

/** A restored photograph, in the depth and colours that it came in. */
export class PhotoRestoration {
  /** Row by row, `height * width * channels` values; the last channel of 2 or 4 is alpha. */
  readonly data: Uint8Array | Uint16Array
  readonly width: number
  readonly height: number
  readonly channels: 1 | 2 | 3 | 4
  /** All faces that were found, the largest first. */
  readonly faces: readonly PhotoFace[]
  /** What to know about the pictures and the result. Empty when all is well. */
  readonly warnings: readonly IConFaceWarning[]
  /** Milliseconds by stage, and their `total`. */
  readonly timings: Readonly<Record<string, number>>
  readonly #metadata: PictureMetadata

  /** For this package: instances come from `restorePhoto`. */
  constructor(
    pixels: OwnSamples,
    metadata: PictureMetadata,
    rest: Pick<PhotoRestoration, 'faces' | 'warnings' | 'timings'>,
  ) {
    this.data = pixels.data
    this.width = pixels.width
    this.height = pixels.height
    this.channels = pixels.channels
    this.#metadata = metadata
    this.faces = rest.faces
    this.warnings = rest.warnings
    this.timings = rest.timings
  }

  /**
   * Writes a picture file, whole or not at all; its extension chooses the format: png, jpg, webp, tiff or avif. Profile,
   * EXIF and density come along (no EXIF in TIFF), 16 bits in PNG and TIFF.
   *
   * @throws {IConFaceError} as `Restoration.toFile`.
   * @example
   * await photo.toFile('album/restored.jpg')
   */
  @showsCaller
  async toFile(path: string | URL, options: EncodeOptions = {}): Promise<void> {
    const file = filePath(path)
    await writeWhole(file, await this.toBuffer(outputFormat(file), options))
  }

  /** The encoded picture; see {@link PhotoRestoration.toFile}. JPEG has quality 95 and whole colours (4:4:4). */
  @showsCaller
  async toBuffer(format: OutputFormat = 'png', options: EncodeOptions = {}): Promise<Buffer> {
    return encode(this.#pipeline(DEEP.includes(format)), format, options)
  }

  /** A sharp pipeline that reads `data` in place, with its profile and EXIF, for everything else. */
  toSharp(): Sharp {
    return this.#pipeline(true)
  }

  /** Plain JSON of all but pixels. */
  toJSON() {
    const faces = this.faces.map(({ crop: _, restored, mask: __, ...face }) => ({
      ...face,
      after: restored?.identity.after ?? null,
    }))
    const { width, height, warnings, timings } = this
    return { width, height, faces, warnings, timings }
  }

  #pipeline(deep: boolean): Sharp {
    const { data, width, height, channels } = this
    return withPictureMetadata({ data, width, height, channels }, this.#metadata, deep)
  }
}
