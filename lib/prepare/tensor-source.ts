/**
 * Tensors that can be read one by one, from PyTorch and from safetensors files alike.
 */
import fs from 'node:fs'
import { IConFaceError } from '../errors'
import { type DType, toFloat32 } from '../formats/dtype'
import { isFp8, separateScales } from '../checkpoint/fp8'
import type { NamedTensor } from '../formats/named-tensors'
import { openPytorch, type SkippedValue } from '../formats/pytorch'
import { quantisation } from '../formats/quantised'
import { openWeights } from '../formats/shards'
import { openRegularFile, readFully } from '../formats/byte-source'

/** One tensor. */
export interface ReadableTensor {
  readonly dtype: DType
  readonly shape: readonly number[]
  /** Its elements in row-major order, little-endian. Do not change them. */
  read(): Uint8Array
  /** What fp8 values are to be multiplied by: one number, or one for each row. */
  scales(): Float32Array
}

export interface TensorSource {
  readonly path: string
  readonly container: 'zip' | 'legacy' | 'safetensors'
  readonly files: readonly string[]
  /** By name, in the order of the files. */
  readonly tensors: ReadonlyMap<string, ReadableTensor>
  /** Names of scales, and of what goes with them. */
  readonly leftOut: readonly string[]
  /** What is no tensor, or no weight. */
  readonly skipped: readonly SkippedValue[]
  close(): void
}

const UNSCALED = Float32Array.of(1)

/** A PyTorch checkpoint; throws as {@link openPytorch} does. */
export function openPytorchSource(target: string): TensorSource {
  const file = openPytorch(target)
  const tensors = new Map<string, ReadableTensor>()
  for (const [name, tensor] of file.tensors) {
    tensors.set(name, { dtype: tensor.dtype, shape: tensor.shape, read: () => tensor.read(), scales: () => UNSCALED })
  }
  const { path, container, skipped } = file
  return { path, container, files: [path], tensors, leftOut: [], skipped, close: () => file.close() }
}

/**
 * A safetensors file, or the index of several; throws as {@link openWeights} does, and
 * `ERR_ICONFACE_INVALID_CHECKPOINT` when a scale of fp8 values has another shape than it should, and
 * `ERR_ICONFACE_UNSUPPORTED` when fp8 values have scales of a kind that is not read.
 */
export function openSafetensorsSource(target: string): TensorSource {
  const { path, files, tensors: named } = openWeights(target)
  const { tensors, scales, ignored, problems } = separateScales(named)
  const foreign = [...tensors.values()].some(({ dtype }) => isFp8(dtype)) ? quantisation(tensors) : undefined
  if (foreign !== undefined) throw new IConFaceError('ERR_ICONFACE_UNSUPPORTED', `${path}: ${foreign}`)
  if (problems.length > 0) throw new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `${path}: ${problems[0]}`)
  const descriptors = files.map((file) => openRegularFile(file.path))
  const read = ({ parts }: NamedTensor) => {
    const [{ file, offset, bytes }] = parts as [NamedTensor['parts'][number]] // files hold each tensor in one piece
    return readFully(descriptors[file]!, files[file]!.path, offset, bytes)
  }
  const stored = new Map<string, ReadableTensor>()
  for (const [name, tensor] of tensors) {
    const scale = scales.get(name)
    stored.set(name, {
      dtype: tensor.dtype,
      shape: tensor.shape,
      read: () => read(tensor),
      scales: () => (scale ? toFloat32(read(scale), 'F32') : UNSCALED),
    })
  }
  return {
    path,
    container: 'safetensors',
    files: files.map((file) => file.path),
    tensors: stored,
    leftOut: ignored,
    skipped: [],
    close: () => descriptors.forEach((descriptor) => fs.closeSync(descriptor)),
  }
}
