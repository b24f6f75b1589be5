/**
 * Tensors by name, each with the byte ranges of files that hold it. Nothing of them is read before it is needed.
 */
import type { DType } from './dtype'

/** One tensor of a file. */
export interface TensorInfo {
  readonly dtype: DType
  readonly shape: readonly number[]
  /** Where the data begins, in bytes from the start of the file. Nothing in the format aligns it. */
  readonly offset: number
  readonly bytes: number
}

/** Bytes of the `file`-th file of a model. */
export interface ByteRange {
  readonly file: number
  readonly offset: number
  readonly bytes: number
}

/** A tensor under its canonical name. */
export interface NamedTensor {
  readonly dtype: DType
  readonly shape: readonly number[]
  /** The tensor's bytes in order; one range unless rows had to be joined. */
  readonly parts: readonly ByteRange[]
  /** The name or names in the file. */
  readonly published: string
}

export type NamedTensors = Map<string, NamedTensor>

/** The tensors of a file under the names they have there. */
export function sourceTensors(tensors: ReadonlyMap<string, TensorInfo>, index: number): NamedTensors {
  const sources: NamedTensors = new Map()
  for (const [name, { dtype, shape, offset, bytes }] of tensors) {
    sources.set(name, { dtype, shape, parts: [{ file: index, offset, bytes }], published: name })
  }
  return sources
}
