/**
 * What an evaluation gives: measures of every case, their summary, and what could not be evaluated.
 */

import type { IConFaceErrorCode } from '../errors'
import type { ModelInfo } from '../model-info'
import type { Restoration } from '../restoration'
import type { IConFaceWarning } from '../warning'
import type { Measures } from './measure'
import type { FittedImage } from './pixels'
import type { Estimate } from './statistics'
import type { MetricName } from './measure'

/** What was measured on one case. */
export interface CaseResult {
  name: string
  severity: string
  /** The input itself, fitted to the model's size. */
  degraded: Measures
  restored: (Measures & { references: number; milliseconds: number })[]
  /** What to know about its pictures and results, each once; what concerns the model is in `ModelInfo.warnings`. */
  warnings: IConFaceWarning[]
}

/** A case that could not be evaluated: one of its pictures cannot be used, or gives values that are not finite. */
export interface CaseFailure {
  name: string
  severity: string
  code: IConFaceErrorCode
  message: string
}

/** The pictures of a case, all of the model's size; each is also a picture for `restore`. */
export interface ResultPictures {
  input: FittedImage
  /** As many as the largest number asked for needs. */
  references: FittedImage[]
  /** In the order of `CaseResult.restored`. */
  restored: Restoration[]
  truth: FittedImage
}

/** What was measured: every case, and the means by severity. */
export interface Evaluation {
  model: Pick<ModelInfo, 'name' | 'folder' | 'synthesized' | 'variant'>
  settings: { references: number[]; steps: number; guidance: number; seed: number; size: number; precision: string }
  /** By severity, over all cases. */
  summary: SeveritySummary[]
  cases: CaseResult[]
  /** Cases that are missing in `cases`, and why. */
  failures: CaseFailure[]
}

/** Every metric's estimate; `null` where it was measured nowhere. */
export type Estimates = Record<MetricName, Estimate | null>

/** One kind of picture: the degraded inputs themselves, or the results with so many references. */
export interface SummaryRow {
  picture: 'degraded' | number
  values: Estimates
  /** Case by case minus the degraded input; `null` for the degraded inputs. */
  gainOverDegraded: Estimates | null
  /** Case by case minus the result without references; `null` where there is nothing to compare. */
  gainOverNoReferences: Estimates | null
}

/** Means over the cases of one severity. */
export interface SeveritySummary {
  severity: string
  cases: number
  rows: SummaryRow[]
}
