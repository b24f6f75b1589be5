/**
 * A loaded model and what it does: restore, embed, estimate.
 */

import { abortable, checkAborted } from './util/abort'
import { showsCaller } from './util/caller'
import { detectorCheckpoint } from './checkpoint/detector'
import { openCheckpoint } from './checkpoint/open'
import { IConFaceError, invalid } from './errors'
import { capturePictures, type ImageInput } from './image'
import { Engine, restorationOf } from './engine'
import { abandon, loadAddon, native, type NativeSession } from './native'
import {
  type CheckedLoad,
  checkLoadOptions,
  checkRestoreOptions,
  checkInteger,
  checkKnown,
  DEFAULT_ALIGN,
  namesOf,
  type LoadOptions,
  type RestoreOptions,
  restoreSettings,
} from './options'
import { type Precision } from './limits'
import type { AlignOptions } from './photo/align-picture'
import { type PhotoOptions, type PhotoRequest, preparePhoto } from './photo/photo-options'
import type { PhotoRestoration } from './photo/photo-restoration'
import { readFaces } from './photo/read-faces'
import { restorePhotograph } from './photo/restore-photo'
import { sizeWarnings } from './picture/size'
import type { FaceEmbedding, ModelInfo, RestoreEstimate } from './model-info'
import { type Report, reporter, waiting } from './progress'
import { JobQueue } from './queue'
import type { Restoration } from './restoration'
import { prepareRestore, type RestoreRequest } from './restore-request'
import { strangerWarnings } from './strangers'
import { checkThreadRoom } from './picture/thread-room'
import { Prompts } from './text/prompts'
import { IConFaceWarning } from './warning'

/** What `IConFace.embed` takes of a restore's options. */
export type EmbedOptions = Pick<RestoreOptions, 'size' | 'align' | 'strict' | 'signal'>
const EMBED_OPTIONS = namesOf<EmbedOptions>({ size: true, align: true, strict: true, signal: true })

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
  readonly #engine: Engine
  readonly #limits: CheckedLoad
  readonly #queue: JobQueue
  #disposal: Promise<void> | null = null

  private constructor(
    session: NativeSession,
    limits: CheckedLoad,
    prompts: Prompts,
    { device, precision }: { device: string; precision: Precision },
    info: ModelInfo,
  ) {
    this.device = device
    this.precision = precision
    this.info = info
    this.#engine = new Engine(session, prompts, precision, info)
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
    if (checked.detector !== undefined) detectorCheckpoint(checked.detector) // its faults show now, not at a picture
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

  /**
   * Restores the faces of a whole photograph: finds them, gives each person's references to the face that resembles them,
   * restores each face and pastes it back. All else stays as it is, byte by byte, in the photograph's own depth and colours.
   *
   * @param references Photos of one person, for the face that resembles them most; `people` of the options names several.
   * @throws {IConFaceError} as `restore`; `ERR_ICONFACE_NO_FACE` where none is found, with every attempt;
   *         `ERR_ICONFACE_UNSUPPORTED` where faces have to be told apart and the model has no face encoder.
   * @example
   * const photo = await model.restorePhoto('wedding.jpg', [], { people: { mother: ['m1.jpg', 'm2.jpg'], uncle: ['u.jpg'] } })
   * await photo.toFile('restored.jpg')
   */
  @showsCaller
  async restorePhoto(
    photo: ImageInput,
    references: readonly ImageInput[] = [],
    options: PhotoOptions = {},
  ): Promise<PhotoRestoration> {
    this.#queue.check() // as in restore
    return this.submitPhoto(preparePhoto(photo, references, options, this.#limits))
  }

  /** @internal As `submit`. */
  submitPhoto(request: PhotoRequest, limit?: number): Promise<PhotoRestoration> {
    const { onProgress, restore } = request.options
    // What a waiting job reports knows nothing of faces.
    const report = reporter(onProgress && ((progress) => onProgress({ face: 0, faces: 0, ...progress })))
    return this.#queue.run(
      (stop, fail) => restorePhotograph(this.#engine, request, stop, (said) => report(said as Report, stop, fail)),
      { signal: restore.signal, limit, onWait: waiting(report) },
    )
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
    { pictures, options, detector }: RestoreRequest,
    stop: AbortSignal,
    report: (progress: Report) => void,
  ): Promise<Restoration> {
    const began = performance.now()
    const elapsedMs = () => performance.now() - began
    const { size } = restoreSettings(this.info.defaults, options)
    const faces = await readFaces(pictures, this.#aligning(options, size, detector, stop), (stage, step, steps) =>
      report({ stage, step, steps, elapsedMs: elapsedMs() }),
    )
    const prompt = await this.#engine.prompt(options.prompt, stop, () =>
      report({ stage: 'prompt', step: 0, steps: 1, elapsedMs: elapsedMs() }),
    )
    const read = elapsedMs()
    const pixels = faces.map((face) => face.pixels)
    const restored = await this.#engine.face({ pixels, options, prompt }, stop, ({ elapsedMs, ...progress }) =>
      report({ ...progress, elapsedMs: read + elapsedMs }),
    )
    const warnings = [
      ...this.info.warnings,
      ...sizeWarnings(size, this.info.defaults.size),
      ...faces.flatMap((face) => face.warnings),
      ...(this.info.synthesized ? [] : strangerWarnings(restored.embeddings)),
    ]
    const { alignment } = faces[0]!
    return restorationOf(restored, { alignment, warnings, timings: { read, ...restored.timings, total: elapsedMs() } })
  }

  /** How pictures are aligned for a result of `size` pixels. */
  #aligning(
    { align = DEFAULT_ALIGN }: Pick<RestoreOptions, 'align'>,
    size: number,
    file: string | undefined,
    signal: AbortSignal,
  ): AlignOptions {
    return { align, size, threads: this.info.threads, signal, detector: () => this.#engine.detectors.get(file) }
  }

  /**
   * The embedding of a face. A restore of the same `size` finds the same: it aligns every picture as `align` says and
   * embeds it as it was fitted to its size.
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
    const { strict, signal, align, ...given } = checkRestoreOptions(options)
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
        const [face] = await readFaces([picture!], this.#aligning({ align }, size, this.#limits.detector, stop))
        const embedding = await this.#engine.embed(face!.pixels, size)
        const norm = Math.hypot(...embedding)
        const warnings = [...this.info.warnings, ...face!.warnings]
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
    const { bytes, operations } = native(() => this.#engine.session.estimate(request))
    return {
      ...bytes,
      total: sum(Object.values(bytes)),
      operations: sum(Object.values(operations)),
      milliseconds: this.#engine.pace.milliseconds(operations),
    }
  }

  /**
   * Stops what is running or waiting (`ERR_ICONFACE_DISPOSED`), frees the model's memory and threads, then resolves.
   * May be called again, and at any time.
   */
  @showsCaller
  dispose(): Promise<void> {
    return (this.#disposal ??= this.#dispose())
  }

  async #dispose(): Promise<void> {
    await this.#queue.close(disposedError)
    await this.#engine.dispose()
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
