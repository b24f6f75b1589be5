/**
 * Writing safetensors files of any size with little memory: names and shapes first, then the data piece by piece.
 */
import path from 'node:path'
import { invalid } from '../errors'
import { WholeFile } from './whole-file'
import { type DType, dtypeBits, elementCount } from './dtype'

/** A tensor to be written. */
export interface TensorDeclaration {
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly number[]
}

/**
 * Writes a file that appears when it is finished: the destination holds the old file, the whole new one, or nothing.
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
    private readonly file: WholeFile,
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
    const whole = await WholeFile.create(path.resolve(file))
    await whole.write(header)
    return new SafetensorsWriter(whole, dataBytes)
  }

  /** Appends data: any piece of it, it may span tensors. The view may be reused once the promise resolves. */
  async write(data: ArrayBufferView): Promise<void> {
    if (this.written + data.byteLength > this.dataBytes) {
      throw invalid('data', `at most ${this.dataBytes - this.written} more bytes`, data)
    }
    this.written += data.byteLength
    await this.file.write(data)
  }

  /** Flushes to disk and gives the file its name. */
  async finish(): Promise<void> {
    if (this.file.isOpen && this.written !== this.dataBytes) {
      throw invalid('data', `${this.dataBytes} bytes in all before finish`, this.written)
    }
    await this.file.finish()
  }

  /** Removes the unfinished file. Does nothing after {@link finish}. */
  async abort(): Promise<void> {
    await this.file.abort()
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
