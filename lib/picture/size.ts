/**
 * The warning about a result size far from the one a model was trained for.
 */

import { IConFaceWarning } from '../warning'

/** Results get worse at sizes this many times larger or smaller than the trained one. */
const FAR = 2

/** What a caller should know about a restore of `size` pixels by a model that was trained at `trained`. */
export function sizeWarnings(size: number, trained: number): IConFaceWarning[] {
  if (size <= FAR * trained && FAR * size >= trained) return []
  const pixels = (size / trained) ** 2
  const cost = pixels > 1 ? `, and ${Math.round(pixels).toLocaleString('en')} times the work or more` : ''
  const message =
    `size ${size} is far from the ${trained} pixels that the model was trained for: expect a bad result${cost}; ` +
    `leave size out, and scale the result`
  return [new IConFaceWarning('WARN_ICONFACE_SIZE', message)]
}
