/**
 * Reading zip archives, as far as PyTorch writes them and people repack them: stored and deflated entries, zip64.
 *
 * The central directory is the only list of entries. Every offset and size is compared with the file, every local
 * header with the directory, and entries may not overlap, so no entry is what another reader would not see.
 *
 * Format: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3. Numbers are little-endian.
 */
import { isUtf8 } from 'node:buffer'
import { inflateRawSync } from 'node:zlib'
import { describeValue, IConFaceError } from '../errors'
import type { ByteSource } from './byte-source'

const LOCAL_HEADER = { signature: 0x04034b50, bytes: 30 }
const CENTRAL_HEADER = { signature: 0x02014b50, bytes: 46 }
const END = { signature: 0x06054b50, bytes: 22 }
const END_64 = { signature: 0x06064b50, bytes: 56 }
const END_64_LOCATOR = { signature: 0x07064b50, bytes: 20 }
const ZIP64_EXTRA = 1
const MAX_COMMENT = 0xffff
const MAX_DIRECTORY_BYTES = 1 << 26
const STORED = 0
const DEFLATED = 8

/** What the directory says about one entry, and where its data really is. */
export interface ZipEntry {
  readonly name: string
  readonly method: typeof STORED | typeof DEFLATED
  /** In the file. */
  readonly compressedBytes: number
  /** Once inflated. */
  readonly bytes: number
  readonly crc: number
  /** Where the data begins, in bytes from the start of the file. */
  readonly offset: number
}

/**
 * The entries of an archive, by name. Nothing is inflated.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT` with the entry and the numbers when a rule is broken;
 *         `ERR_ICONFACE_UNSUPPORTED` for encryption, several disks and other methods than stored and deflated.
 */
export function readZipEntries(source: ByteSource): ReadonlyMap<string, ZipEntry> {
  const { start, bytes, count } = findDirectory(source)
  const directory = source.read(start, bytes, 'its zip directory')
  const entries = new Map<string, ZipEntry>()
  const spans: { begin: number; end: number; name: string }[] = []
  let at = 0
  for (let i = 0; i < count; i++) {
    const header = centralHeader(directory, at, start, source)
    at = header.next
    if (entries.has(header.name)) throw malformed(source, `it holds ${describeValue(header.name)} twice`)
    const entry = locate(header, source)
    entries.set(entry.name, entry)
    spans.push({ begin: header.headerOffset, end: entry.offset + entry.compressedBytes, name: entry.name })
  }
  if (at !== bytes) throw malformed(source, `its directory has ${bytes} bytes, but ${count} entries end at ${at}`)
  spans.push({ begin: start, end: start + bytes, name: 'the directory' })
  checkOverlaps(spans, source)
  return entries
}

/**
 * The bytes of one entry, checked against its size and checksum.
 *
 * @param limit  the most bytes it may have once inflated; `what` says what it is
 */
export function readZipEntry(source: ByteSource, entry: ZipEntry, limit: number): Buffer {
  const label = `its entry ${describeValue(entry.name)}`
  if (entry.bytes > limit) {
    throw malformed(source, `${label} would have ${entry.bytes} bytes, and at most ${limit} are plausible`)
  }
  const stored = source.read(entry.offset, entry.compressedBytes, label)
  const data = entry.method === STORED ? stored : inflate(stored, entry, source)
  const crc = crc32(data)
  if (crc !== entry.crc) {
    throw malformed(source, `${label} has the checksum ${hex(crc)} instead of ${hex(entry.crc)}; copy the file again`)
  }
  return data
}

function inflate(stored: Buffer, { name, bytes }: ZipEntry, source: ByteSource): Buffer {
  let data: Buffer
  try {
    // One byte more than declared is enough to notice that there are more.
    data = inflateRawSync(stored, { maxOutputLength: bytes + 1 })
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    const reason = code === 'ERR_BUFFER_TOO_LARGE' ? `inflates to more than the declared ${bytes} bytes` : message
    throw malformed(source, `its entry ${describeValue(name)} cannot be inflated: ${reason}`)
  }
  if (data.length !== bytes) {
    throw malformed(source, `its entry ${describeValue(name)} inflates to ${data.length} bytes, not ${bytes}`)
  }
  return data
}

interface CentralHeader extends Omit<ZipEntry, 'offset'> {
  readonly headerOffset: number
  /** Where the next header of the directory begins. */
  readonly next: number
}

function centralHeader(directory: Buffer, at: number, start: number, source: ByteSource): CentralHeader {
  if (at + CENTRAL_HEADER.bytes > directory.length || directory.readUInt32LE(at) !== CENTRAL_HEADER.signature) {
    throw malformed(source, `there is no directory entry at byte ${start + at}`)
  }
  const flags = directory.readUInt16LE(at + 8)
  const method = directory.readUInt16LE(at + 10)
  const nameEnd = at + CENTRAL_HEADER.bytes + directory.readUInt16LE(at + 28)
  const extraEnd = nameEnd + directory.readUInt16LE(at + 30)
  const next = extraEnd + directory.readUInt16LE(at + 32)
  if (next > directory.length) throw malformed(source, `the directory entry at byte ${start + at} leaves the directory`)
  const rawName = directory.subarray(at + CENTRAL_HEADER.bytes, nameEnd)
  if (!isUtf8(rawName)) throw malformed(source, `the directory entry at byte ${start + at} has a name that is no UTF-8`)
  const name = rawName.toString('utf8')
  const label = `entry ${describeValue(name)}`
  if ((flags & 0x2041) !== 0) throw unsupported(source, `${label} is encrypted`)
  if (method !== STORED && method !== DEFLATED) throw unsupported(source, `${label} has compression method ${method}`)
  const wide = new Zip64Fields(directory.subarray(nameEnd, extraEnd))
  const take = (value: number) => {
    const number = value === 0xffffffff ? wide.next() : value
    if (number === undefined) throw malformed(source, `${label} has no valid zip64 sizes`)
    return number
  }
  // In the order of the zip64 field.
  const bytes = take(directory.readUInt32LE(at + 24))
  const compressedBytes = take(directory.readUInt32LE(at + 20))
  const headerOffset = take(directory.readUInt32LE(at + 42))
  if (method === STORED && bytes !== compressedBytes) {
    throw malformed(source, `${label} is stored as it is, but has ${compressedBytes} bytes instead of ${bytes}`)
  }
  return { name, method, bytes, compressedBytes, headerOffset, crc: directory.readUInt32LE(at + 16), next }
}

/** The 64-bit numbers of the zip64 extra field, which replace those of the header that are 0xffffffff. */
class Zip64Fields {
  private readonly fields: Buffer
  private at = 0

  constructor(extra: Buffer) {
    let at = 0
    while (at + 4 <= extra.length && extra.readUInt16LE(at) !== ZIP64_EXTRA) at += 4 + extra.readUInt16LE(at + 2)
    this.fields =
      at + 4 <= extra.length ? extra.subarray(at + 4, at + 4 + extra.readUInt16LE(at + 2)) : extra.subarray(0, 0)
  }

  /** `undefined` when there is none, or none that a double holds. */
  next(): number | undefined {
    if (this.at + 8 > this.fields.length) return undefined
    this.at += 8
    return readSafeUInt64(this.fields, this.at - 8)
  }
}

/** Follows the directory to the local header, which must agree with it, and so to the data. */
function locate({ headerOffset, next: _, ...entry }: CentralHeader, source: ByteSource): ZipEntry {
  const label = `entry ${describeValue(entry.name)}`
  const header = source.read(headerOffset, LOCAL_HEADER.bytes, `the header of ${label}`)
  if (header.readUInt32LE(0) !== LOCAL_HEADER.signature) {
    throw malformed(source, `there is no header of ${label} at byte ${headerOffset}`)
  }
  const nameBytes = header.readUInt16LE(26)
  const offset = headerOffset + LOCAL_HEADER.bytes + nameBytes + header.readUInt16LE(28)
  const name = source.read(headerOffset + LOCAL_HEADER.bytes, nameBytes, `the header of ${label}`)
  if (!name.equals(Buffer.from(entry.name)) || header.readUInt16LE(8) !== entry.method) {
    throw malformed(source, `the header of ${label} at byte ${headerOffset} contradicts the directory`)
  }
  if (offset + entry.compressedBytes > source.size) {
    const end = offset + entry.compressedBytes
    throw malformed(source, `${label} would be bytes ${offset} to ${end} of a file of ${source.size} bytes`)
  }
  return { ...entry, offset }
}

function checkOverlaps(spans: { begin: number; end: number; name: string }[], source: ByteSource): void {
  spans.sort((a, b) => a.begin - b.begin || a.end - b.end)
  for (const [i, { begin, name }] of spans.entries()) {
    const before = spans[i - 1]
    if (before && before.end > begin) {
      throw malformed(
        source,
        `${before.name} reaches to byte ${before.end}, but ${name} begins at ${begin}: they overlap`,
      )
    }
  }
}

/** Where the directory is, from the record at the end of the file. */
function findDirectory(source: ByteSource): { start: number; bytes: number; count: number } {
  const tailBytes = Math.min(source.size, END.bytes + MAX_COMMENT)
  const tail = source.read(source.size - tailBytes, tailBytes, 'its end')
  let at = tail.length - END.bytes
  // The record is followed by a comment of the length it says, and nothing else.
  while (
    at >= 0 &&
    !(tail.readUInt32LE(at) === END.signature && at + END.bytes + tail.readUInt16LE(at + 20) === tail.length)
  )
    at--
  if (at < 0) throw malformed(source, 'it has no directory at its end; it is cut short')
  const end = source.size - tail.length + at
  let [count, bytes, start] = [tail.readUInt16LE(at + 10), tail.readUInt32LE(at + 12), tail.readUInt32LE(at + 16)]
  if (tail.readUInt16LE(at + 4) !== tail.readUInt16LE(at + 6))
    throw unsupported(source, 'it is spread over several disks')
  const wide = directory64(source, end)
  if (wide) ({ count, bytes, start } = wide)
  if (bytes > MAX_DIRECTORY_BYTES) throw malformed(source, `its directory would have ${bytes} bytes`)
  if (start + bytes > end) {
    throw malformed(source, `its directory would be bytes ${start} to ${start + bytes}, but its end begins at ${end}`)
  }
  return { start, bytes, count }
}

/** The zip64 record, which is there when a locator stands before the plain one. */
function directory64(source: ByteSource, end: number) {
  if (end < END_64_LOCATOR.bytes) return undefined
  const locator = source.read(end - END_64_LOCATOR.bytes, END_64_LOCATOR.bytes, 'its zip64 locator')
  if (locator.readUInt32LE(0) !== END_64_LOCATOR.signature) return undefined
  const at = readSafeUInt64(locator, 8) ?? NaN
  const record = source.read(at, END_64.bytes, 'its zip64 directory record')
  const [count, bytes, start] = [32, 40, 48].map((field) => readSafeUInt64(record, field))
  if (
    record.readUInt32LE(0) !== END_64.signature ||
    count === undefined ||
    bytes === undefined ||
    start === undefined
  ) {
    throw malformed(source, `there is no zip64 directory record at byte ${at}`)
  }
  return { count, bytes, start }
}

/** An unsigned 64-bit number, or `undefined` when a double does not hold it. */
function readSafeUInt64(bytes: Buffer, at: number): number | undefined {
  const value = bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32
  return Number.isSafeInteger(value) ? value : undefined
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  return crc
})

/** CRC-32 of ISO 3309; node:zlib has it only from Node 22 on. */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8)
  return ~crc >>> 0
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0')
}

function malformed({ name }: ByteSource, reason: string): IConFaceError {
  return new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `${name} is no valid zip archive: ${reason}`)
}

function unsupported({ name }: ByteSource, reason: string): IConFaceError {
  return new IConFaceError('ERR_ICONFACE_UNSUPPORTED', `${name} is a zip archive of a kind not read here: ${reason}`)
}
