/**
 * Warnings and failures of an evaluation's cases, as commands print them.
 */

import { IConFaceError } from '../errors'
import type { Evaluation } from '../evaluate/evaluation'
import { IConFaceWarning } from '../warning'
import { tell } from './output'

/** The warnings of all cases, which name the case. */
export function caseWarnings({ cases }: Evaluation): IConFaceWarning[] {
  return cases.flatMap(({ name, severity, warnings }) =>
    warnings.map(({ code, message }) => new IConFaceWarning(code, `${name} (${severity}): ${message}`)),
  )
}

/**
 * Lists the cases that could not be evaluated on standard error.
 *
 * @throws {IConFaceError} with the code of the first, where there are any.
 */
export function checkFailures({ cases, failures }: Evaluation): void {
  const [first] = failures
  if (!first) return
  for (const { code, message } of failures) tell(`iconface: ${code}: ${message}\n`)
  const all = failures.length + cases.length
  throw new IConFaceError(
    first.code,
    `${failures.length} of ${all} cases could not be evaluated; they are listed above`,
  )
}
