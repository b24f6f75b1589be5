/**
 * Reading the tensors of PyTorch checkpoints (`.pt`, `.pth`, `.ckpt`) without PyTorch and without running what is in
 * them: both containers of `torch.save`, Lightning's checkpoints, nested dicts.
 *
 * Zip container (PyTorch 1.6 on): `<name>/data.pkl` describes the tensors, `<name>/data/<key>` are the storages,
 * `<name>/byteorder` is `little` or `big`. Legacy container: five pickles (magic number, version, platform, value,
 * storage keys), then every storage as u64 elements | little-endian data. Source: torch/serialization.py.
 */
import { describeValue, IConFaceError } from '../errors'
import { type DType, dtypeBits, elementCount } from './dtype'
import { PickleDict, PickleGlobal, PickleList, PickleTuple, type PickleValue, readPickle } from './pickle'
import { Placeholder, pytorchEnvironment, StorageReference, TensorReference } from './pytorch-globals'
import { type ByteSource, openSource } from './source'
import { readZipEntries, readZipEntry, type ZipEntry } from './zip'

const MAX_PICKLE_BYTES = 1 << 26
/** Dicts within dicts; tensors are rarely deeper than 5. */
const MAX_DEPTH = 64
const MAX_NAME_LENGTH = 4096
/** Values looked at in the search for tensors; shared ones count every time. */
const MAX_VISITS = 1 << 20
/**
 * What a file may grow to, as a factor and a constant: repeated views, tensors that share storages, deflated entries.
 * Checkpoints stay near 1; a file made to fill the disk does not.
 */
const MAX_EXPANSION = 16
const FREE_EXPANSION_BYTES = 1 << 20

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

/** {@link openPytorch} of a source, which the result closes. */
export function readPytorch(source: ByteSource): PytorchFile {
  const start = source.read(0, Math.min(source.size, 4), 'its beginning')
  const container =
    start.toString('latin1') === 'PK\x03\x04' ? new ZipContainer(source) : legacyContainer(source, start)
  const { tensors, skipped } = new Flattener(container).flatten()
  return { path: source.name, container: container.kind, tensors, skipped, close: () => source.close() }
}

/** A container that is opened: the unpickled value, and the storages it refers to. */
interface Container {
  readonly kind: 'zip' | 'legacy'
  readonly source: ByteSource
  readonly value: PickleValue
  /** Whether the file can hold this storage; called for every storage before anything is read. */
  check(storage: StorageReference): void
  /** Bytes `begin` to `begin + bytes` of a storage, little-endian once swapped by the width of `dtype`. */
  read(storage: StorageReference, dtype: DType, begin: number, bytes: number): Buffer
}

class ZipContainer implements Container {
  readonly kind = 'zip'
  readonly value: PickleValue
  private readonly entries: ReadonlyMap<string, ZipEntry>
  private readonly folder: string
  private readonly bigEndian: boolean
  private last: { key: string; data: Buffer } | undefined

  constructor(readonly source: ByteSource) {
    this.entries = readZipEntries(source)
    const pickles = [...this.entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name))
    if (pickles.length !== 1) {
      throw malformed(
        source,
        `${pickles.length} of its ${this.entries.size} entries are named <folder>/data.pkl, not 1`,
      )
    }
    this.folder = pickles[0]!.slice(0, -'data.pkl'.length)
    if (this.entries.has(`${this.folder}constants.pkl`)) {
      throw new IConFaceError(
        'ERR_ICONFACE_UNSUPPORTED',
        `${source.name} is a TorchScript program; save its state_dict() with torch.save instead`,
      )
    }
    const order = this.optional('byteorder') ?? 'little'
    if (order !== 'little' && order !== 'big') throw malformed(source, `its byte order is ${describeValue(order)}`)
    this.bigEndian = order === 'big'
    const pickle = readZipEntry(source, this.entries.get(pickles[0]!)!, MAX_PICKLE_BYTES)
    const { value, end } = readPickle(pickle, pytorchEnvironment(`${pickles[0]} of ${source.name}`))
    if (end !== pickle.length) throw malformed(source, `${pickles[0]} goes on after its end at byte ${end}`)
    this.value = value
  }

  check(storage: StorageReference): void {
    const entry = this.entry(storage)
    if (entry.bytes !== storage.bytes) {
      throw malformed(
        this.source,
        `storage "${storage.key}" should have ${storage.bytes} bytes, but has ${entry.bytes}`,
      )
    }
  }

  read(storage: StorageReference, dtype: DType, begin: number, bytes: number): Buffer {
    // Whole entries, for the sake of their checksums; the last one is kept, for the tensors that share it.
    if (this.last?.key !== storage.key) {
      this.last = undefined
      this.last = {
        key: storage.key,
        data: readZipEntry(this.source, this.entry(storage), expansionLimit(this.source)),
      }
    }
    const data = this.last.data.subarray(begin, begin + bytes)
    return this.bigEndian ? swapped(data, dtypeBits(dtype) / 8) : data
  }

  private entry({ key }: StorageReference): ZipEntry {
    const entry = this.entries.get(`${this.folder}data/${key}`)
    if (!entry) throw malformed(this.source, `storage "${key}" is not in it`)
    return entry
  }

  private optional(name: string): string | undefined {
    const entry = this.entries.get(this.folder + name)
    return entry && readZipEntry(this.source, entry, 64).toString('latin1').trim()
  }
}

/** `0x1950a86a20f9469cfc6c`, the first pickle of a legacy file. */
const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn
const LEGACY_VERSION = 1001

class LegacyContainer implements Container {
  readonly kind = 'legacy'
  readonly value: PickleValue
  /** Where each storage's number of elements stands in the file. */
  private readonly offsets = new Map<string, number>()
  private readonly keys: readonly string[]
  private readonly firstStorage: number
  private readonly storages = new Map<string, StorageReference>()

  constructor(readonly source: ByteSource) {
    const head = source.read(0, Math.min(source.size, MAX_PICKLE_BYTES), 'its pickles')
    const environment = pytorchEnvironment(source.name)
    const persistent = (id: PickleValue) => {
      const storage = environment.persistent(id)
      if (storage instanceof StorageReference) this.storages.set(storage.key, storage)
      return storage
    }
    let at = 0
    const next = () => {
      const { value, end } = readPickle(head.subarray(at), { ...environment, name: `the pickle at byte ${at} of ${source.name}`, persistent }) // prettier-ignore
      at += end
      return value
    }
    const magic = next()
    if (magic !== LEGACY_MAGIC) throw malformed(source, 'it does not begin with the magic number of torch.save')
    const version = next()
    if (version !== LEGACY_VERSION) throw malformed(source, `its version is ${String(version)}, not ${LEGACY_VERSION}`)
    next() // sizes of C's types on the machine that wrote it; the data does not depend on them
    this.value = next()
    const keys = next()
    if (!(keys instanceof PickleList) || !keys.items.every((key) => typeof key === 'string')) {
      throw malformed(source, 'its list of storages is none')
    }
    this.keys = keys.items as string[]
    this.firstStorage = at
    this.place()
  }

  /** Storages follow each other in the order of the list; where the next one begins depends on the one before. */
  private place(): void {
    let at = this.firstStorage
    for (const key of this.keys) {
      const storage = this.storages.get(key)
      if (!storage) throw malformed(this.source, `no tensor tells the type of storage ${describeValue(key)}`)
      if (this.offsets.has(key)) throw malformed(this.source, `storage "${key}" is in its list twice`)
      const elements = this.source.read(at, 8, `the size of storage "${key}"`).readBigUInt64LE()
      const width = storage.dtype === undefined ? 1 : dtypeBits(storage.dtype) / 8
      if (elements * BigInt(width) !== BigInt(storage.bytes)) {
        const expected = storage.bytes / width
        throw malformed(this.source, `storage "${key}" should have ${expected} elements, but has ${elements}`)
      }
      this.offsets.set(key, at + 8)
      at += 8 + storage.bytes
      if (at > this.source.size) {
        const { size } = this.source
        throw malformed(this.source, `storage "${key}" would end at byte ${at} of a file of ${size} bytes; it is cut short`) // prettier-ignore
      }
    }
    if (at !== this.source.size)
      throw malformed(this.source, `it goes on after its last storage, which ends at byte ${at}`)
  }

  check({ key }: StorageReference): void {
    if (!this.offsets.has(key)) throw malformed(this.source, `storage "${key}" is not in it`)
  }

  read(storage: StorageReference, _: DType, begin: number, bytes: number): Buffer {
    return this.source.read(this.offsets.get(storage.key)! + begin, bytes, `storage "${storage.key}"`)
  }
}

function legacyContainer(source: ByteSource, start: Buffer): Container {
  // Every pickle of protocol 2 and later begins with its protocol.
  if (start[0] === 0x80 && start[1]! >= 2 && start[1]! <= 5) return new LegacyContainer(source)
  throw malformed(source, `it begins with ${start.toString('hex') || 'nothing'}, neither a zip archive nor a pickle`)
}

/** Collects the tensors of nested dicts and lists, and says what is left out. */
class Flattener {
  private readonly tensors = new Map<string, PytorchTensor>()
  private readonly skipped: SkippedValue[] = []
  private visits = 0
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

function expansionLimit({ size }: ByteSource): number {
  return MAX_EXPANSION * size + FREE_EXPANSION_BYTES
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

/** A copy with the bytes of every element in reverse. */
function swapped(data: Buffer, width: number): Buffer {
  const copy = Buffer.from(data)
  if (width === 2) return copy.swap16()
  if (width === 4) return copy.swap32()
  return width === 8 ? copy.swap64() : copy
}

function malformed({ name }: ByteSource, reason: string): IConFaceError {
  return new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `${name} is no valid PyTorch checkpoint: ${reason}`)
}
