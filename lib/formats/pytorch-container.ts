/**
 * The two containers of `torch.save`: where the pickle and the storages are in the file.
 *
 * Zip container (PyTorch 1.6 on): `<name>/data.pkl` describes the tensors, `<name>/data/<key>` are the storages,
 * `<name>/byteorder` is `little` or `big`. Legacy container: five pickles (magic number, version, platform, value,
 * storage keys), then every storage as u64 elements | little-endian data. Source: torch/serialization.py.
 */
import { describeValue, IConFaceError } from '../errors'
import { type DType, dtypeBits } from './dtype'
import { readPickle } from './pickle'
import { PickleList, type PickleValue } from './pickle-values'
import { pytorchEnvironment, StorageReference } from './pytorch-globals'
import type { ByteSource } from './byte-source'
import { readZipEntries, readZipEntry, type ZipEntry } from './zip'

const MAX_PICKLE_BYTES = 1 << 26

/**
 * What a file may grow to, as a factor and a constant: repeated views, tensors that share storages, deflated entries.
 * Checkpoints stay near 1; a file made to fill the disk does not.
 */
export const MAX_EXPANSION = 16
const FREE_EXPANSION_BYTES = 1 << 20

/** A container that is opened: the unpickled value, and the storages it refers to. */
export interface Container {
  readonly kind: 'zip' | 'legacy'
  readonly source: ByteSource
  readonly value: PickleValue
  /** Whether the file can hold this storage; called for every storage before anything is read. */
  check(storage: StorageReference): void
  /** Bytes `begin` to `begin + bytes` of a storage, elements of `dtype`, little-endian. */
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
      const { value, end } = readPickle(head.subarray(at), {
        ...environment,
        name: `the pickle at byte ${at} of ${source.name}`,
        persistent,
      })
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
        throw malformed(
          this.source,
          `storage "${key}" would end at byte ${at} of a file of ${size} bytes; it is cut short`,
        )
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

/** Tells the containers apart by their first bytes, and unpickles the value. */
export function openContainer(source: ByteSource): Container {
  const start = source.read(0, Math.min(source.size, 4), 'its beginning')
  if (start.toString('latin1') === 'PK\x03\x04') return new ZipContainer(source)
  // Every pickle of protocol 2 and later begins with its protocol.
  if (start[0] === 0x80 && start[1]! >= 2 && start[1]! <= 5) return new LegacyContainer(source)
  throw malformed(source, `it begins with ${start.toString('hex') || 'nothing'}, neither a zip archive nor a pickle`)
}

/** The most bytes that the tensors of a file, or one of its entries, may take. */
export function expansionLimit({ size }: ByteSource): number {
  return MAX_EXPANSION * size + FREE_EXPANSION_BYTES
}

/** A copy with the bytes of every element in reverse. */
function swapped(data: Buffer, width: number): Buffer {
  const copy = Buffer.from(data)
  if (width === 2) return copy.swap16()
  if (width === 4) return copy.swap32()
  return width === 8 ? copy.swap64() : copy
}

export function malformed({ name }: ByteSource, reason: string): IConFaceError {
  return new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `${name} is no valid PyTorch checkpoint: ${reason}`)
}
