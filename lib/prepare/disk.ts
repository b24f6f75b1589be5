/**
 * A check that a disk has room for the bytes to be written.
 */
import fs from 'node:fs'
import { IConFaceError } from '../errors'

/** Headers and the file system's own needs come on top of the weights. */
const SPACE_MARGIN = 16 << 20

/** @throws {IConFaceError} `ERR_ICONFACE_IO` with what is free and what is needed */
export function checkSpace(folder: string, bytes: number): void {
  const { bavail, bsize } = fs.statfsSync(folder)
  if (bavail * bsize >= bytes + SPACE_MARGIN) return
  const gigabytes = (n: number) => `${(n / 1e9).toFixed(2)} GB`
  throw new IConFaceError(
    'ERR_ICONFACE_IO',
    `${folder} has ${gigabytes(bavail * bsize)} free, but ${gigabytes(bytes + SPACE_MARGIN)} are needed`,
  )
}
