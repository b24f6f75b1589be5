/**
 * Errors that show who called: what fails on another thread, or when a signal fires, has a stack in which the call that
 * it ends does not appear.
 */

import { isIConFaceError } from '../errors'

/**
 * An asynchronous function whose errors have the frames of its caller at the end of their stack. Decorates methods,
 * too.
 *
 * @example
 * export const degrade = showsCaller(async function degrade(input: ImageInput): Promise<Degraded> { … })
 */
export function showsCaller<F extends (...args: never[]) => Promise<unknown>>(call: F): F {
  async function shown(this: unknown, ...args: never[]): Promise<unknown> {
    const caller: { stack?: unknown } = {}
    Error.captureStackTrace(caller, shown) // made into text when it is read
    try {
      return await call.apply(this, args)
    } catch (error) {
      if (isIConFaceError(error)) append(error, caller.stack)
      throw error
    }
  }
  const { name, length } = call
  return Object.defineProperties(shown, { name: { value: name }, length: { value: length } }) as unknown as F
}

/** Appends the frames of `caller` unless they are there already: what fails within the call has them itself. */
function append(error: Error, caller: unknown): void {
  if (typeof caller !== 'string' || typeof error.stack !== 'string') return // somebody has another idea of stacks
  const frames = caller.split('\n').filter((line) => /^\s+at /.test(line))
  const place = frames[0]?.replace(/^\s+at (async )?/, '')
  if (place !== undefined && !error.stack.includes(place)) error.stack = [error.stack, ...frames].join('\n')
}
