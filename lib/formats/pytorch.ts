/**
 * Reading the tensors of PyTorch checkpoints (`.pt`, `.pth`, `.ckpt`) without PyTorch and without running what is in
 * them: both containers of `torch.save`, Lightning's checkpoints, nested dicts.
 */
import fs from 'node:fs'
import { describeValue } from '../errors'
import { statusOf } from '../util/file-status'
import { type DType, dtypeBits, elementCount } from './dtype'
import { PickleDict, PickleGlobal, PickleList, PickleTuple, type PickleValue } from './pickle-values'
import { type Container, expansionLimit, malformed, MAX_EXPANSION, openContainer } from './pytorch-container'
import { Placeholder, StorageReference, TensorReference } from './pytorch-globals'
import { type ByteSource, openRegularFile, openSource } from './byte-source'

/** Dicts within dicts; tensors are rarely deeper than 5. */
const MAX_DEPTH = 64
const MAX_NAME_LENGTH = 4096
/** All names together, in characters. */
const MAX_NAMES_LENGTH = 1 << 25
/** Values looked at in the search for tensors; shared ones count every time. */
const MAX_VISITS = 1 << 20

/** One tensor of a checkpoint. */
export interface PytorchTensor {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly bytes: number
  /** Its elements in row-major order, little-endian. The bytes may be shared with other tensors: do not change them. */
  read(): Uint8Array
}

/** Something of a checkpoint that is no tensor, or none of the weights. */
export interface SkippedValue {
  /** The keys that lead to it, with dots between. */
  readonly name: string
  /** `int`, `dict`, `2 tensors` … */
  readonly kind: string
}

export interface PytorchFile {
  /** Absolute. */
  readonly path: string
  readonly container: 'zip' | 'legacy'
  /** By name, in the order of the file. */
  readonly tensors: ReadonlyMap<string, PytorchTensor>
  readonly skipped: readonly SkippedValue[]
  close(): void
}

/**
 * Opens a checkpoint. If it is a dict with a dict `state_dict`, as Lightning writes, that one holds the weights, and
 * everything beside it is skipped. Keys of nested dicts and places in lists become names with dots between.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT` for damage, and for a pickle that names a global which is
 *         not needed for tensors (the message names it); `ERR_ICONFACE_UNSUPPORTED` for TorchScript and compression
 *         other than deflate; `ERR_ICONFACE_FILE_NOT_FOUND` or `ERR_ICONFACE_IO` when the file cannot be read.
 * @example
 * const file = openPytorch('adaface_ir50_ms1mv2.ckpt')
 * try {
 *   for (const [name, tensor] of file.tensors) console.log(name, tensor.dtype, tensor.shape, tensor.read())
 * } finally {
 *   file.close()
 * }
 */
export function openPytorch(file: string): PytorchFile {
  const source = openSource(file)
  try {
    return readPytorch(source)
  } catch (error) {
    source.close()
    throw error
  }
}

/** Whether `file` begins as PyTorch files do. A folder, or what cannot be read, does not. */
export function isPytorch(file: string): boolean {
  if (!statusOf(file)?.isFile()) return false
  const start = Buffer.alloc(4)
  const descriptor = openRegularFile(file)
  try {
    fs.readSync(descriptor, start, 0, 4, 0)
  } finally {
    fs.closeSync(descriptor)
  }
  // The length of a safetensors header may begin with the same two bytes as a pickle, but a zero follows them.
  const isPickle = start[0] === 0x80 && start[1]! >= 2 && start[1]! <= 5 && start[2] !== 0
  return isPickle || start.toString('latin1') === 'PK\x03\x04'
}

/** {@link openPytorch} of a source, which the result closes. */
export function readPytorch(source: ByteSource): PytorchFile {
  const container = openContainer(source)
  const { tensors, skipped } = new Flattener(container).flatten()
  return { path: source.name, container: container.kind, tensors, skipped, close: () => source.close() }
}

/** Collects the tensors of nested dicts and lists, and says what is left out. */
class Flattener {
  private readonly tensors = new Map<string, PytorchTensor>()
  private readonly skipped: SkippedValue[] = []
  private visits = 0
  private namesLength = 0
  private bytes = 0

  constructor(private readonly container: Container) {}

  flatten(): { tensors: ReadonlyMap<string, PytorchTensor>; skipped: SkippedValue[] } {
    const { value } = this.container
    const weights = value instanceof PickleDict ? value.entries.get('state_dict') : undefined
    if (value instanceof PickleDict && weights instanceof PickleDict) {
      for (const [key, other] of value.entries) if (other !== weights) this.skip(keyName(key), other)
      this.visit('', weights, 1)
    } else {
      // A file may hold a single tensor, which has no name.
      this.visit(value instanceof TensorReference ? 'tensor' : '', value, 0)
    }
    if (this.tensors.size === 0) throw malformed(this.container.source, 'it holds no tensors in dicts or lists')
    return { tensors: this.tensors, skipped: this.skipped }
  }

  private visit(name: string, value: PickleValue, depth: number): void {
    this.count(name, depth)
    const prefix = name === '' ? '' : `${name}.`
    if (value instanceof TensorReference) return this.add(name, value)
    const children = childrenOf(value)
    if (!children || this.countTensors(name, value, depth) === 0) return this.skip(name, value)
    for (const [key, child] of children) this.visit(prefix + keyName(key), child, depth + 1)
  }

  private count(name: string, depth: number): void {
    if (depth > MAX_DEPTH) {
      throw malformed(this.container.source, `${describeValue(name)} is nested more than ${MAX_DEPTH} deep`)
    }
    if (name.length > MAX_NAME_LENGTH) {
      throw malformed(this.container.source, `a name has ${name.length} characters: ${describeValue(name)}`)
    }
    this.namesLength += name.length
    if (this.namesLength > MAX_NAMES_LENGTH) {
      throw malformed(this.container.source, `its names take more than ${MAX_NAMES_LENGTH} characters`)
    }
    if (++this.visits > MAX_VISITS) throw malformed(this.container.source, `it holds more than ${MAX_VISITS} values`)
  }

  private add(name: string, tensor: TensorReference): void {
    const { source } = this.container
    if (this.tensors.has(name)) throw malformed(source, `two of its tensors are named ${describeValue(name)}`)
    this.container.check(tensor.storage)
    const bytes = elementCount(tensor.shape)! * (dtypeBits(tensor.dtype) / 8)
    this.bytes += bytes
    const limit = expansionLimit(source)
    if (this.bytes > limit) {
      throw malformed(source, `its tensors take more than ${limit} bytes, ${MAX_EXPANSION} times the file`)
    }
    const { dtype, shape } = tensor
    this.tensors.set(name, { dtype, shape, bytes, read: () => readTensor(this.container, tensor, bytes) })
  }

  private skip(name: string, value: PickleValue): void {
    const count = this.countTensors(name, value, 0)
    const tensors = count === 0 ? '' : count === 1 ? ', 1 tensor' : `, ${count} tensors`
    this.skipped.push({ name, kind: kindOf(value) + tensors })
  }

  private countTensors(name: string, value: PickleValue, depth: number): number {
    this.count(name, depth)
    if (value instanceof TensorReference) return 1
    let count = 0
    for (const [, child] of childrenOf(value) ?? []) count += this.countTensors(name, child, depth + 1)
    return count
  }
}

function childrenOf(value: PickleValue): Iterable<readonly [PickleValue, PickleValue]> | undefined {
  if (value instanceof PickleDict) return value.entries
  if (value instanceof PickleList || value instanceof PickleTuple) return value.items.entries()
  return undefined
}

function keyName(key: PickleValue): string {
  return typeof key === 'object' ? `<${kindOf(key)}>` : String(key)
}

/** Python's name of a value's type. */
function kindOf(value: PickleValue): string {
  if (value === null) return 'None'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'string') return 'str'
  if (typeof value === 'number' || typeof value === 'bigint') return Number.isInteger(Number(value)) ? 'int' : 'float'
  if (value instanceof PickleDict) return 'dict'
  if (value instanceof PickleList) return 'list'
  if (value instanceof PickleTuple) return 'tuple'
  if (value instanceof PickleGlobal) return value.name
  if (value instanceof Placeholder) return value.className
  if (value instanceof TensorReference) return 'tensor'
  return value instanceof StorageReference ? 'storage' : 'bytes'
}

/** Row-major bytes of a view; one that is row-major already is read without copying. */
function readTensor(container: Container, tensor: TensorReference, bytes: number): Uint8Array {
  const { storage, dtype, shape, strides, offset } = tensor
  const width = dtypeBits(dtype) / 8
  if (bytes === 0) return new Uint8Array(0)
  if (isRowMajor(shape, strides)) return container.read(storage, dtype, offset * width, bytes)
  const last = shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis]!, 0)
  const source = container.read(storage, dtype, offset * width, (last + 1) * width)
  return gather(source, bytes, width, shape, strides)
}

function isRowMajor(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false
    expected *= shape[axis]!
  }
  return true
}

/** Copies element by element; `at` counts through the shape like an odometer, the last axis fastest. */
function gather(
  source: Uint8Array,
  bytes: number,
  width: number,
  shape: readonly number[],
  strides: readonly number[],
) {
  const out = new Uint8Array(bytes)
  const at = shape.map(() => 0)
  let from = 0
  for (let to = 0; to < bytes; to += width) {
    for (let byte = 0; byte < width; byte++) out[to + byte] = source[from + byte]!
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]! * width
      if (++at[axis]! < shape[axis]!) break
      from -= strides[axis]! * width * shape[axis]!
      at[axis] = 0
    }
  }
  return out
}
