/**
 * What a restore is asked for: arguments checked and pictures captured at the moment of the call.
 */

import { invalid } from './errors'
import { capturePictures, type ImageInput, type Picture } from './image'
import { type CheckedLoad, type CheckedRestore, checkRestoreOptions, type RestoreOptions } from './options'
import { checkAborted } from './util/abort'

/** A restore whose arguments are checked and whose pictures are captured. */
export interface RestoreRequest {
  /** The degraded picture first, then the references. */
  pictures: Picture[]
  options: CheckedRestore
  /** The detector's file; `undefined`: the package's own. */
  detector: string | undefined
}

/** Checks a restore's arguments and captures its pictures, at the moment of the call. */
export function prepareRestore(
  input: ImageInput,
  references: readonly ImageInput[],
  options: RestoreOptions,
  { maxPixels, maxReferences, detector }: Pick<CheckedLoad, 'maxPixels' | 'maxReferences' | 'detector'>,
): RestoreRequest {
  const checked = checkRestoreOptions(options)
  checkAborted(checked.signal)
  if (!Array.isArray(references)) throw invalid('references', 'an array of pictures', references)
  if (references.length > maxReferences) {
    throw invalid('references', `at most ${maxReferences} pictures (maxReferences)`, references.length)
  }
  const named = Array.from(references, (image: ImageInput, i) => ({ name: `reference ${i + 1}`, image })) // no holes
  const pictures = capturePictures([{ name: 'input', image: input }, ...named], maxPixels, checked.strict)
  return { options: checked, pictures, detector }
}
