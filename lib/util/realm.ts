/**
 * What a value is, judged by what it is made of and never by the realm that made it.
 *
 * A program may run in several realms: contexts of `node:vm`, and the test environments that are built on them. Each
 * realm has its own `ArrayBuffer`, `Error`, `URL` and `Promise`, so `instanceof` denies what another one made. Values
 * that come from callers, from Node's own modules or from addons are asked here instead.
 */

import { fileURLToPath } from 'node:url'
import { types } from 'node:util'

/** Views of bytes; a `Buffer` is one. */
export type Bytes = Uint8Array | Uint8ClampedArray

export function isBytes(value: unknown): value is Bytes {
  return types.isUint8Array(value) || types.isUint8ClampedArray(value)
}

export const { isArrayBuffer, isSharedArrayBuffer, isUint8Array, isUint16Array } = types

/** A `URL`: Node's, another realm's, or that of another implementation such as jsdom's. */
export function isUrl(value: unknown): value is URL {
  if (typeof value !== 'object' || value === null) return false
  const { href, protocol } = value as Partial<URL>
  return typeof href === 'string' && typeof protocol === 'string'
}

/**
 * The path that a `file:` URL names.
 *
 * @returns `undefined` for a URL that names none: another protocol, a host, an encoded slash.
 */
export function pathOfUrl({ href, protocol }: URL): string | undefined {
  if (protocol !== 'file:') return undefined
  try {
    return fileURLToPath(href)
  } catch {
    return undefined
  }
}

/** A promise, or whatever else can be awaited. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}

/**
 * An object that has names and values, as options do: a literal, one without a prototype, an instance of a class, a
 * module's namespace. Lists, maps, dates, promises, signals and buffers are other things.
 */
export function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const tag = Object.prototype.toString.call(value)
  return tag === '[object Object]' || tag === '[object Module]'
}

/** What `throw` threw, in words: the message where it has one. */
export function messageOf(thrown: unknown): string {
  const { message } = (thrown ?? {}) as { message?: unknown }
  return typeof message === 'string' ? message : String(thrown)
}
