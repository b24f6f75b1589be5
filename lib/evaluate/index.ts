/**
 * How good a model is: metrics by themselves, and whole evaluations over photographs or drawn faces.
 *
 * @example
 * import { IConFace } from '@iconface/native'
 * import { evaluate, pairedCases, reportText } from '@iconface/native/evaluate'
 *
 * await using model = await IConFace.load('models/iconface-4b')
 * const evaluation = await evaluate(model, await pairedCases('photos'), { references: [0, 1, 3] })
 * process.stdout.write(reportText(evaluation))
 *
 * @packageDocumentation
 */

export type { CasePictures, EvaluationCase } from './case'
export { evaluate, type EvaluateOptions, type EvaluateProgress } from './evaluate'
export { type CaseFailure, type CaseResult, type Evaluation, type ResultPictures } from './evaluation'
export type { IdentitySimilarity } from './identity'
export { landmarkError, type LandmarkError, type Point } from './landmarks'
export { type Measures, METRICS, type Metric, type MetricName } from './measure'
export { EvaluationPage } from './page'
export { pairedCases } from './pairs'
export type { FittedImage, RgbImage } from './pixels'
export { psnr } from './psnr'
export { reportText } from './report'
export { ssim } from './ssim'
export { type Estimate, estimate, pairedDifference } from './statistics'
export type { Estimates, SeveritySummary, SummaryRow } from './evaluation'
export { syntheticCases, type SyntheticOptions } from './synthetic'
