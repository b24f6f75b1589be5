/**
 * The status of a file that may not be there.
 */

import { type Stats, statSync } from 'node:fs'
import { fileError } from '../errors'

/**
 * What is at `path`; `undefined` where there is nothing.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_IO` where the system does not say: no permission, a name that is too long.
 */
export function statusOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (cause) {
    throw fileError('read', path, cause)
  }
}
