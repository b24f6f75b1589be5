/**
 * Runs the networks of one checkpoint, on a thread of their own.
 */
import { openCheckpoint } from '../checkpoint/open'
import type { Checkpoint } from '../checkpoint/spec'
import { invalid } from '../errors'
import { DEFAULT_PRECISION, type Precision, PRECISIONS } from '../limits'
import { abandon, loadAddon, native, type NativeSession, type NativeTensor } from '../native'
import type { Explicit, Result, RunParams } from '../ops'
import { checkCompute, checkKnown, namesOf, checkOneOf } from '../options'
import { showsCaller } from '../util/caller'
import { isRecord } from '../util/realm'
import type { NetworkKinds } from './kinds'

/** Intermediates of a run with `trace`, under the golden files' names; see `ctx.note` in `native/src/network`. */
type Traced = { readonly [name: `trace.${string}`]: Result }

/** How the networks are loaded. */
export interface NetworksOptions {
  /**
   * What matrix products read: f32 exactly, bf16 with float32 sums, or fp8 in the transformer's blocks, which is
   * approximate and for GPUs of compute capability 8.9 or later. Default bf16.
   */
  precision?: Precision | undefined
  /** Threads that compute, 1 to 1024; one per core by default. Results do not depend on it. */
  threads?: number | undefined
  /** Instruction set (`iconface doctor` lists them); the best by default. */
  isa?: string | undefined
  /** `cpu` (default), `cuda`, `cuda:<n>`, or `cuda-emulated` in a build that holds the emulator. */
  device?: string | undefined
}

const OPTIONS = namesOf<NetworksOptions>({ precision: true, threads: true, isa: true, device: true })

/** Networks over one checkpoint, with a thread of their own. Runs are done one after the other. */
export class Networks {
  readonly #session: NativeSession

  private constructor(session: NativeSession) {
    this.#session = session
  }

  /**
   * Maps the weights and prepares the networks that they hold.
   *
   * @param source  A model folder, or a checkpoint already described.
   * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT`; `ERR_ICONFACE_INVALID_CHECKPOINT` when a tensor is missing
   *         or has another shape, `ERR_ICONFACE_FILE_NOT_FOUND`, `ERR_ICONFACE_IO`, `ERR_ICONFACE_OUT_OF_MEMORY`,
   *         `ERR_ICONFACE_UNSUPPORTED` for an unknown instruction set, or `fp8` where the device does not multiply it.
   */
  @showsCaller
  static async load(source: string | Checkpoint, options: NetworksOptions = {}): Promise<Networks> {
    checkKnown('options', options, OPTIONS)
    const { precision = DEFAULT_PRECISION, threads, isa, device = 'cpu' } = options
    checkOneOf('precision', precision, PRECISIONS)
    checkCompute(options)
    checkSource(source)
    const checkpoint = typeof source === 'string' ? openCheckpoint(source) : source
    const session = native(() => new (loadAddon().Session)({ precision, threads, isa, device, checkpoint }))
    try {
      await native(() => session.load())
    } catch (error) {
      return abandon(session, error)
    }
    return new Networks(session)
  }

  /**
   * Runs one network; results carry `seconds`, and the intermediates as `trace.<name>` where `trace` is set.
   *
   * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT` for tensors that do not fit, with both shapes;
   *         `ERR_ICONFACE_INVALID_CHECKPOINT` when the checkpoint has no such network; `ERR_ICONFACE_OUT_OF_MEMORY`;
   *         `ERR_ICONFACE_DISPOSED`.
   */
  @showsCaller
  async run<Name extends keyof NetworkKinds>(
    name: Name,
    tensors: Explicit<NetworkKinds[Name]['tensors']>,
    params?: Explicit<NetworkKinds[Name]['params']> & RunParams & { trace?: boolean | undefined },
  ): Promise<NetworkKinds[Name]['results'] & { seconds: Result } & Traced> {
    const results = await native(() => this.#session.run(name, tensors as Record<string, NativeTensor>, { ...params }))
    return results as unknown as NetworkKinds[Name]['results'] & { seconds: Result } & Traced
  }

  /** Frees the weights and threads before it resolves. */
  @showsCaller
  dispose(): Promise<void> {
    return native(() => this.#session.dispose())
  }

  /** `await using` disposes at the end of the block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }
}

function checkSource(source: unknown): void {
  if (typeof source === 'string' ? source !== '' : isRecord(source)) return
  throw invalid('source', 'the path of a model folder, or a checkpoint', source)
}
