/**
 * Reading safetensors files: the header only, and only after every rule of the format holds.
 *
 * File: u64 little-endian length N | N bytes of JSON | data. The JSON maps each tensor's name to
 * `{ dtype, shape, data_offsets: [begin, end] }`, offsets counted from the start of the data; `__metadata__`, if there,
 * maps strings to strings. The native side maps the byte ranges that come out of here without a further check, so a
 * file is accepted only if its tensors tile the data exactly: sorted by offset they begin at 0, leave no hole, do not
 * overlap and end with the file.
 *
 * Format: https://github.com/huggingface/safetensors, README "Format".
 */
import { isUtf8 } from 'node:buffer'
import fs from 'node:fs'
import path from 'node:path'
import { describeValue, IConFaceError } from '../errors'
import { type DType, dtypeBits, elementCount, isDType } from './dtype'
import { foreignFormat, START_BYTES } from './foreign'
import { openRegularFile, readFully } from './byte-source'
import type { TensorInfo } from './named-tensors'

/** The format's own cap on the header, in bytes. */
const MAX_HEADER_BYTES = 100_000_000

/** More axes than any file in use has; keeps a hostile shape from growing without end. */
const MAX_RANK = 64

/** A validated header: what the file says about itself. */
export interface SafetensorsHeader {
  readonly metadata: Readonly<Record<string, string>>
  /** By name, in the order of the data. */
  readonly tensors: ReadonlyMap<string, TensorInfo>
}

/** An opened (and closed again) file. */
export interface SafetensorsFile extends SafetensorsHeader {
  /** Absolute. */
  readonly path: string
  readonly fileSize: number
  readonly mtimeMs: number
  /** Length of the JSON. */
  readonly headerBytes: number
}

/**
 * Reads and validates the header of a safetensors file. The weights themselves are not read.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT` when a rule is broken: the message names the rule, the
 *         tensor and the numbers; `ERR_ICONFACE_FILE_NOT_FOUND` or `ERR_ICONFACE_IO` when the file cannot be read.
 */
export function openSafetensors(file: string): SafetensorsFile {
  const absolute = path.resolve(file)
  const descriptor = openRegularFile(absolute)
  try {
    const { size, mtimeMs } = fs.fstatSync(descriptor)
    const start = readFully(descriptor, absolute, 0, Math.min(size, START_BYTES))
    const format = foreignFormat(absolute, start)
    if (format !== undefined) throw new IConFaceError('ERR_ICONFACE_UNSUPPORTED', `${absolute} is ${format}`)
    const headerBytes = headerLength(start, size, absolute)
    const json = readFully(descriptor, absolute, 8, headerBytes)
    return { path: absolute, fileSize: size, mtimeMs, headerBytes, ...parseHeader(json, size, absolute) }
  } finally {
    fs.closeSync(descriptor)
  }
}

/** The bytes of one tensor of an opened file, little-endian as stored. */
export function readTensorBytes(file: SafetensorsFile, name: string): Buffer {
  const tensor = file.tensors.get(name)
  if (!tensor) throw malformed(file.path, `it holds no tensor named ${describeValue(name)}`)
  const descriptor = openRegularFile(file.path)
  try {
    return readFully(descriptor, file.path, tensor.offset, tensor.bytes)
  } finally {
    fs.closeSync(descriptor)
  }
}

/**
 * The length of the JSON header, from the first bytes of a file of `fileSize` bytes.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT`; a file of another well-known kind is named as such.
 */
export function headerLength(start: Uint8Array, fileSize: number, file: string): number {
  if (fileSize < 8 || start.length < 8) {
    throw malformed(file, `it has ${fileSize} bytes, and the length of the header alone takes 8`)
  }
  const view = new DataView(start.buffer, start.byteOffset, 8)
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32
  if (length > MAX_HEADER_BYTES) {
    throw malformed(file, `its header would be ${length} bytes, more than ${MAX_HEADER_BYTES}${otherKind(start)}`)
  }
  if (length > fileSize - 8) {
    throw malformed(
      file,
      `its header is ${length} bytes, but only ${fileSize - 8} follow; it is cut short${otherKind(start)}`,
    )
  }
  return length
}

/**
 * Validates the JSON header of a file of `fileSize` bytes. Pure: no file is touched.
 *
 * @param json  exactly the header's bytes
 * @param file  the file's name, for messages
 */
export function parseHeader(json: Uint8Array, fileSize: number, file: string): SafetensorsHeader {
  if (!isUtf8(json)) throw malformed(file, 'its header is not valid UTF-8')
  const text = Buffer.from(json.buffer, json.byteOffset, json.byteLength).toString('utf8')
  if (text[0] !== '{') throw malformed(file, `its header begins with ${describeValue(text.slice(0, 1))} instead of "{"`)
  const { metadata, entries } = new HeaderScanner(text, file).scan()
  return { metadata, tensors: placeTensors(entries, 8 + json.length, fileSize, file) }
}

/** What the JSON says about one tensor, before it is compared with anything else. */
interface Entry {
  readonly name: string
  readonly dtype: DType
  readonly shape: number[]
  readonly begin: number
  readonly end: number
}

/** Checks sizes and tiling, and turns offsets within the data into offsets within the file. */
function placeTensors(entries: Entry[], dataStart: number, fileSize: number, file: string): Map<string, TensorInfo> {
  const dataBytes = fileSize - dataStart
  for (const entry of entries) checkSize(entry, dataBytes, file)
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end)
  let previous: Entry | undefined
  const tensors = new Map<string, TensorInfo>()
  for (const entry of entries) {
    checkAdjacent(previous, entry, file)
    const { name, dtype, shape, begin, end } = entry
    tensors.set(name, { dtype, shape, offset: dataStart + begin, bytes: end - begin })
    previous = entry
  }
  const end = previous?.end ?? 0
  if (end !== dataBytes) {
    throw malformed(file, `its tensors end at byte ${end} of the data, but the data has ${dataBytes} bytes`)
  }
  return tensors
}

function checkSize({ name, dtype, shape, begin, end }: Entry, dataBytes: number, file: string): void {
  const label = `tensor ${describeValue(name)}`
  if (begin > end) throw malformed(file, `${label} ends at ${end} before it begins at ${begin}`)
  const elements = elementCount(shape)
  const bits = elements === undefined ? Infinity : elements * dtypeBits(dtype)
  if (!Number.isSafeInteger(bits))
    throw malformed(file, `${label} has a shape too large to count: [${shape.join(', ')}]`)
  if (bits % 8 !== 0) {
    throw malformed(
      file,
      `${label} of ${dtype} [${shape.join(', ')}] takes ${bits} bits, which is no whole number of bytes`,
    )
  }
  if (bits / 8 !== end - begin) {
    throw malformed(
      file,
      `${label} of ${dtype} [${shape.join(', ')}] takes ${bits / 8} bytes, but its offsets ${begin} to ${end} hold ${end - begin}`,
    )
  }
  if (end > dataBytes) {
    throw malformed(
      file,
      `${label} ends at byte ${end} of the data, but only ${dataBytes} are there; the file is cut short`,
    )
  }
}

function checkAdjacent(previous: Entry | undefined, entry: Entry, file: string): void {
  const expected = previous?.end ?? 0
  if (entry.begin === expected) return
  const label = `tensor ${describeValue(entry.name)}`
  if (!previous)
    throw malformed(
      file,
      `the first of its tensors, ${describeValue(entry.name)}, begins at ${entry.begin} instead of 0`,
    )
  const before = `tensor ${describeValue(previous.name)}`
  throw entry.begin < expected
    ? malformed(file, `${label} begins at ${entry.begin}, but ${before} reaches to ${expected}: they overlap`)
    : malformed(file, `bytes ${expected} to ${entry.begin} between ${before} and ${label} belong to no tensor`)
}

/**
 * A strict scanner for the one shape of JSON a header may have. It never recurses, keeps no number it has not checked,
 * and sees what JSON.parse hides: duplicate keys, and integers a double cannot hold.
 */
class HeaderScanner {
  private at = 0

  constructor(
    private readonly text: string,
    private readonly file: string,
  ) {}

  scan(): { metadata: Record<string, string>; entries: Entry[] } {
    let metadata: Record<string, string> | undefined
    const names = new Set<string>()
    const entries: Entry[] = []
    this.object('the header', names, (key) => {
      if (key === '__metadata__') metadata = this.metadata()
      else entries.push(this.entry(key))
    })
    this.skipSpace()
    if (this.at < this.text.length) throw this.unexpected('the end of the header')
    return { metadata: metadata ?? {}, entries }
  }

  private metadata(): Record<string, string> {
    const pairs: [string, string][] = []
    this.object('__metadata__', new Set(), (key) => pairs.push([key, this.string(`a string for __metadata__.${key}`)]))
    return Object.fromEntries(pairs)
  }

  private entry(name: string): Entry {
    const label = `tensor ${describeValue(name)}`
    let dtype: DType | undefined
    let shape: number[] | undefined
    let offsets: number[] | undefined
    this.object(label, new Set(), (key) => {
      if (key === 'dtype') dtype = this.dtype(label)
      else if (key === 'shape') shape = this.integers(`the shape of ${label}`)
      else if (key === 'data_offsets') offsets = this.integers(`the data_offsets of ${label}`)
      else throw malformed(this.file, `${label} has an unknown key ${describeValue(key)}`)
    })
    if (dtype === undefined) throw malformed(this.file, `${label} has no dtype`)
    if (shape === undefined) throw malformed(this.file, `${label} has no shape`)
    if (offsets === undefined) throw malformed(this.file, `${label} has no data_offsets`)
    if (offsets.length !== 2)
      throw malformed(this.file, `the data_offsets of ${label} are ${offsets.length} numbers, not 2`)
    return { name, dtype, shape, begin: offsets[0]!, end: offsets[1]! }
  }

  private dtype(label: string): DType {
    const name = this.string(`a dtype for ${label}`)
    if (!isDType(name)) throw malformed(this.file, `${label} has the unknown dtype ${describeValue(name)}`)
    return name
  }

  /** `{ key: value, … }`; `value` is called at each value and must consume it. */
  private object(what: string, seen: Set<string>, value: (key: string) => void): void {
    this.expect('{', `an object for ${what}`)
    if (this.accept('}')) return
    do {
      const key = this.string(`a key of ${what}`)
      if (seen.has(key)) throw malformed(this.file, `${what} has the key ${describeValue(key)} twice`)
      seen.add(key)
      this.expect(':', `":" after the key ${describeValue(key)}`)
      value(key)
    } while (this.accept(','))
    this.expect('}', `"," or "}" in ${what}`)
  }

  private integers(what: string): number[] {
    const values: number[] = []
    this.expect('[', `a list for ${what}`)
    if (this.accept(']')) return values
    do {
      if (values.length === MAX_RANK) throw malformed(this.file, `${what} has more than ${MAX_RANK} numbers`)
      values.push(this.integer(what))
    } while (this.accept(','))
    this.expect(']', `"," or "]" in ${what}`)
    return values
  }

  private integer(what: string): number {
    this.skipSpace()
    const start = this.at
    while (isDigit(this.text.charCodeAt(this.at))) this.at++
    const digits = this.text.slice(start, this.at)
    if (digits === '' || /[.eE]/.test(this.text[this.at] ?? '') || (digits.length > 1 && digits[0] === '0')) {
      this.at = start
      throw this.unexpected(`a whole number from 0 in ${what}`)
    }
    const value = Number(digits)
    if (!Number.isSafeInteger(value))
      throw malformed(this.file, `${what} holds ${describeValue(digits)}, which is too large`)
    return value
  }

  private string(what: string): string {
    this.expect('"', what)
    const start = this.at
    let escaped = false
    for (;;) {
      const code = this.text.charCodeAt(this.at++)
      if (code === 0x22) break
      if (code === 0x5c) {
        escaped = true
        this.at++
      } else if (!(code >= 0x20)) {
        // A control character, or NaN past the end.
        this.at--
        throw this.unexpected('the end of a string')
      }
    }
    const raw = this.text.slice(start, this.at - 1)
    return escaped ? this.unescape(raw) : raw
  }

  private unescape(raw: string): string {
    let value: string
    try {
      value = JSON.parse(`"${raw}"`) as string
    } catch {
      throw malformed(this.file, `its header has a malformed escape in the string ${describeValue(raw)}`)
    }
    // A half of a surrogate pair is no character: two such names could print alike and differ.
    if (/\p{Surrogate}/u.test(value))
      throw malformed(this.file, `its header has half a character in the string ${describeValue(raw)}`)
    return value
  }

  private accept(character: string): boolean {
    this.skipSpace()
    if (this.text[this.at] !== character) return false
    this.at++
    return true
  }

  private expect(character: string, what: string): void {
    if (!this.accept(character)) throw this.unexpected(what)
  }

  private skipSpace(): void {
    for (;;) {
      const code = this.text.charCodeAt(this.at)
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return
      this.at++
    }
  }

  private unexpected(expected: string): IConFaceError {
    const found = this.at < this.text.length ? describeValue(this.text.slice(this.at, this.at + 12)) : 'its end'
    return malformed(this.file, `at character ${this.at} of its header: expected ${expected} but found ${found}`)
  }
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}

/** A hint for files of other kinds that people rename or half download. */
function otherKind(start: Uint8Array): string {
  const magic = Buffer.from(start.buffer, start.byteOffset, 8).toString('latin1')
  if (magic.startsWith('PK\x03\x04')) return '; it looks like a PyTorch file, convert it with "iconface convert"'
  if (/^\x80[\x02-\x05]/.test(magic))
    return '; it looks like a PyTorch file (a pickle), convert it with "iconface convert"'
  if (magic === 'version ') return '; it looks like a Git LFS pointer, run "git lfs pull" to fetch the real file'
  if (/^(<!DOC|<html|\{)/i.test(magic)) return '; it looks like a text file, perhaps a failed download'
  return ''
}

function malformed(file: string, reason: string): IConFaceError {
  return new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `${file} is no valid safetensors file: ${reason}`)
}
