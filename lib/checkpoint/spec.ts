/**
 * A checkpoint as it is computed with: which bytes of which file are which tensor, and the numbers that shapes do not
 * tell. The native side maps the byte ranges; it parses no file.
 */
import type { DType } from '../formats/dtype'
import type { ByteRange } from '../formats/named-tensors'

/**
 * Weights to compute with: byte ranges of files, under canonical names. A model folder is turned into one by
 * `Networks.load`; whoever holds weights in another arrangement writes it down directly.
 *
 * Names: `transformer.`, `vae.`, `adapter.`, `face.`, `text.`, `detector.` before the published names (Black Forest
 * Labs' for transformer and autoencoder, the state dict's for AdaFace and RetinaFace, Hugging Face's without `model.`
 * for Qwen3, model-specification.md 4 and 5 for the adapter); `prompt.prompt`, `prompt.empty` and, if they differ,
 * `prompt.prompt_without_references`. A network that has no tensors is absent, and so is a pathway of the adapter.
 */
export interface Checkpoint {
  readonly files: readonly { readonly path: string; readonly size: number }[]
  readonly tensors: Readonly<Record<string, StoredTensor>>
  readonly joins?: readonly JoinedTensor[] | undefined
  readonly loras?: readonly LoraUpdate[] | undefined
  /**
   * What shapes do not tell: `transformer.ropeAxes`, `transformer.ropeTheta`, `adapter.residualStrength`, `vae.groups`,
   * `vae.bnEps`, `face.stageUnits`, `text.outputLayers`, `text.ropeTheta`. A single number is a list of one.
   */
  readonly numbers?: Readonly<Record<string, readonly number[]>> | undefined
  /** `identity.crop`: how the 112 px face is cut, `template` or `resize`. */
  readonly texts?: Readonly<Record<string, string>> | undefined
}

/** A tensor as one byte range of the `file`-th file. */
export interface StoredTensor extends ByteRange {
  readonly dtype: DType
  readonly shape: readonly number[]
}

/** A tensor whose bytes lie apart: the parts follow each other in memory. Mostly those of diffusers' transformers. */
export interface JoinedTensor {
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly parts: readonly ByteRange[]
}

/** `transformer.<module>.weight += factor * B A`, in as many rows as B has. */
export interface LoraUpdate {
  readonly module: string
  /** Names among `tensors`: [r, in] and [rows, r]. */
  readonly a: string
  readonly b: string
  /** strength * alpha / rank */
  readonly factor: number
  /** The first row that is changed. Default 0. */
  readonly row?: number | undefined
}
