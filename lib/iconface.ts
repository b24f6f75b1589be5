/**
 * A loaded model and what it does: restore, embed, estimate.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { abortable, checkAborted } from './util/abort'
import { showsCaller } from './util/caller'
import { openCheckpoint } from './checkpoint/open'
import { IConFaceError, invalid } from './errors'
import { capturePictures, type ImageInput, type Picture } from './image'
import { abandon, loadAddon, native, type NativeRestoration, type NativeSession, type RestoreJob } from './native'
import {
  type CheckedLoad,
  type CheckedRestore,
  checkLoadOptions,
  checkRestoreOptions,
  checkInteger,
  checkKnown,
  namesOf,
  type LoadOptions,
  type RestoreOptions,
  restoreSettings,
  type Stage,
} from './options'
import { type Precision } from './limits'
import type { Decoded } from './picture/decode'
import { type Course, Pace } from './util/pace'
import { shapeWarnings } from './picture/shape'
import { sizeWarnings } from './picture/size'
import type { FaceEmbedding, ModelInfo, RestoreEstimate } from './model-info'
import { type Report, reporter, waiting } from './progress'
import { JobQueue } from './queue'
import { Restoration } from './restoration'
import { strangerWarnings } from './strangers'
import { allocated } from './util/shortage'
import { checkThreadRoom } from './picture/thread-room'
import { Prompts } from './text/prompts'
import { IConFaceWarning } from './warning'

/** What `IConFace.embed` takes of a restore's options. */
export type EmbedOptions = Pick<RestoreOptions, 'size' | 'strict' | 'signal'>
const EMBED_OPTIONS = namesOf<EmbedOptions>({ size: true, strict: true, signal: true })

/** The restore that `IConFace.estimate` is asked about: `references` is their number. */
export interface EstimateOptions extends Pick<RestoreOptions, 'size' | 'steps' | 'guidance' | 'variant'> {
  references?: number | undefined
}
const ESTIMATE_OPTIONS = namesOf<EstimateOptions>({
  references: true,
  size: true,
  steps: true,
  guidance: true,
  variant: true,
})

/** A restore whose arguments are checked and whose pictures are captured. */
export interface RestoreRequest {
  pictures: Picture[]
  options: CheckedRestore
}

/** Checks a restore's arguments and captures its pictures, at the moment of the call. */
export function prepareRestore(
  input: ImageInput,
  references: readonly ImageInput[],
  options: RestoreOptions,
  { maxPixels, maxReferences }: Pick<CheckedLoad, 'maxPixels' | 'maxReferences'>,
): RestoreRequest {
  const checked = checkRestoreOptions(options)
  checkAborted(checked.signal)
  if (!Array.isArray(references)) throw invalid('references', 'an array of pictures', references)
  if (references.length > maxReferences) {
    throw invalid('references', `at most ${maxReferences} pictures (maxReferences)`, references.length)
  }
  const named = Array.from(references, (image: ImageInput, i) => ({ name: `reference ${i + 1}`, image })) // no holes
  const pictures = capturePictures([{ name: 'input', image: input }, ...named], maxPixels, checked.strict)
  return { options: checked, pictures }
}

/**
 * A model, loaded. It computes on threads of its own; restores asked for at the same time wait their turn.
 *
 * @example
 * await using model = await IConFace.load('models/iconface-4b')
 * const face = await model.restore('blurred.jpg', ['me-2019.jpg', 'me-2021.jpg'], { seed: 42 })
 * await face.toFile('restored.png')
 */
export class IConFace implements AsyncDisposable {
  /** Where it computes: `cpu`, `cuda:<n>`, or `cuda-emulated` (tests). */
  readonly device: string
  readonly precision: Precision
  readonly info: ModelInfo
  readonly #session: NativeSession
  readonly #limits: CheckedLoad
  readonly #queue: JobQueue
  readonly #prompts: Prompts
  readonly #pace = new Pace()
  #disposal: Promise<void> | null = null

  private constructor(
    session: NativeSession,
    limits: CheckedLoad,
    prompts: Prompts,
    { device, precision }: { device: string; precision: Precision },
    info: ModelInfo,
  ) {
    this.device = device
    this.#prompts = prompts
    this.precision = precision
    this.info = info
    this.#session = session
    this.#limits = limits
    this.#queue = new JobQueue(limits.maxQueue)
  }

  /**
   * Loads a checkpoint folder.
   *
   * @param folder A folder with `iconface.json` beside or above its weight files.
   * @throws {IConFaceError} `ERR_ICONFACE_FILE_NOT_FOUND`, `ERR_ICONFACE_INVALID_CHECKPOINT` (names the file, tensor
   *         and figures), `ERR_ICONFACE_DEVICE_UNAVAILABLE`, `ERR_ICONFACE_ADDON_NOT_FOUND`, `ERR_ICONFACE_ABORTED`,
   *         `ERR_ICONFACE_UNSUPPORTED` for `fp8` where the device does not multiply it.
   * @example
   * const model = await IConFace.load('models/iconface-4b', { precision: 'bf16', threads: 8 })
   */
  @showsCaller
  static async load(folder: string, options: LoadOptions = {}): Promise<IConFace> {
    if (typeof folder !== 'string' || folder === '') throw invalid('folder', 'the path of a model folder', folder)
    const checked = checkLoadOptions(options)
    checkAborted(checked.signal)
    const addon = loadAddon()
    checkThreadRoom()
    const checkpoint = openCheckpoint(folder)
    const { device, threads, isa, precision, signal } = checked
    const session = native(
      () => new addon.Session({ device, threads, isa, checkpoint, ...(precision === 'auto' ? {} : { precision }) }),
    )
    try {
      checkThreadRoom() // again, beside the session's threads
      const facts = await abortable(
        native(() => session.load()),
        signal,
      )
      return new IConFace(session, checked, new Prompts(checkpoint), facts, {
        name: checkpoint.name,
        folder,
        synthesized: checkpoint.synthesized,
        variant: checkpoint.variant,
        identityEncoder: Object.keys(checkpoint.tensors).some((name) => name.startsWith('face.')),
        textEncoder: checkpoint.textEncoder !== undefined,
        deviceText: facts.deviceText,
        isa: facts.isa,
        threads: facts.threads,
        bytes: facts.bytes,
        defaults: checkpoint.defaults,
        warnings: [...(checkpoint.synthesized ? [randomWeights(folder)] : []), ...checkpoint.warnings],
      })
    } catch (error) {
      return abandon(session, error)
    }
  }

  /**
   * Restores one face.
   *
   * @param input      The degraded face: path, encoded bytes or raw pixels. Aligned 512 px crops work best.
   * @param references Photos of the same person, best first; none is fine.
   * @returns          RGB pixels of the model's size, the seed used, and how similar the face became.
   * @throws {IConFaceError} `ERR_ICONFACE_INVALID_IMAGE` when a picture cannot be decoded (says which one),
   *         `ERR_ICONFACE_ABORTED` when `signal` fires, `ERR_ICONFACE_OUT_OF_MEMORY` before any work, with figures,
   *         `ERR_ICONFACE_QUEUE_FULL`, `ERR_ICONFACE_DISPOSED`, `ERR_ICONFACE_INVALID_ARGUMENT`; for a prompt of its
   *         own `ERR_ICONFACE_UNSUPPORTED` when the model has no text encoder, and `ERR_ICONFACE_INVALID_CHECKPOINT`.
   * @example
   * const face = await model.restore('blurred.jpg', ['me.jpg'], {
   *   seed: 42,
   *   signal: AbortSignal.timeout(60_000),
   *   onProgress: ({ stage, step, steps }) => console.log(stage, step, steps),
   * })
   */
  @showsCaller
  async restore(
    input: ImageInput,
    references: readonly ImageInput[] = [],
    options: RestoreOptions = {},
  ): Promise<Restoration> {
    this.#queue.check() // a refused call must not detach the caller's buffers
    return this.submit(prepareRestore(input, references, options, this.#limits))
  }

  /** @internal Throws if a restore asked for now would be refused. */
  check(limit?: number): void {
    this.#queue.check(limit)
  }

  /**
   * @internal
   * @param limit Most jobs that may wait already; the model's own by default.
   */
  submit(request: RestoreRequest, limit?: number): Promise<Restoration> {
    const { signal, onProgress } = request.options
    const report = reporter(onProgress)
    return this.#queue.run((stop, fail) => this.#restore(request, stop, (progress) => report(progress, stop, fail)), {
      signal,
      limit,
      onWait: waiting(report),
    })
  }

  /** The work of a restore whose turn has come. */
  async #restore(
    { pictures, options }: RestoreRequest,
    stop: AbortSignal,
    report: (progress: Report) => void,
  ): Promise<Restoration> {
    const began = performance.now()
    const elapsedMs = () => performance.now() - began
    const pixels: Decoded[] = []
    for (const [i, picture] of pictures.entries()) {
      pixels.push(await picture.read())
      stop.throwIfAborted()
      report({ stage: 'read', step: i + 1, steps: pictures.length, elapsedMs: elapsedMs() })
    }
    const prompt = await this.#embeddings(options.prompt, stop, () =>
      report({ stage: 'prompt', step: 0, steps: 1, elapsedMs: elapsedMs() }),
    )
    const { steps, guidance, seed, size, rng } = restoreSettings(this.info.defaults, options)
    const warnings = [
      ...this.info.warnings,
      ...sizeWarnings(size, this.info.defaults.size),
      ...pictureWarnings(pictures, pixels, size),
    ]
    const bytes = size * size * 3 // not zeroed: the job writes all of them
    const out = allocated(bytes, () => new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer))
    const { variant } = options
    const job: RestoreJob = { pixels, steps, guidance, seed: BigInt(seed), rng, size, variant, prompt, out }
    await nextTurn() // lets a rejection of onProgress stop the job before it computes
    stop.throwIfAborted()
    const read = elapsedMs()
    const { identity, embeddings, timings } = await this.#compute(job, stop, ({ elapsedMs, ...progress }) =>
      report({ ...progress, elapsedMs: read + elapsedMs }),
    )
    await nextTurn() // lets a late rejection of onProgress reject the restore
    return new Restoration({
      data: out,
      width: size,
      height: size,
      seed,
      identity,
      timings: { read, ...timings, total: elapsedMs() },
      warnings: this.info.synthesized ? warnings : [...warnings, ...strangerWarnings(embeddings)],
    })
  }

  /** Runs the addon's part of a restore. `stop` must not have fired yet. */
  async #compute(job: RestoreJob, stop: AbortSignal, report: (progress: Report) => void): Promise<NativeRestoration> {
    const began = performance.now()
    let course: Course | undefined
    const running = native(() =>
      this.#session.restore(job, (stage, step, steps, elapsedMs, done, plan) => {
        if (plan) course = this.#pace.follow(plan)
        report({ stage: stage as Stage, step, steps, elapsedMs, ...course?.at(stage, done, elapsedMs) })
      }),
    )
    stop.addEventListener('abort', () => running.cancel(), { once: true })
    const result = await native(() => running.promise)
    course?.end(performance.now() - began)
    return result
  }

  /** Embeddings of the caller's prompt, if there is one. */
  async #embeddings(prompt: string | undefined, signal: AbortSignal, onEncode: () => void) {
    if (prompt === undefined) return undefined
    const { info } = this
    const precision = this.precision === 'f32' ? 'f32' : 'bf16'
    return this.#prompts.embeddings(prompt, { precision, threads: info.threads, isa: info.isa, signal }, onEncode)
  }

  /**
   * The embedding of an aligned face. A restore of the same `size` finds the same: it embeds every
   * picture as it was fitted to its size.
   *
   * @param options `size`: side in pixels that the picture is fitted to first. Default: the model's.
   * @throws {IConFaceError} as `restore`; `ERR_ICONFACE_UNSUPPORTED` when the checkpoint holds no face encoder.
   * @example
   * const [a, b] = await Promise.all([model.embed('a.png'), model.embed('b.png')])
   * const cosine = a.embedding.reduce((sum, x, i) => sum + x * b.embedding[i], 0)
   */
  @showsCaller
  async embed(image: ImageInput, options: EmbedOptions = {}): Promise<FaceEmbedding> {
    this.#queue.check() // as in restore
    checkKnown('options', options, EMBED_OPTIONS)
    const { strict, signal, ...given } = checkRestoreOptions(options)
    const { size } = restoreSettings(this.info.defaults, given)
    checkAborted(signal)
    if (!this.info.identityEncoder) {
      throw new IConFaceError(
        'ERR_ICONFACE_UNSUPPORTED',
        `${this.info.folder} holds no face encoder; load a checkpoint whose iconface.json names one in identity.file`,
      )
    }
    const [picture] = capturePictures([{ name: 'image', image }], this.#limits.maxPixels, strict)
    return this.#queue.run(
      async (stop) => {
        const pixels = await picture!.read()
        stop.throwIfAborted()
        const embedding = await native(() => this.#session.embed(pixels, size))
        const norm = Math.hypot(...embedding)
        const warnings = [...this.info.warnings, ...pictureWarnings([picture!], [pixels], size)]
        return { embedding: norm > 0 ? embedding.map((x) => x / norm) : embedding, norm, warnings }
      },
      { signal },
    )
  }

  /**
   * Memory, operations and time that a restore will need, from a dry run of the same code: nothing is allocated or
   * computed. Reading the pictures comes on top.
   *
   * @example
   * const { total, milliseconds } = model.estimate({ references: 3, size: 512 })
   */
  estimate(job: EstimateOptions = {}): RestoreEstimate {
    if (this.disposed) throw disposedError()
    checkKnown('options', job, ESTIMATE_OPTIONS)
    const { references = 0, ...options } = job
    checkInteger('references', references, 0, this.#limits.maxReferences)
    const { variant, ...given } = checkRestoreOptions(options)
    const { size, steps, guidance } = restoreSettings(this.info.defaults, given)
    const request = { references, size, steps, guidance, variant }
    const { bytes, operations } = native(() => this.#session.estimate(request))
    return {
      ...bytes,
      total: sum(Object.values(bytes)),
      operations: sum(Object.values(operations)),
      milliseconds: this.#pace.milliseconds(operations),
    }
  }

  /**
   * Stops what is running or waiting (`ERR_ICONFACE_DISPOSED`), frees the model's memory and threads, then resolves.
   * May be called again, and at any time.
   */
  @showsCaller
  dispose(): Promise<void> {
    return (this.#disposal ??= this.#queue.close(disposedError).then(() => native(() => this.#session.dispose())))
  }

  /** `await using model = …` disposes at the end of the block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  /** Whether `dispose` has been called. */
  get disposed(): boolean {
    return this.#disposal !== null
  }
}

export function disposedError(): IConFaceError {
  return new IConFaceError('ERR_ICONFACE_DISPOSED', 'the model was disposed; load it again to go on')
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, n) => total + n, 0)
}

function randomWeights(folder: string): IConFaceWarning {
  const message = `${folder} has random weights: it restores nothing, whatever the result looks like`
  return new IConFaceWarning('WARN_ICONFACE_RANDOM_WEIGHTS', message)
}

/** Warnings of decoding each picture and of fitting it to `size`. */
function pictureWarnings(pictures: readonly Picture[], decoded: readonly Decoded[], size: number): IConFaceWarning[] {
  return decoded.flatMap((pixels, i) => [...pixels.warnings, ...shapeWarnings(pictures[i]!.name, pixels, size)])
}
