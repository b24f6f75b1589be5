/**
 * The result of a restore: its pixels, how it came about, and ways to keep it.
 */

import { randomBytes } from 'node:crypto'
import { closeSync, openSync, rmSync } from 'node:fs'
import { access, constants, open, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type sharp from 'sharp'
import { fileError, IConFaceError, invalid } from './errors'
import { type RgbImage, toSharp } from './image'
import { integer, known, oneOf } from './options'

/** How the identity pathway saw the pictures. */
export interface IdentityReport {
  /** Whose face anchors the identity: the references', the degraded input's own, or nobody's. */
  source: 'references' | 'degraded' | 'none'
  /** The unit vector `[512]` that anchors the identity; `null` when the source is `none`. */
  anchor: Float32Array | null
  /** Norm of each reference's embedding, in the order given: how recognisable the face encoder finds it. */
  norms: Float32Array
  /** Weight of each reference in the anchor; they sum to 1. */
  weights: Float32Array
  /** Cosine between the input's embedding and the references' anchor; `null` without encoder or references. */
  before: number | null
  /** Cosine between the result's embedding and the references' anchor; `null` without encoder or references. */
  after: number | null
}

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

export interface EncodeOptions {
  /** 1 to 100, for the formats that lose something: JPEG, WebP, AVIF. Default 95. */
  quality?: number
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
  /** Milliseconds by stage, and their `total`. */
  readonly timings: Readonly<Record<string, number>>

  /** Restores make these. */
  constructor(result: Pick<Restoration, 'data' | 'width' | 'height' | 'seed' | 'identity' | 'timings'>) {
    this.data = result.data
    this.width = result.width
    this.height = result.height
    this.seed = result.seed
    this.identity = result.identity
    this.timings = result.timings
  }

  /**
   * Writes a picture file; its extension chooses the format: png, jpg, webp, tiff or avif. The file appears complete
   * or not at all: it is written under another name in the same folder, synced and renamed.
   *
   * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT` for an unknown extension, `ERR_ICONFACE_FILE_NOT_FOUND` or
   *         `ERR_ICONFACE_IO` when the file cannot be written.
   * @example
   * await result.toFile('restored.png')
   */
  async toFile(path: string | URL, options: EncodeOptions = {}): Promise<void> {
    const file = filePath(path)
    await writeWhole(file, await this.toBuffer(outputFormat(file), options))
  }

  /**
   * The encoded picture.
   *
   * @example
   * response.type('image/webp').send(await result.toBuffer('webp', { quality: 90 }))
   */
  async toBuffer(format: OutputFormat = 'png', options: EncodeOptions = {}): Promise<Buffer> {
    return encode(this.toSharp(), format, options)
  }

  /** A sharp pipeline over a copy of the pixels, for everything else. */
  toSharp(): sharp.Sharp {
    return toSharp({ data: Buffer.from(this.data), width: this.width, height: this.height })
  }
}

/** `image` in a file format. */
export async function encode(image: sharp.Sharp, format: OutputFormat, options: EncodeOptions = {}): Promise<Buffer> {
  oneOf('format', format, Object.keys(ENCODERS))
  known('options', options, ['quality'])
  const { quality = 95 } = options
  integer('quality', quality, 1, 100)
  const encoder = ENCODERS[format]
  if (encoder === 'png') return image.png().toBuffer()
  if (encoder === 'tiff') return image.tiff({ compression: 'lzw' }).toBuffer()
  if (encoder === 'webp') return image.webp({ quality }).toBuffer()
  return image[encoder]({ quality, chromaSubsampling: '4:4:4' }).toBuffer()
}

/** The format that the extension of `file` names. */
export function outputFormat(file: string): OutputFormat {
  const extension = extname(file).slice(1).toLowerCase()
  oneOf(`the extension of ${file}`, extension, Object.keys(ENCODERS))
  return extension as OutputFormat
}

function filePath(path: string | URL): string {
  if (typeof path === 'string' && path !== '') return path
  if (path instanceof URL && path.protocol === 'file:') return fileURLToPath(path)
  throw invalid('path', 'a path or a file: URL', path)
}

/** Refuses a file that {@link writeWhole} could not write, before the work whose result it shall hold. */
export async function checkWritable(path: string): Promise<void> {
  if (path === '') throw invalid('the output', 'the name of a file', path)
  const folder = dirname(path)
  await checkWritableFolder(folder).catch((cause: unknown) => {
    if (!(cause instanceof IConFaceError)) throw cause
    throw new IConFaceError(cause.code, `${cause.message}; create that folder, or name another for ${path}`, { cause })
  })
  const existing = await stat(path).catch(() => undefined)
  if (existing?.isDirectory()) throw invalid('the output', 'the name of a file, not of a folder,', path)
}

/** Refuses what is no folder, and a folder in which no file can be made. */
export async function checkWritableFolder(folder: string): Promise<void> {
  // With the slash, a file is an error.
  await access(`${folder}/`, constants.W_OK).catch((cause: unknown) => {
    throw fileError('write into', folder, cause)
  })
}

/** Files that are being written. */
const unfinished = new Set<string>()
const removeUnfinished = () => unfinished.forEach((file) => rmSync(file, { force: true }))

/**
 * Writes `bytes` to `path`, which never holds less than all of them. A process that exits meanwhile leaves nothing
 * else behind; one that is killed may leave the hidden file `.<name>.<random>.tmp`.
 */
export async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`)
  if (unfinished.size === 0) process.once('exit', removeUnfinished)
  unfinished.add(temporary)
  try {
    closeSync(openSync(temporary, 'wx')) // here and now: one still being created at exit would be left behind
    const file = await open(temporary, 'r+')
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {}) // the first error is the one to report
    throw fileError('write', path, cause)
  } finally {
    unfinished.delete(temporary)
    if (unfinished.size === 0) process.off('exit', removeUnfinished)
  }
}
