/**
 * Runs a model over cases whose truth is known and measures what comes out.
 */

import { showsCaller } from '../util/caller'
import { IConFaceError, type IConFaceErrorCode, invalid, isIConFaceError } from '../errors'
import type { IConFace } from '../iconface'
import { checkWithin, LIMITS } from '../limits'
import {
  checkRestoreOptions,
  DEFAULT_MAX_PIXELS,
  checkInteger,
  checkKnown,
  namesOf,
  type Progress,
  type RestoreOptions,
  restoreSettings,
} from '../options'
import { checkAborted } from '../util/abort'
import type { Restoration } from '../restoration'
import type { CasePictures, EvaluationCase } from './case'
import type { CaseFailure, CaseResult, Evaluation, ResultPictures } from './evaluation'
import { measuring } from './measure'
import { type FittedImage, readRgb } from './pixels'
import { summarise } from './summary'
import type { IConFaceWarning } from '../warning'

/** What cases are restored with, and who hears of it. */
export interface EvaluateOptions extends Pick<RestoreOptions, 'steps' | 'guidance' | 'strict' | 'signal'> {
  /** Numbers of references to restore with. Default 0, 1 and 3. A case with fewer references skips the larger ones. */
  references?: readonly number[] | undefined
  /** Seed of the noise: case number i, from 0, gets `seed + i`, the same with every number of references. Default 0. */
  seed?: number | undefined
  /** Called before every restore and at the end, and waited for. What it throws or rejects with ends the evaluation. */
  onProgress?: ((progress: EvaluateProgress) => unknown) | undefined
  /** Largest picture accepted, in pixels; the model has its own limit. Default 100 million. */
  maxPixels?: number | undefined
  /** Called when a case is done, with its pictures and everything so far. What it throws ends the evaluation. */
  onCase?: ((result: CaseResult, pictures: ResultPictures, soFar: Evaluation) => void | Promise<void>) | undefined
}

/** How far an evaluation is: restores done, of all. */
export interface EvaluateProgress extends Omit<Progress, 'stage' | 'position'> {
  stage: 'evaluate'
}

const DEFAULT_REFERENCES = [0, 1, 3]

/**
 * Restores every case with every number of references and measures the results. A case whose pictures cannot be used is
 * listed in `failures`, and the others go on.
 *
 * @throws {IConFaceError} as `IConFace.restore`; the message names the case. What is wrong with a case's pictures only
 *         where no case at all could be evaluated. `ERR_ICONFACE_INVALID_ARGUMENT` for what is
 *         no model or no case, and for a case that loads other pictures than it says. `ERR_ICONFACE_ABORTED` when
 *         `signal` fires.
 * @example
 * const { summary } = await evaluate(model, await pairedCases('photos'), { references: [0, 2] })
 * console.log(summary[0].rows[1].values.psnr) // { n: 40, mean: 24.1, interval: [23.6, 24.6] }
 */
export const evaluate = showsCaller(async function evaluate(
  model: IConFace,
  cases: readonly EvaluationCase[],
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  checkModel(model)
  checkCases(cases)
  const { counts, seed, ...checked } = checkEvaluateOptions(options)
  const { strict, maxPixels, signal } = checked
  const { steps, guidance, size } = restoreSettings(model.info.defaults, {
    steps: checked.steps,
    guidance: checked.guidance,
  })
  const total = cases.reduce((sum, one) => sum + usable(counts, one).length, 0)
  if (total === 0) throw invalid('references', 'a number of references that some case has', counts)
  const began = performance.now()
  let done = 0
  const report = async () => {
    const elapsedMs = performance.now() - began
    const etaMs = done === 0 ? null : (elapsedMs / done) * (total - done)
    await checked.onProgress?.({ stage: 'evaluate', step: done, steps: total, elapsedMs, done: done / total, etaMs })
    checkAborted(signal)
  }

  const results: CaseResult[] = []
  const failures: CaseFailure[] = []
  let first: unknown
  const { name, folder, synthesized, variant } = model.info
  const soFar = (): Evaluation => ({
    model: { name, folder, synthesized, variant },
    settings: { references: counts, steps, guidance, seed, size, precision: model.precision },
    summary: summarise(results, counts),
    cases: [...results],
    failures: [...failures],
  })

  const run = async (one: EvaluationCase, i: number): Promise<[CaseResult, ResultPictures]> => {
    const pictures = await readCase(one, { size, maxPixels, strict, signal }, Math.max(0, ...usable(counts, one)))
    const measure = await measuring(model, pictures.truth, pictures.first, pictures.landmarks, signal)
    const result: CaseResult = { ...labels(one), degraded: await measure(pictures.input), restored: [], warnings: [] }
    const restored: Restoration[] = []
    for (const references of usable(counts, one)) {
      await report()
      const chosen = pictures.raw.references.slice(0, references)
      // The result is compared with the truth pixel by pixel, so nothing may be moved.
      const settings = { steps, guidance, seed: seed + i, align: 'none', strict, signal } as const
      const restoration = await model.restore(pictures.raw.input, chosen, settings)
      const milliseconds = restoration.timings.total!
      result.restored.push({ references, milliseconds, ...(await measure(restoration)) })
      restored.push(restoration)
      done++
    }
    const warnings = [...pictures.warnings, ...restored.flatMap((restoration) => restoration.warnings)]
    result.warnings = once(warnings.filter((warning) => !model.info.warnings.includes(warning)))
    const { input, truth, references } = pictures
    return [result, { input, truth, references, restored }]
  }

  for (const [i, one] of cases.entries()) {
    checkAborted(signal)
    const before = done
    const outcome = await run(one, i).catch((thrown: unknown) => {
      const error = named(thrown, one)
      if (!isOfPictures(error)) throw error
      first ??= error
      failures.push({ ...labels(one), code: error.code, message: error.message })
      done = before + usable(counts, one).length
      return null
    })
    if (!outcome) continue
    results.push(outcome[0])
    await checked.onCase?.(...outcome, soFar())
  }
  if (results.length === 0) throw first
  await report()
  return soFar()
})

/** Failures of one case, which say nothing about the others. */
const OF_PICTURES = [
  ...(['ERR_ICONFACE_INVALID_IMAGE', 'ERR_ICONFACE_FILE_NOT_FOUND', 'ERR_ICONFACE_IO'] as const),
  'ERR_ICONFACE_NUMERICAL',
] as readonly IConFaceErrorCode[]

function isOfPictures(error: unknown): error is IConFaceError {
  return isIConFaceError(error) && OF_PICTURES.includes(error.code)
}

/** Each warning once: a case's restores repeat those of its pictures. */
function once(warnings: readonly IConFaceWarning[]): IConFaceWarning[] {
  return [...new Map(warnings.map((warning) => [warning.message, warning])).values()]
}

const OPTIONS = namesOf<EvaluateOptions>({
  references: true,
  seed: true,
  steps: true,
  guidance: true,
  strict: true,
  maxPixels: true,
  signal: true,
  onProgress: true,
  onCase: true,
})

/** A model of this or another copy of the package: judged by what it can do. */
function checkModel(model: IConFace): void {
  const { restore, embed, info } = (model ?? {}) as Partial<IConFace>
  if (typeof restore === 'function' && typeof embed === 'function' && typeof info === 'object') return
  throw invalid('model', 'what IConFace.load resolves to', model)
}

function checkCases(cases: readonly EvaluationCase[]): void {
  if (!Array.isArray(cases) || cases.length === 0) throw invalid('cases', 'at least one case', cases)
  for (const [i, one] of cases.entries() as IterableIterator<[number, Partial<EvaluationCase> | null]>) {
    if (typeof one !== 'object' || one === null) throw invalid(`cases[${i}]`, 'a case', one)
    const { name, severity, references, load } = one
    if (typeof name !== 'string') throw invalid(`cases[${i}].name`, 'a string', name)
    if (typeof severity !== 'string') throw invalid(`cases[${i}].severity`, 'a string', severity)
    checkInteger(`cases[${i}].references`, references, 0, Number.MAX_SAFE_INTEGER)
    if (typeof load !== 'function') throw invalid(`cases[${i}].load`, 'a function', load)
  }
}

/** Refuses what {@link EvaluationCase.load} must not give; the pictures themselves are checked when they are read. */
function checkPictures(pictures: CasePictures, { references }: EvaluationCase): void {
  if (typeof pictures !== 'object' || pictures === null) throw invalid('what load() gives', 'pictures', pictures)
  const { references: given, landmarks } = pictures as Partial<CasePictures>
  if (!Array.isArray(given)) throw invalid('the references of load()', 'a list of pictures', given)
  if (given.length < references) {
    throw invalid('the references of load()', `${references}, as many as the case says,`, given.length)
  }
  if (typeof landmarks !== 'object') throw invalid('the landmarks of load()', 'an object or null', landmarks)
}

function checkEvaluateOptions(options: EvaluateOptions) {
  checkKnown('options', options, OPTIONS)
  const {
    references,
    seed = 0,
    steps,
    guidance,
    strict,
    maxPixels = DEFAULT_MAX_PIXELS,
    signal,
    onProgress,
    onCase,
  } = options
  const counts = checkCounts(references ?? DEFAULT_REFERENCES)
  checkWithin('seed', seed, LIMITS.baseSeed)
  checkRestoreOptions({ steps, guidance, strict, signal })
  checkWithin('maxPixels', maxPixels, LIMITS.pixels)
  for (const [name, value] of Object.entries({ onProgress, onCase })) {
    if (value !== undefined && typeof value !== 'function') throw invalid(name, 'a function', value)
  }
  return { counts, seed, steps, guidance, strict, maxPixels, signal, onProgress, onCase }
}

/** Numbers of references, smallest first. */
export function checkCounts(counts: unknown): number[] {
  const right = Array.isArray(counts) && counts.length > 0 && new Set(counts).size === counts.length
  if (!right) throw invalid('references', 'a list of different numbers', counts)
  for (const count of counts as unknown[]) checkWithin('references', count, LIMITS.evaluatedReferences)
  return [...(counts as number[])].sort((a, b) => a - b)
}

/** The numbers of references that a case has enough of. */
function usable(counts: readonly number[], { references }: EvaluationCase): number[] {
  return counts.filter((count) => count <= references)
}

async function readCase(
  one: EvaluationCase,
  { size, signal, ...limits }: Pick<RestoreOptions, 'signal' | 'strict'> & { size: number; maxPixels: number },
  most: number,
) {
  const raw = await one.load(size)
  checkAborted(signal)
  checkPictures(raw, one)
  const read = async (image: (typeof raw.references)[number], name: string) => {
    const picture = await readRgb(image, name, size, limits)
    checkAborted(signal)
    return picture
  }
  const references: FittedImage[] = []
  for (const [i, image] of raw.references.slice(0, Math.max(1, most)).entries()) {
    references.push(await read(image, `reference ${i + 1}`))
  }
  const [input, truth] = [await read(raw.input, 'input'), await read(raw.truth, 'truth')]
  const warnings = [input, truth, ...references].flatMap((picture) => picture.warnings)
  const { landmarks } = raw
  return { raw, input, truth, first: references[0], references: references.slice(0, most), landmarks, warnings }
}

function labels({ name, severity }: EvaluationCase): { name: string; severity: string } {
  return { name, severity }
}

/** The error with the name of the case it happened in. */
function named(error: unknown, { name, severity }: EvaluationCase): unknown {
  if (!isIConFaceError(error) || error.code === 'ERR_ICONFACE_ABORTED') return error
  return new IConFaceError(error.code, `${name} (${severity}): ${error.message}`, { cause: error })
}
