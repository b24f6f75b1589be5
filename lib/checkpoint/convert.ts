/**
 * From a PyTorch checkpoint to a safetensors file, tensor by tensor.
 */
import fs from 'node:fs'
import path from 'node:path'
import { closest } from '../closest'
import { describeValue, IConFaceError, invalid } from '../errors'
import { abortError } from '../queue'
import type { DType } from './dtype'
import { openPytorch, type PytorchFile, type PytorchTensor, type SkippedValue } from './pytorch'
import { isReal, type RoundedDType, roundTensor } from './round'
import { SafetensorsWriter, tensorBytes } from './safetensors-writer'

/** What `dtype` may be. */
export const CONVERT_DTYPES = ['keep', 'f32', 'bf16', 'f16'] as const

export interface ConvertOptions {
  /** Only tensors whose names begin with it are written, without it. */
  readonly prefix?: string
  /** Of tensors of real numbers; whole numbers and truth values keep theirs. Default `keep`. */
  readonly dtype?: (typeof CONVERT_DTYPES)[number]
  readonly signal?: AbortSignal
  /** Bytes written, of all. */
  readonly onProgress?: (progress: { bytes: number; totalBytes: number }) => void
}

/** What {@link convertPytorch} did. */
export interface Conversion {
  readonly input: string
  readonly output: string
  readonly container: 'zip' | 'legacy'
  /** Written. */
  readonly tensors: number
  readonly bytes: number
  /** How many tensors there are of each type in the result. */
  readonly dtypes: Readonly<Partial<Record<DType, number>>>
  /** Names of tensors that do not begin with the prefix. */
  readonly leftOut: readonly string[]
  /** What is no tensor, or no weight. */
  readonly skipped: readonly SkippedValue[]
}

/**
 * Writes the tensors of a PyTorch checkpoint as safetensors. `output` appears whole, once everything is read and
 * written, or not at all; a file that was there stays until then.
 *
 * @throws {IConFaceError} what {@link openPytorch} throws; `ERR_ICONFACE_INVALID_ARGUMENT` when no name begins with the
 *         prefix or `output` is `input`; `ERR_ICONFACE_NUMERICAL` when a value is too large for `dtype`;
 *         `ERR_ICONFACE_ABORTED`.
 * @example
 * await convertPytorch('adaface_ir50_ms1mv2.ckpt', 'adaface.safetensors', { prefix: 'model.' })
 */
export async function convertPytorch(input: string, output: string, options: ConvertOptions = {}): Promise<Conversion> {
  const { prefix = '', dtype = 'keep', signal, onProgress } = options
  if (!CONVERT_DTYPES.includes(dtype)) throw invalid('dtype', CONVERT_DTYPES.join(', '), dtype)
  const file = openPytorch(input)
  try {
    refuseSameFile(file.path, output)
    const { items, leftOut } = select(file, prefix, dtype)
    const writer = await SafetensorsWriter.create(output, items, { format: 'pt' })
    try {
      let bytes = 0
      for (const { name, tensor, dtype } of items) {
        if (signal?.aborted) throw abortError(signal)
        const data = tensor.read()
        await writer.write(tensor.dtype === dtype ? data : roundTensor(data, tensor.dtype, dtype as RoundedDType, name))
        bytes += tensorBytes({ name, dtype, shape: tensor.shape })
        onProgress?.({ bytes, totalBytes: writer.dataBytes })
      }
      await writer.finish()
    } finally {
      await writer.abort()
    }
    const dtypes: Partial<Record<DType, number>> = {}
    for (const { dtype } of items) dtypes[dtype] = (dtypes[dtype] ?? 0) + 1
    const { path: from, container, skipped } = file
    const done = { input: from, output: path.resolve(output), container, skipped, leftOut }
    return { ...done, tensors: items.length, bytes: writer.dataBytes, dtypes }
  } finally {
    file.close()
  }
}

interface Item {
  readonly name: string
  readonly tensor: PytorchTensor
  readonly shape: readonly number[]
  readonly dtype: DType
}

/** What is written, under which name and type, and what is not. */
function select(file: PytorchFile, prefix: string, wanted: (typeof CONVERT_DTYPES)[number]) {
  const items: Item[] = []
  const leftOut: string[] = []
  for (const [full, tensor] of file.tensors) {
    const name = full.slice(prefix.length)
    if (!full.startsWith(prefix) || name === '') {
      leftOut.push(full)
      continue
    }
    const dtype = wanted === 'keep' || !isReal(tensor.dtype) ? tensor.dtype : (wanted.toUpperCase() as DType)
    items.push({ name, tensor, shape: tensor.shape, dtype })
  }
  if (items.length === 0) {
    const names = [...file.tensors.keys()]
    throw new IConFaceError(
      'ERR_ICONFACE_INVALID_ARGUMENT',
      `no tensor of ${file.path} has a name that begins with ${describeValue(prefix)}; ` +
        `the closest is ${describeValue(closest(prefix, names))}, the first ${describeValue(names[0])}`,
    )
  }
  return { items, leftOut }
}

function refuseSameFile(input: string, output: string): void {
  const status = fs.statSync(output, { throwIfNoEntry: false })
  const original = fs.statSync(input)
  if (status && status.dev === original.dev && status.ino === original.ino) {
    throw invalid('the output', 'another file than the input', output)
  }
}
