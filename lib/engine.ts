/**
 * What a loaded model computes: a restored face, a face's embedding, a prompt's embeddings. Everything here runs within a job
 * whose turn has come.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { ModelInfo } from './model-info'
import {
  native,
  type NativeRestoration,
  type NativeSession,
  type NativeTensor,
  type Pixels,
  type RestoreJob,
} from './native'
import { type CheckedRestore, restoreSettings, type Stage } from './options'
import type { Precision } from './limits'
import { Detectors } from './photo/detectors'
import type { Report } from './progress'
import { Restoration } from './restoration'
import type { Prompts } from './text/prompts'
import { type Course, Pace } from './util/pace'
import { allocated } from './util/shortage'

/** A face as the addon gives it. */
export interface EngineFace extends NativeRestoration {
  /** RGB, `size * size * 3` bytes. */
  data: Uint8Array
  size: number
  seed: number | bigint
}

/** The result of one face's job. */
export function restorationOf(
  { data, size, seed, identity }: EngineFace,
  rest: Pick<Restoration, 'alignment' | 'warnings' | 'timings'>,
): Restoration {
  return new Restoration({ data, width: size, height: size, seed, identity, ...rest })
}

/** How one face is restored. */
export interface FaceJob {
  /** The degraded face first, then the references. */
  pixels: Pixels[]
  options: CheckedRestore
  prompt: NativeTensor | undefined
}

/** The parts of a loaded model, shared by all its jobs. */
export class Engine {
  readonly pace = new Pace()
  readonly detectors: Detectors

  constructor(
    readonly session: NativeSession,
    private readonly prompts: Prompts,
    private readonly precision: Precision,
    readonly info: ModelInfo,
  ) {
    this.detectors = new Detectors({ threads: info.threads, isa: info.isa })
  }

  /** Restores one face. `stop` must not have fired yet. */
  async face(
    { pixels, options, prompt }: FaceJob,
    stop: AbortSignal,
    report: (report: Report) => void,
  ): Promise<EngineFace> {
    const { steps, guidance, seed, size, rng } = restoreSettings(this.info.defaults, options)
    const bytes = size * size * 3 // not zeroed: the job writes all of them
    const data = allocated(bytes, () => new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer))
    const { variant } = options
    const job = { pixels, steps, guidance, seed: BigInt(seed), rng, size, variant, prompt, out: data }
    await nextTurn() // lets a rejection of onProgress stop the job before it computes
    stop.throwIfAborted()
    const result = await this.#compute(job, stop, report)
    await nextTurn() // lets a late rejection of onProgress reject the restore
    return { ...result, data, size, seed }
  }

  /** The raw embedding [512] of an aligned face, fitted to `size`. */
  embed(pixels: Pixels, size: number): Promise<Float32Array> {
    return native(() => this.session.embed(pixels, size))
  }

  /** Embeddings of the caller's prompt, if there is one. */
  async prompt(prompt: string | undefined, signal: AbortSignal, onEncode: () => void) {
    if (prompt === undefined) return undefined
    const { threads, isa } = this.info
    const precision = this.precision === 'f32' ? 'f32' : 'bf16'
    return this.prompts.embeddings(prompt, { precision, threads, isa, signal }, onEncode)
  }

  /** Frees the memory and threads before it resolves. */
  async dispose(): Promise<void> {
    await this.detectors.dispose()
    await native(() => this.session.dispose())
  }

  async #compute(job: RestoreJob, stop: AbortSignal, report: (report: Report) => void): Promise<NativeRestoration> {
    const began = performance.now()
    let course: Course | undefined
    const running = native(() =>
      this.session.restore(job, (stage, step, steps, elapsedMs, done, plan) => {
        if (plan) course = this.pace.follow(plan)
        report({ stage: stage as Stage, step, steps, elapsedMs, ...course?.at(stage, done, elapsedMs) })
      }),
    )
    const cancel = () => running.cancel()
    stop.addEventListener('abort', cancel, { once: true })
    const result = await native(() => running.promise).finally(() => stop.removeEventListener('abort', cancel))
    course?.end(performance.now() - began)
    return result
  }
}
