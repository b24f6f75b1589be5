/**
 * Writing safetensors files of any size with little memory: names and shapes first, then the data piece by piece.
 */
import { randomBytes } from 'node:crypto'
import fs from 'node:fs/promises'
import path from 'node:path'
import { fileError, IConFaceError, invalid } from '../errors'
import { type DType, dtypeBits, elementCount } from './dtype'

/** A tensor to be written. */
export interface TensorDeclaration {
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly number[]
}

/**
 * Writes a file under a temporary name beside its destination; only {@link finish} gives it its real name, after the
 * data has reached the disk. So the destination holds the old file, the whole new one, or nothing.
 *
 * @example
 * const writer = await SafetensorsWriter.create('ae.safetensors', [{ name: 'bias', dtype: 'F32', shape: [4] }])
 * try {
 *   await writer.write(new Float32Array(4))
 *   await writer.finish()
 * } finally {
 *   await writer.abort() // does nothing after finish
 * }
 */
export class SafetensorsWriter {
  private written = 0

  private constructor(
    private readonly file: string,
    private readonly temporary: string,
    private handle: fs.FileHandle | undefined,
    /** What the declared tensors take, in bytes. */
    readonly dataBytes: number,
  ) {}

  /**
   * Starts a file.
   *
   * @param tensors   in the order in which their data will be written
   * @param metadata  becomes `__metadata__`
   */
  static async create(
    file: string,
    tensors: readonly TensorDeclaration[],
    metadata: Readonly<Record<string, string>> = {},
  ): Promise<SafetensorsWriter> {
    const { header, dataBytes } = encodeHeader(tensors, metadata)
    const destination = path.resolve(file)
    const temporary = `${destination}.${process.pid}.${randomBytes(4).toString('hex')}.partial`
    const handle = await fs.open(temporary, 'w').catch((cause: unknown) => {
      throw fileError('write', temporary, cause)
    })
    const writer = new SafetensorsWriter(destination, temporary, handle, dataBytes)
    await writer.append(header)
    return writer
  }

  /** Appends data: any piece of it, tensor borders do not matter. The view may be reused once the promise resolves. */
  async write(data: ArrayBufferView): Promise<void> {
    if (this.written + data.byteLength > this.dataBytes) {
      throw invalid('data', `at most ${this.dataBytes - this.written} more bytes`, data)
    }
    this.written += data.byteLength
    await this.append(Buffer.from(data.buffer, data.byteOffset, data.byteLength))
  }

  /** Flushes to disk and gives the file its name. */
  async finish(): Promise<void> {
    if (!this.handle) throw new IConFaceError('ERR_ICONFACE_DISPOSED', `${this.file} is already finished or given up`)
    if (this.written !== this.dataBytes) {
      throw invalid('data', `${this.dataBytes} bytes in all before finish`, this.written)
    }
    const handle = this.handle
    await this.attempt(async () => {
      await handle.sync()
      this.handle = undefined
      await handle.close()
      await fs.rename(this.temporary, this.file)
    })
  }

  /** Gives up and removes the temporary file. Does nothing after {@link finish}. */
  async abort(): Promise<void> {
    if (!this.handle) return
    const handle = this.handle
    this.handle = undefined
    await handle.close()
    await fs.rm(this.temporary, { force: true })
  }

  private async append(bytes: Buffer): Promise<void> {
    const handle = this.handle
    if (!handle) throw new IConFaceError('ERR_ICONFACE_DISPOSED', `${this.file} is already finished or given up`)
    await this.attempt(async () => {
      let done = 0
      while (done < bytes.length) done += (await handle.write(bytes, done)).bytesWritten
    })
  }

  /** Any failure of the file system gives the file up. */
  private async attempt(action: () => Promise<void>): Promise<void> {
    try {
      await action()
    } catch (cause) {
      await this.abort().catch(() => undefined)
      await fs.rm(this.temporary, { force: true })
      throw fileError('write', this.file, cause)
    }
  }
}

/** Bytes of one tensor. */
export function tensorBytes({ name, dtype, shape }: TensorDeclaration): number {
  const elements = shape.every((size) => Number.isInteger(size) && size >= 0) ? elementCount(shape) : undefined
  const bits = elements === undefined ? NaN : elements * dtypeBits(dtype)
  if (!Number.isSafeInteger(bits) || bits % 8 !== 0) {
    throw invalid(`the shape of tensor "${name}"`, `whole sizes that make whole bytes of ${dtype}`, shape)
  }
  return bits / 8
}

/** The length and the JSON, padded with spaces so that the data begins at a multiple of 8 bytes. */
function encodeHeader(tensors: readonly TensorDeclaration[], metadata: Readonly<Record<string, string>>) {
  const entries = new Map<string, object>()
  if (Object.keys(metadata).length > 0) entries.set('__metadata__', metadata)
  let end = 0
  for (const tensor of tensors) {
    if (entries.has(tensor.name) || tensor.name === '__metadata__') {
      throw invalid('tensors', 'distinct names other than __metadata__', tensor.name)
    }
    const begin = end
    end += tensorBytes(tensor)
    entries.set(tensor.name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, end] })
  }
  // Written entry by entry: an object would put names that look like numbers first.
  const body = [...entries].map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')
  const json = Buffer.from(`{${body}}`)
  const header = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ')
  header.writeBigUInt64LE(BigInt(header.length - 8))
  json.copy(header, 8)
  return { header, dataBytes: end }
}

/** Writes a whole small file at once. */
export async function writeSafetensors(
  file: string,
  tensors: readonly (TensorDeclaration & { readonly data: ArrayBufferView })[],
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const writer = await SafetensorsWriter.create(file, tensors, metadata)
  try {
    for (const tensor of tensors) {
      if (tensor.data.byteLength !== tensorBytes(tensor)) {
        throw invalid(`the data of tensor "${tensor.name}"`, `${tensorBytes(tensor)} bytes`, tensor.data)
      }
      await writer.write(tensor.data)
    }
    await writer.finish()
  } finally {
    await writer.abort()
  }
}
