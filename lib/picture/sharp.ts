/**
 * sharp, which decodes and encodes pictures. It is loaded with the first one: without it, or without its part for this
 * platform, everything that needs no picture works.
 */

import type { Sharp, SharpInput, SharpOptions } from 'sharp'
import { loadDependency } from '../util/dependency'
import { checkThreadRoomOnce } from './thread-room'

/** Never a path: sharp takes the end of `face.png[2]` for options, and does not find the file. */
type Input = Exclude<SharpInput, string>

/**
 * A pipeline of sharp.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_DEPENDENCY_UNAVAILABLE`; `ERR_ICONFACE_THREADS` where it could start none
 */
export function sharp(options: SharpOptions): Sharp
export function sharp(input: Input, options?: SharpOptions): Sharp
export function sharp(...args: [(Input | SharpOptions)?, SharpOptions?]): Sharp {
  checkThreadRoomOnce()
  const library = loadDependency('sharp') as (...args: unknown[]) => Sharp
  return library(...args)
}
