/**
 * The command-line options about which pictures are accepted.
 */

import { numeric } from './command'

/** For `parse`. */
export const PICTURE_OPTIONS = {
  'max-pixels': { type: 'string' },
  strict: { type: 'boolean', default: false },
} as const

/** For the commands' help. */
export const pictureUsage = (
  most: string,
) => `      --max-pixels N   largest picture accepted, width x height (default: ${most})
      --strict         refuse pictures that the decoder complains about
`

/** The options' values; `maxPixels` is `undefined` where nothing is said. */
export function pictureLimits(values: { 'max-pixels'?: string | undefined; strict: boolean }) {
  return { maxPixels: numeric('max-pixels', values['max-pixels']), strict: values.strict }
}
