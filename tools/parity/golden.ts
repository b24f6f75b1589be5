/**
 * Golden files: reference tensors of the original implementations, with the weights they were computed from. Everything
 * about a case (sizes, options, names of runs) is read from the file itself.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { DType as StoredDType } from '../../dist/formats/dtype.js'
import { openSafetensors, readTensorBytes, type SafetensorsFile } from '../../dist/formats/safetensors.js'
import type { Checkpoint, StoredTensor } from '../../dist/networks/index.js'
import type { DType, Tensor } from '../../dist/ops/index.js'

/** A value of a case's metadata, parsed. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json }

/** Typed arrays of stored values; position ids may be stored as 64-bit integers. */
const READABLE: Partial<Record<StoredDType, { dtype: DType; view: (buffer: ArrayBuffer) => Tensor['data'] }>> = {
  F32: { dtype: 'f32', view: (buffer) => new Float32Array(buffer) },
  F64: { dtype: 'f64', view: (buffer) => new Float64Array(buffer) },
  I64: { dtype: 'f32', view: (buffer) => Float32Array.from(new BigInt64Array(buffer), Number) },
  I32: { dtype: 'i32', view: (buffer) => new Int32Array(buffer) },
  U8: { dtype: 'u8', view: (buffer) => new Uint8Array(buffer) },
}

/** One case: a safetensors file, with its other parts if it has any. */
export class Golden {
  readonly metadata: Readonly<Record<string, string>>
  private readonly where = new Map<string, number>()

  private constructor(
    readonly path: string,
    readonly files: readonly SafetensorsFile[],
  ) {
    this.metadata = files[0]!.metadata
    for (const [index, file] of files.entries()) for (const name of file.tensors.keys()) this.where.set(name, index)
  }

  static open(file: string): Golden {
    const first = openSafetensors(file)
    const parts = JSON.parse(first.metadata.parts ?? '[]') as string[]
    const others = parts.filter((part) => part !== path.basename(file)).map((part) => this.sibling(file, part))
    return new Golden(file, [first, ...others.map(openSafetensors)])
  }

  private static sibling(file: string, name: string): string {
    return path.join(path.dirname(file), name)
  }

  /** The path of a file beside this one. */
  beside(name: string): string {
    return Golden.sibling(this.path, name)
  }

  /** A metadata entry that holds JSON. */
  json<T extends Json | object = Json>(key: string): T {
    const text = this.metadata[key]
    if (text === undefined) throw new Error(`its metadata has no "${key}"`)
    return JSON.parse(text) as T
  }

  has(name: string): boolean {
    return this.where.has(name)
  }

  /** Names that begin with `prefix`, without it. */
  names(prefix: string): string[] {
    return [...this.where.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length))
  }

  shape(name: string): number[] {
    return [...this.entry(name).shape]
  }

  /** A tensor's values; 64-bit integers become f32. */
  read(name: string): Tensor {
    const { dtype, shape, file } = this.entry(name)
    const readable = READABLE[dtype]
    if (!readable) throw new Error(`${name} is stored as ${dtype}`)
    const bytes = readTensorBytes(this.files[file]!, name)
    const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer
    return { dtype: readable.dtype, shape: [...shape], data: readable.view(buffer) }
  }

  /**
   * The case's weights as a checkpoint: byte ranges of the case's own files.
   *
   * @param prefixes  Prefix in the file -> prefix in the checkpoint; names with none of them are left out.
   */
  checkpoint(prefixes: Readonly<Record<string, string>>, numbers: Checkpoint['numbers']): Checkpoint {
    const tensors: Record<string, StoredTensor> = {}
    for (const name of this.where.keys()) {
      const from = Object.keys(prefixes).find((prefix) => name.startsWith(prefix))
      if (from === undefined || name.endsWith('.num_batches_tracked')) continue
      tensors[prefixes[from]! + name.slice(from.length)] = this.entry(name)
    }
    return { files: this.files.map(({ path: file, fileSize }) => ({ path: file, size: fileSize })), tensors, numbers }
  }

  entry(name: string): StoredTensor {
    const file = this.where.get(name)
    if (file === undefined) throw new Error(`it holds no tensor "${name}"`)
    return { file, ...this.files[file]!.tensors.get(name)! }
  }
}

export function readJson(file: string): Json {
  return JSON.parse(readFileSync(file, 'utf8')) as Json
}
