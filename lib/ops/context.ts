/**
 * Running operations by themselves.
 */

import { showsCaller } from '../util/caller'
import { loadAddon, native, type NativeSession, type NativeTensor } from '../native'
import { checkCompute, checkKnown, namesOf } from '../options'
import type { Operations } from './operations'
import type { Result } from './tensor'

/**
 * Parameters of every kind: `repeat` runs it several times and `seconds` then holds the time of each, on a device by
 * the device's clock. `rotate` (devices): no run finds its operands in the device's cache, and none waits to be
 * launched; operands that change in place then go on from what earlier runs left.
 */
export interface RunParams {
  repeat?: number | undefined
  rotate?: boolean | undefined
}

/** `T`, where `undefined` is as good as leaving out, with `exactOptionalPropertyTypes` too. */
export type Explicit<T> = { [Name in keyof T]: object extends Pick<T, Name> ? T[Name] | undefined : T[Name] }

/** Where operations compute. */
export interface OpContextOptions {
  /** Threads that compute, 1 to 1024; all CPUs by default. Results do not depend on it. */
  threads?: number | undefined
  /** Instruction set (`iconface doctor` lists them); the best by default. */
  isa?: string | undefined
  /** `cpu` (default), `cuda`, `cuda:<n>`, or `cuda-emulated` in a build that holds the emulator. */
  device?: string | undefined
}

const OPTIONS = namesOf<OpContextOptions>({ threads: true, isa: true, device: true })

/**
 * Runs operations on threads of its own, one after the other. Dispose it when done, or let it be collected.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT` for a tensor or parameter that cannot be right (shapes are in
 *         the message), `ERR_ICONFACE_OUT_OF_MEMORY`, `ERR_ICONFACE_DISPOSED`, `ERR_ICONFACE_UNSUPPORTED` for an
 *         unknown instruction set.
 */
export class OpContext {
  readonly #session: NativeSession

  constructor(options: OpContextOptions = {}) {
    checkKnown('options', options, OPTIONS)
    const { threads, isa, device = 'cpu' } = options
    checkCompute(options)
    this.#session = native(() => new (loadAddon().Session)({ threads, isa, device }))
  }

  /** Runs one operation; results carry `seconds`, the time of every run. */
  @showsCaller
  async run<Name extends keyof Operations>(
    name: Name,
    tensors: Explicit<Operations[Name]['tensors']>,
    params?: Explicit<Operations[Name]['params']> & RunParams,
  ): Promise<Operations[Name]['results'] & { seconds: Result }> {
    const results = await native(() => this.#session.run(name, tensors as Record<string, NativeTensor>, { ...params }))
    return results as Operations[Name]['results'] & { seconds: Result }
  }

  /** Frees the threads and the device before it resolves. */
  @showsCaller
  dispose(): Promise<void> {
    return native(() => this.#session.dispose())
  }

  /** `await using` disposes at the end of the block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }
}
