/**
 * The networks by themselves: the transformer, its blocks, the sampler, the autoencoder, the face encoder and the face
 * detector over a checkpoint, tensors in and tensors out. For parity runs, tests, and people who train against this runtime.
 *
 * @example
 * import { f32 } from '@iconface/native/ops'
 * import { Networks } from '@iconface/native/networks'
 *
 * await using networks = await Networks.load('models/tiny', { precision: 'f32' })
 * const { tokens } = await networks.run('encode', { image: f32([64, 64, 3], pixels) })
 *
 * @packageDocumentation
 */

import { showsCaller } from '../util/caller'
import type { DType as StoredDType } from '../formats/dtype'
import { openCheckpoint } from '../checkpoint/layout'
import { invalid } from '../errors'
import { abandon, loadAddon, native, type NativeSession, type NativeTensor } from '../native'
import { isRecord } from '../util/realm'
import type { Explicit, Result, RunParams, Tensor } from '../ops'
import { checkCompute, DEFAULT_PRECISION, known, namesOf, oneOf, type Precision, PRECISIONS } from '../options'

export type { Result, RunParams, Tensor } from '../ops'
export type { DetectedFace, Point } from '../photo/anchors'
export { FaceDetector, type DetectOptions, type DetectorOptions, type FindOptions } from '../photo/detect'
export type { FaceSelection } from '../photo/policy'
export { type OpenTextEncoder, openTextEncoder, type TextEncoderOptions } from '../text/encoder'
export { PromptTokenizer, type PromptTokens } from '../text/tokenizer'

/**
 * Weights to compute with: byte ranges of files, under canonical names. A model folder is turned into one by
 * `Networks.load`; whoever holds weights in another arrangement writes it down directly.
 *
 * Names: `transformer.`, `vae.`, `adapter.`, `face.`, `text.`, `detector.` before the published names (Black Forest Labs'
 * for transformer and autoencoder, the state dict's for AdaFace and RetinaFace, Hugging Face's without `model.` for Qwen3,
 * model-spec.md 4 and 5 for the adapter). A network that has no tensors is absent, and so is a pathway of the adapter.
 */
export interface Checkpoint {
  readonly files: readonly { readonly path: string; readonly size: number }[]
  readonly tensors: Readonly<Record<string, StoredTensor>>
  /** Tensors whose bytes lie apart: the parts follow each other in memory. */
  readonly joins?:
    | readonly {
        readonly name: string
        readonly dtype: StoredDType
        readonly shape: readonly number[]
        readonly parts: readonly { readonly file: number; readonly offset: number; readonly bytes: number }[]
      }[]
    | undefined
  /**
   * `transformer.<module>.weight += factor * B A`; `a` and `b` are names among `tensors`, [r, in] and [rows, r]; the rows
   * that change begin at `row` (default 0).
   */
  readonly loras?:
    | readonly {
        readonly module: string
        readonly a: string
        readonly b: string
        readonly factor: number
        readonly row?: number | undefined
      }[]
    | undefined
  /**
   * What shapes do not tell: `transformer.ropeAxes`, `transformer.ropeTheta`, `adapter.residualStrength`, `vae.groups`,
   * `vae.bnEps`, `face.stageUnits`, `text.outputLayers`, `text.ropeTheta`. A single number is a list of one.
   */
  readonly numbers?: Readonly<Record<string, readonly number[]>> | undefined
  readonly texts?: Readonly<Record<string, string>> | undefined
}

/** A tensor as one byte range of the `file`-th file. */
export interface StoredTensor {
  readonly file: number
  readonly offset: number
  readonly bytes: number
  readonly dtype: StoredDType
  readonly shape: readonly number[]
}

/** What every run of the whole transformer is conditioned on. D, C, E: hidden, latent and text widths. */
interface ConditionTensors {
  /** [text, E]: the empty prompt if `text1` is given too, else the prompt. */
  text0: Tensor
  /** [text, E]: the prompt. */
  text1?: Tensor
  /** [degraded + references, C]: latent tokens. */
  condition: Tensor
  /** [text + scene + condition, axes]: position ids, f32 or i32. */
  ids: Tensor
  /** [512]: unit identity anchor; absent: no identity. */
  anchor?: Tensor
}

interface ConditionParams {
  /** [rows, columns] of scene tokens. */
  sceneGrid: number[]
  degradedGrid: number[]
  /** Parts of the structure pathway to use if the checkpoint has them; all by default. */
  residual?: boolean
  memory?: boolean
  /** The memory's second route. */
  detail?: boolean
}

/** Intermediates of a run with `trace`, under the golden files' names; see `ctx.note` in `native/src/network`. */
type Traced = { readonly [name: `trace.${string}`]: Result }

/** Every network and what can be run of it alone: what goes in, what comes out. */
export interface NetworkKinds {
  /**
   * One prediction `u`: latents [scene, C] at `timestep` (sigma, 1 to 0) -> prediction [branches, scene, C]; with
   * `predictAll` of all image tokens [branches, scene + condition, C].
   */
  transformer: {
    tensors: ConditionTensors & { latents: Tensor }
    params: ConditionParams & { timestep: number; predictAll?: boolean }
    results: { prediction: Result }
  }
  /** A double-stream block: img [image, D], txt [text, D], modulations [6D], ids text first; tensors begin `prefix`. */
  double_block: {
    tensors: { img: Tensor; txt: Tensor; modImg: Tensor; modTxt: Tensor; ids: Tensor }
    params: { ropeAxes: number[]; ropeTheta?: number; prefix?: string }
    results: { imgOut: Result; txtOut: Result }
  }
  /** A single-stream block: x [text + image, D] of which `text` rows are text, one modulation [3D] for all rows. */
  single_block: {
    tensors: { x: Tensor; mod: Tensor; ids: Tensor }
    params: { text: number; ropeAxes: number[]; ropeTheta?: number; prefix?: string }
    results: { out: Result }
  }
  /** Euler steps along `sigmas` (falling, to 0): latents [scene, C], noise at first -> denoised. */
  sample: {
    tensors: ConditionTensors & { latents: Tensor }
    params: ConditionParams & { sigmas: number[]; guidance?: number }
    results: { latents: Result }
  }
  /** FLUX.2's sigmas for a number of steps and scene tokens: [steps + 1] f64. Needs no checkpoint. */
  schedule: { tensors: Record<never, never>; params: { steps: number; tokens: number }; results: { sigmas: Result } }
  /**
   * Where the encoder's 112 px face lies in an aligned crop of `size` px (512): picture -> face, [2, 3] f64. Modes:
   * `template` (the similarity between the two landmark templates) and `resize`. Needs no checkpoint.
   */
  face_crop_matrix: {
    tensors: Record<never, never>
    params: { size?: number; mode?: 'template' | 'resize' }
    results: { matrix: Result }
  }
  /** Picture [H, W, 3] in [-1, 1] -> normalised latent tokens [H/16 * W/16, C], row by row. */
  encode: { tensors: { image: Tensor }; params: Record<never, never>; results: { tokens: Result } }
  /** Latent tokens [rows * columns, C] -> picture [16 rows, 16 columns, 3], not clamped. */
  decode: { tensors: { tokens: Tensor }; params: { rows: number; columns: number }; results: { image: Result } }
  /** Face [112, 112, 3], B, G, R in [-1, 1] -> raw embedding [512]; its norm is the face's quality. */
  face_embedding: { tensors: { face: Tensor }; params: Record<never, never>; results: { embedding: Result } }
  /**
   * Token ids [tokens] i32, of which the first `real` (all by default) are text and the others padding -> what the
   * transformer reads, [tokens, E]: hidden states after `text.outputLayers` side by side, padded rows computed too.
   */
  text_embedding: { tensors: { ids: Tensor }; params: { real?: number }; results: { embeddings: Result } }
  /**
   * Photograph [H, W, 3] u8 RGB, resized to `height` and `width` (its own; at most 16384) -> for each of P anchors what
   * its box [P, 4] and five landmarks [P, 10] differ from the prior by, and the logits of background and face [P, 2]. See
   * `FaceDetector`.
   */
  face_detection: {
    tensors: { pixels: Tensor }
    params: { height?: number; width?: number }
    results: { boxes: Result; logits: Result; landmarks: Result }
  }
}

export interface NetworksOptions {
  /**
   * What matrix products read: f32 exactly, bf16 with float32 sums, or fp8 in the transformer's blocks, which is approximate
   * and for GPUs of compute capability 8.9 or later. Default bf16.
   */
  precision?: Precision | undefined
  /** Threads that compute, 1 to 1024; all processors by default. Results do not depend on it. */
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
   * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT`; `ERR_ICONFACE_INVALID_CHECKPOINT` when a tensor is missing or has another shape,
   *         `ERR_ICONFACE_FILE_NOT_FOUND`, `ERR_ICONFACE_IO`, `ERR_ICONFACE_OUT_OF_MEMORY`, `ERR_ICONFACE_UNSUPPORTED`
   *         for an unknown instruction set, or `fp8` where the device does not multiply it.
   */
  @showsCaller
  static async load(source: string | Checkpoint, options: NetworksOptions = {}): Promise<Networks> {
    known('options', options, OPTIONS)
    const { precision = DEFAULT_PRECISION, threads, isa, device = 'cpu' } = options
    oneOf('precision', precision, PRECISIONS)
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

  @showsCaller
  dispose(): Promise<void> {
    return native(() => this.#session.dispose())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }
}

function checkSource(source: unknown): void {
  if (typeof source === 'string' ? source !== '' : isRecord(source)) return
  throw invalid('source', 'the path of a model folder, or a checkpoint', source)
}
