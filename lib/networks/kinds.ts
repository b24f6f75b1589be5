/**
 * What can be run of a checkpoint's networks: tensors and parameters in, tensors out, by name.
 */
import type { Result, Tensor } from '../ops'

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
   * its box [P, 4] and five landmarks [P, 10] differ from the prior by, and the logits of background and face [P, 2].
   * See `FaceDetector`.
   */
  face_detection: {
    tensors: { pixels: Tensor }
    params: { height?: number; width?: number }
    results: { boxes: Result; logits: Result; landmarks: Result }
  }
}
