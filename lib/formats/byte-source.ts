/**
 * Random access to the bytes of a file or of memory. Every range is compared with the size before it is read.
 */
import { constants } from 'node:buffer'
import fs from 'node:fs'
import path from 'node:path'
import { fileError, IConFaceError } from '../errors'

/** Node refuses to read more at once. */
const MAX_READ = 1 << 30

/** A file that is open, or bytes that stand for one. */
export interface ByteSource {
  /** For messages: the absolute path of a file. */
  readonly name: string
  /** In bytes. */
  readonly size: number
  /**
   * Bytes `offset` to `offset + bytes`.
   *
   * @param what  what they are, for the message when they are not all there
   * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT` when the range leaves the source
   */
  read(offset: number, bytes: number, what: string): Buffer
  close(): void
}

/** Opens a file as {@link openRegularFile} does. */
export function openSource(file: string): ByteSource {
  const name = path.resolve(file)
  const descriptor = openRegularFile(name)
  const { size } = fs.fstatSync(descriptor)
  return {
    name,
    size,
    read(offset, bytes, what) {
      checkRange(this, offset, bytes, what)
      return readFully(descriptor, name, offset, bytes)
    },
    close: () => fs.closeSync(descriptor),
  }
}

/** Bytes in memory as a source. */
export function memorySource(bytes: Buffer, name: string): ByteSource {
  return {
    name,
    size: bytes.length,
    read(offset, count, what) {
      checkRange(this, offset, count, what)
      return bytes.subarray(offset, offset + count)
    },
    close() {},
  }
}

function checkRange({ name, size }: ByteSource, offset: number, bytes: number, what: string): void {
  // Written so that NaN fails too.
  if (!(offset >= 0 && bytes >= 0 && offset + bytes <= size)) {
    const range = `bytes ${offset} to ${offset + bytes}`
    throw new IConFaceError(
      'ERR_ICONFACE_INVALID_CHECKPOINT',
      `${name} is damaged: ${what} would be ${range} of a file of ${size} bytes; it is cut short or was altered`,
    )
  }
  if (bytes > constants.MAX_LENGTH) {
    throw new IConFaceError(
      'ERR_ICONFACE_UNSUPPORTED',
      `${what} of ${name} has ${bytes} bytes, more than ${constants.MAX_LENGTH}`,
    )
  }
}

/** Opens for reading; a folder, pipe or device is refused before opening could block. */
export function openRegularFile(file: string): number {
  try {
    if (fs.statSync(file).isFile()) return fs.openSync(file, 'r')
  } catch (cause) {
    throw fileError('read', file, cause)
  }
  throw new IConFaceError('ERR_ICONFACE_IO', `${file} is not a regular file`)
}

/** Exactly `bytes` bytes; the caller has compared the range with the file's size. */
export function readFully(descriptor: number, file: string, offset: number, bytes: number): Buffer {
  const buffer = Buffer.allocUnsafeSlow(bytes)
  let done = 0
  while (done < bytes) {
    let count: number
    try {
      count = fs.readSync(descriptor, buffer, done, Math.min(bytes - done, MAX_READ), offset + done)
    } catch (cause) {
      throw fileError('read', file, cause)
    }
    if (count === 0) {
      throw new IConFaceError('ERR_ICONFACE_IO', `${file} shrank to ${offset + done} bytes while it was read`)
    }
    done += count
  }
  return buffer
}
