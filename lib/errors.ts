/**
 * The one error type of the package, and its codes.
 *
 * Every failure a caller can meet is an `IConFaceError` with a stable `code`; the message says what was wrong, with
 * which value, and what to do. The codes are the same strings the native side uses.
 */

import { messageOf } from './util/realm'

/** Every code an {@link IConFaceError} can carry. */
export const ICONFACE_ERROR_CODES = [
  /** An option or argument has the wrong type or value. */
  'ERR_ICONFACE_INVALID_ARGUMENT',
  /** A picture cannot be decoded or has an impossible size. */
  'ERR_ICONFACE_INVALID_IMAGE',
  /** No face was found in a picture that has to be aligned to its face. */
  'ERR_ICONFACE_NO_FACE',
  /** A model folder, its configuration or one of its weight files is malformed, incomplete or contradictory. */
  'ERR_ICONFACE_INVALID_CHECKPOINT',
  /** A named file or folder does not exist. */
  'ERR_ICONFACE_FILE_NOT_FOUND',
  /** The operating system refused to read or write. */
  'ERR_ICONFACE_IO',
  /** The work does not fit into memory; found before or while allocating. */
  'ERR_ICONFACE_OUT_OF_MEMORY',
  /** The operating system refused to start a thread. */
  'ERR_ICONFACE_THREADS',
  /** The caller's `AbortSignal` fired. */
  'ERR_ICONFACE_ABORTED',
  /** The object was used after `dispose`. */
  'ERR_ICONFACE_DISPOSED',
  /** A computation produced values that are not finite. */
  'ERR_ICONFACE_NUMERICAL',
  /** The request is meaningful, but this build or version cannot do it. */
  'ERR_ICONFACE_UNSUPPORTED',
  /** The requested device is not present or cannot be used. */
  'ERR_ICONFACE_DEVICE_UNAVAILABLE',
  /** A call or a kernel of the GPU failed. */
  'ERR_ICONFACE_CUDA',
  /** Too many restorations are already waiting. */
  'ERR_ICONFACE_QUEUE_FULL',
  /** No native addon for this platform was found. */
  'ERR_ICONFACE_ADDON_NOT_FOUND',
  /** Another package that this one needs is missing or cannot be loaded. */
  'ERR_ICONFACE_DEPENDENCY_UNAVAILABLE',
  /** A defect of this package; please report it. */
  'ERR_ICONFACE_INTERNAL',
] as const

/** One of {@link ICONFACE_ERROR_CODES}. */
export type IConFaceErrorCode = (typeof ICONFACE_ERROR_CODES)[number]

/** Marks instances, so that two copies of this package in one process recognise each other's errors. */
const BRAND = Symbol.for('@iconface/native.IConFaceError')

/** The most characters that a message quotes of one value. */
const MOST_QUOTED = 100
/** Longer than any word of a message; quotation marks and what follows them belong to a word. */
const OVERLONG_WORD = /\S{121,}/g
/** Longer than any line of a message. */
const OVERLONG_LINE = /.{4001,}/g

/**
 * A value as messages quote it: at most `most` characters, its beginning and its end, which tells more of a path.
 *
 * @example
 * `${shortened(path)} does not exist`
 */
export function shortened(text: string, most: number = MOST_QUOTED): string {
  if (text.length <= most) return text
  const end = Math.floor(most / 2)
  return `${text.slice(0, most - end - 1)}…${text.slice(-end)}`
}

/** A message whose overlong values, which others made part of it (systems, libraries, files), are cut. */
export function bounded(message: string): string {
  return message
    .replace(OVERLONG_WORD, (word) => shortened(word))
    .replace(OVERLONG_LINE, (line) => shortened(line, 4000))
}

/**
 * An error of this package. No value makes its message long: each is cut at 100 characters.
 *
 * @example
 * try {
 *   await restore('blurred.jpg')
 * } catch (error) {
 *   if (isIConFaceError(error) && error.code === 'ERR_ICONFACE_INVALID_IMAGE') console.error(error.message)
 *   else throw error
 * }
 */
export class IConFaceError extends Error {
  override readonly name = 'IConFaceError'
  readonly code: IConFaceErrorCode

  constructor(code: IConFaceErrorCode, message: string, options?: { cause?: unknown }) {
    super(bounded(message), options)
    this.code = code
    Object.defineProperty(this, BRAND, { value: true })
  }
}

/** Whether `error` is an {@link IConFaceError}, of this copy of the package or of another one. */
export function isIConFaceError(error: unknown): error is IConFaceError {
  return typeof error === 'object' && error !== null && (error as Record<symbol, unknown>)[BRAND] === true
}

/**
 * An `ERR_ICONFACE_INVALID_ARGUMENT` error, worded "expected <expected> for <name> but received <received>".
 *
 * @example
 * throw invalid('steps', 'an integer from 1 to 1000', options.steps)
 */
export function invalid(name: string, expected: string, received: unknown): IConFaceError {
  return new IConFaceError('ERR_ICONFACE_INVALID_ARGUMENT', expectation(name, expected, received))
}

/** The sentence of {@link invalid}, for errors of another code. */
export function expectation(name: string, expected: string, received: unknown): string {
  return `expected ${expected} for ${name} but received ${describeValue(received)}`
}

/** A short, safe description of any value for a message: its literal where that is short, otherwise its kind. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string') return `"${shortened(JSON.stringify(shortened(value)).slice(1, -1))}"`
  return shortened(describeOther(value))
}

function describeOther(value: unknown): string {
  switch (typeof value) {
    case 'bigint':
      return `${value}n`
    case 'function':
      return value.name ? `the function ${value.name}` : 'a function'
    case 'object':
      return describeObject(value)
    default:
      return Object.is(value, -0) ? '-0' : String(value)
  }
}

function describeObject(value: object | null): string {
  if (value === null) return 'null'
  if (ArrayBuffer.isView(value)) return `a ${className(value) ?? 'view'} of ${value.byteLength} bytes`
  if (Array.isArray(value)) {
    const items = value
      .slice(0, 8)
      .map((item) => (typeof item === 'object' && item !== null ? '…' : describeValue(item)))
    return `[${items.join(', ')}${value.length > 8 ? `, … ${value.length} in all` : ''}]`
  }
  const name = className(value)
  return name === undefined || name === 'Object' ? 'an object' : `an instance of ${name}`
}

/** The name of the class; `undefined` for what hides it. */
function className(value: object): string | undefined {
  const name: unknown = (value as { constructor?: { name?: unknown } }).constructor?.name
  return typeof name === 'string' && name !== '' ? name : undefined
}

/**
 * The error of a failed file system call: `ERR_ICONFACE_FILE_NOT_FOUND` for what is not there, else `ERR_ICONFACE_IO`.
 */
export function fileError(action: string, path: string, cause: unknown): IConFaceError {
  const code = (cause as NodeJS.ErrnoException | null)?.code
  const name = shortened(path)
  if (code === 'ENOENT') return new IConFaceError('ERR_ICONFACE_FILE_NOT_FOUND', `${name} does not exist`, { cause })
  if (code === 'ENOTDIR') {
    const message = `cannot ${action} ${name}: it, or what it should lie in, is not a folder`
    return new IConFaceError('ERR_ICONFACE_FILE_NOT_FOUND', message, { cause })
  }
  const memory = code === 'ENOMEM' || code === 'ERR_MEMORY_ALLOCATION_FAILED'
  const kind = memory ? 'ERR_ICONFACE_OUT_OF_MEMORY' : 'ERR_ICONFACE_IO'
  return new IConFaceError(kind, `cannot ${action} ${name}: ${systemReason(code, cause)}`, { cause })
}

/** What the system said, without the paths that Node repeats. */
function systemReason(code: string | undefined, cause: unknown): string {
  const reason = messageOf(cause)
  if (code === 'EACCES' || code === 'EPERM') return `this user has no permission to (${code}); change its mode or owner`
  if (code === 'EMFILE' || code === 'ENFILE')
    return `too many files are open (${code}); close some, or raise the limit (ulimit -n)`
  return shortened(code === undefined ? reason : (reason.split(/, \w+ '/)[0] ?? reason))
}
