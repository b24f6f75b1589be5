/**
 * Cases of an evaluation: degraded faces whose truth is known.
 */

import type { ImageInput } from '../image'
import type { Point } from './landmarks'

/** The pictures of one case. */
export interface CasePictures {
  /** The degraded face. */
  input: ImageInput
  truth: ImageInput
  /** Photos of the same person, best first. */
  references: readonly ImageInput[]
  /**
   * Where the truth's landmarks are, in its pixels; `null` where nobody knows. The truth then has the size asked for.
   */
  landmarks: { points: readonly Point[]; interocular: number } | null
}

/** A degraded picture whose truth is known. */
export interface EvaluationCase {
  /** Unique together with `severity`. */
  name: string
  /** How badly the input is degraded: cases are summarised by it. */
  severity: string
  /** How many references there are; `load` gives no fewer. */
  references: number
  /**
   * Reads or draws the pictures.
   *
   * @param size Side of the model's pictures in pixels. Pictures of another size are fitted to it.
   */
  load(size: number): Promise<CasePictures>
}
