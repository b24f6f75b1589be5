/**
 * The result of a restore: pixels, identity report, timings and warnings, and writing it to files.
 */

import { extname } from 'node:path'
import type { Sharp } from 'sharp'
import { showsCaller } from './util/caller'
import { invalid } from './errors'
import type { IdentityReport } from './native'
import { type RgbImage, toSharp } from './image'
import { checkInteger, checkKnown, namesOf, checkOneOf } from './options'
import { isUrl, pathOfUrl } from './util/realm'
import { allocated, cannot } from './util/shortage'
import type { Alignment } from './photo/alignment'
import type { IConFaceWarning } from './warning'
import { writeWhole } from './formats/whole-file'

const ENCODERS = {
  png: 'png',
  jpg: 'jpeg',
  jpeg: 'jpeg',
  webp: 'webp',
  tif: 'tiff',
  tiff: 'tiff',
  avif: 'avif',
} as const

/** File formats a result can be written as. */
export type OutputFormat = keyof typeof ENCODERS

/** How a result is encoded. */
export interface EncodeOptions {
  /** 1 to 100, for the formats that lose something: JPEG, WebP, AVIF. Default 95. */
  quality?: number | undefined
}

/** One restored face; also a raw picture, so that it can be an input itself. */
export class Restoration implements RgbImage {
  /** RGB, row by row, `height * width * 3` bytes. */
  readonly data: Uint8Array
  readonly width: number
  readonly height: number
  readonly channels = 3
  /** The seed, as it was given. */
  readonly seed: number | bigint
  readonly identity: IdentityReport
  /** How the face was cut out of the degraded picture; `null` where that was left as it is. */
  readonly alignment: Alignment | null
  /** Milliseconds by stage, and their `total`. */
  readonly timings: Readonly<Record<string, number>>
  /** What to know about the result: of the pictures first, in the order given. Empty when all is well. */
  readonly warnings: readonly IConFaceWarning[]

  /** For this package: instances come from `restore`. */
  constructor(
    result: Pick<Restoration, 'data' | 'width' | 'height' | 'seed' | 'identity' | 'timings'> &
      Partial<Pick<Restoration, 'alignment' | 'warnings'>>,
  ) {
    this.data = result.data
    this.width = result.width
    this.height = result.height
    this.seed = result.seed
    this.identity = result.identity
    this.alignment = result.alignment ?? null
    this.timings = result.timings
    this.warnings = result.warnings ?? []
  }

  /**
   * Writes a picture file; its extension chooses the format: png, jpg, webp, tiff or avif. The file appears complete
   * or not at all; where it can be written without a name until then (Linux), a process that is killed leaves nothing.
   *
   * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT` for an unknown extension, `ERR_ICONFACE_FILE_NOT_FOUND` or
   *         `ERR_ICONFACE_IO` when the file cannot be written.
   * @example
   * await result.toFile('restored.png')
   */
  @showsCaller
  async toFile(path: string | URL, options: EncodeOptions = {}): Promise<void> {
    const file = filePath(path)
    await writeWhole(file, await this.toBuffer(outputFormat(file), options))
  }

  /**
   * The encoded picture.
   *
   * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT`; `ERR_ICONFACE_OUT_OF_MEMORY`, `ERR_ICONFACE_THREADS`;
   *         `ERR_ICONFACE_UNSUPPORTED` for what the encoder refuses.
   * @example
   * response.type('image/webp').send(await result.toBuffer('webp', { quality: 90 }))
   */
  @showsCaller
  async toBuffer(format: OutputFormat = 'png', options: EncodeOptions = {}): Promise<Buffer> {
    return encode(this.toSharp(), format, options)
  }

  /** A sharp pipeline over a copy of the pixels, for everything else. */
  toSharp(): Sharp {
    const data = allocated(this.data.length, () => Buffer.from(this.data))
    return toSharp({ data, width: this.width, height: this.height })
  }
}

/** `image` in a file format. */
export async function encode(image: Sharp, format: OutputFormat, options: EncodeOptions = {}): Promise<Buffer> {
  checkOneOf('format', format, Object.keys(ENCODERS))
  checkKnown('options', options, namesOf<EncodeOptions>({ quality: true }))
  const { quality = 95 } = options
  checkInteger('quality', quality, 1, 100)
  return withEncoder(image, ENCODERS[format], quality)
    .toBuffer()
    .catch(cannot(`encode the picture as ${format}`))
}

function withEncoder(image: Sharp, encoder: (typeof ENCODERS)[OutputFormat], quality: number): Sharp {
  if (encoder === 'png') return image.png()
  if (encoder === 'tiff') return image.tiff({ compression: 'lzw' })
  if (encoder === 'webp') return image.webp({ quality })
  return image[encoder]({ quality, chromaSubsampling: '4:4:4' })
}

/** The format that the extension of `file` names. */
export function outputFormat(file: string): OutputFormat {
  const extension = extname(file).slice(1).toLowerCase()
  checkOneOf(`the extension of ${file}`, extension, Object.keys(ENCODERS))
  return extension as OutputFormat
}

/** A file's path, as callers name it. */
export function filePath(path: string | URL): string {
  if (typeof path === 'string' && path !== '') return path
  const named = isUrl(path) ? pathOfUrl(path) : undefined
  if (named !== undefined) return named
  throw invalid('path', 'a path or a file: URL', path)
}
