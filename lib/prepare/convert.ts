/**
 * From a PyTorch checkpoint, an fp8 file or shards to one safetensors file, tensor by tensor.
 */
import fs from 'node:fs'
import path from 'node:path'
import { closest } from '../util/closest'
import { describeValue, IConFaceError, invalid } from '../errors'
import { checkKnown, namesOf } from '../options'
import { statusOf } from '../util/file-status'
import { checkAborted } from '../util/abort'
import type { DType } from '../formats/dtype'
import { dequantise, isFp8 } from '../checkpoint/fp8'
import { isPytorch } from '../formats/pytorch'
import { isReal, type RoundedDType, roundTensor } from '../formats/round'
import { SafetensorsWriter, tensorBytes } from '../formats/safetensors-writer'
import { openPytorchSource, openSafetensorsSource, type TensorSource, type ReadableTensor } from './tensor-source'

/** What `dtype` may be. */
export const CONVERT_DTYPES = ['keep', 'f32', 'bf16', 'f16'] as const

export interface ConvertOptions {
  /** Only tensors whose names begin with it are written, without it. */
  readonly prefix?: string | undefined
  /** Of tensors of real numbers; whole numbers and truth values keep theirs. Default `keep`: fp8 becomes bf16. */
  readonly dtype?: (typeof CONVERT_DTYPES)[number] | undefined
  /** Which tensors are written, by the name in the file. */
  readonly filter?: ((name: string) => boolean) | undefined
  /** Kept in the result. */
  readonly metadata?: Readonly<Record<string, string>> | undefined
  readonly signal?: AbortSignal | undefined
  /** Bytes written, of all. */
  readonly onProgress?: ((progress: { bytes: number; totalBytes: number }) => void) | undefined
}

const OPTIONS = namesOf<ConvertOptions>({
  prefix: true,
  dtype: true,
  filter: true,
  metadata: true,
  signal: true,
  onProgress: true,
})

/** What {@link convertWeights} did. */
export interface Conversion {
  readonly input: string
  readonly output: string
  readonly container: TensorSource['container']
  /** Written. */
  readonly tensors: number
  readonly bytes: number
  /** How many tensors there are of each type in the result. */
  readonly dtypes: Readonly<Partial<Record<DType, number>>>
  /** Names of tensors that were not asked for, or that say how fp8 values are to be read. */
  readonly leftOut: readonly string[]
  /** What is no tensor, or no weight. */
  readonly skipped: TensorSource['skipped']
}

/**
 * Writes the tensors of a PyTorch checkpoint or of safetensors files as one safetensors file; fp8 weights are
 * multiplied by their scales. `output` appears whole, once everything is read and written, or not at all; a file that
 * was there stays until then.
 *
 * @param input  a PyTorch file, a safetensors file, the index of several, or a folder that holds one of the latter
 * @throws {IConFaceError} what {@link openPytorch} and {@link openWeights} throw; `ERR_ICONFACE_INVALID_ARGUMENT` when
 *         no name begins with the prefix or `output` is an input; `ERR_ICONFACE_NUMERICAL` when a value is too large
 *         for `dtype`; `ERR_ICONFACE_ABORTED`.
 * @example
 * await convertWeights('adaface_ir50_ms1mv2.ckpt', 'adaface.safetensors', { prefix: 'model.' })
 */
export async function convertWeights(input: string, output: string, options: ConvertOptions = {}): Promise<Conversion> {
  checkKnown('options', options, OPTIONS)
  const { dtype = 'keep', signal, onProgress } = options
  if (!CONVERT_DTYPES.includes(dtype)) throw invalid('dtype', CONVERT_DTYPES.join(', '), dtype)
  const source = isPytorch(input) ? openPytorchSource(input) : openSafetensorsSource(input)
  try {
    for (const file of source.files) checkNotSameFile(file, output)
    const { items, leftOut } = select(source, options)
    const writer = await SafetensorsWriter.create(output, items, { format: 'pt', ...options.metadata })
    try {
      let bytes = 0
      for (const item of items) {
        checkAborted(signal)
        await writer.write(convertTensor(item))
        bytes += tensorBytes(item)
        onProgress?.({ bytes, totalBytes: writer.dataBytes })
      }
      checkAborted(signal)
      await writer.finish()
    } finally {
      await writer.abort()
    }
    const dtypes: Partial<Record<DType, number>> = {}
    for (const { dtype } of items) dtypes[dtype] = (dtypes[dtype] ?? 0) + 1
    const { path: from, container, skipped } = source
    const done = { input: from, output: path.resolve(output), container, skipped, leftOut }
    return { ...done, tensors: items.length, bytes: writer.dataBytes, dtypes }
  } finally {
    source.close()
  }
}

interface Item {
  readonly name: string
  readonly tensor: ReadableTensor
  readonly shape: readonly number[]
  /** In the result. */
  readonly dtype: DType
}

function convertTensor({ name, tensor, shape, dtype }: Item): Uint8Array {
  const data = tensor.read()
  if (isFp8(tensor.dtype)) {
    return dequantise(data, tensor.dtype, tensor.scales(), shape[0] ?? 1, dtype as RoundedDType, name)
  }
  return tensor.dtype === dtype ? data : roundTensor(data, tensor.dtype, dtype as RoundedDType, name)
}

/** What is written, under which name and type, and what is not. */
function select(source: TensorSource, { prefix = '', dtype = 'keep', filter = () => true }: ConvertOptions) {
  const items: Item[] = []
  const leftOut = [...source.leftOut]
  for (const [full, tensor] of source.tensors) {
    const name = full.slice(prefix.length)
    if (!full.startsWith(prefix) || name === '' || !filter(full)) {
      leftOut.push(full)
      continue
    }
    items.push({ name, tensor, shape: tensor.shape, dtype: wantedDType(tensor.dtype, dtype) })
  }
  if (items.length === 0) {
    const names = [...source.tensors.keys()]
    throw new IConFaceError(
      'ERR_ICONFACE_INVALID_ARGUMENT',
      `no tensor of ${source.path} has a name that begins with ${describeValue(prefix)}; ` +
        `the closest is ${describeValue(closest(prefix, names))}, the first ${describeValue(names[0])}`,
    )
  }
  return { items, leftOut }
}

function wantedDType(stored: DType, wanted: (typeof CONVERT_DTYPES)[number]): DType {
  if (wanted === 'keep') return isFp8(stored) ? 'BF16' : stored
  return isReal(stored) || isFp8(stored) ? (wanted.toUpperCase() as DType) : stored
}

function checkNotSameFile(input: string, output: string): void {
  const status = statusOf(output)
  const original = fs.statSync(input)
  if (status && status.dev === original.dev && status.ino === original.ino) {
    throw invalid('the output', 'another file than the input', output)
  }
}
