/**
 * Small JSON files: configurations and indices.
 */
import fs from 'node:fs'
import { fileError, IConFaceError, isIConFaceError } from '../errors'

/** A configuration is a page of text; anything much larger is something else. */
const MAX_CONFIG_BYTES = 1 << 20

/**
 * The parsed contents of a JSON file.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT` for a file of more than `maxBytes`, and for what is no
 *         JSON; `ERR_ICONFACE_FILE_NOT_FOUND`, `ERR_ICONFACE_IO`
 */
export function readJson(file: string, maxBytes = MAX_CONFIG_BYTES): unknown {
  let text: string
  try {
    const { size } = fs.statSync(file)
    if (size > maxBytes)
      throw new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `${file} has ${size} bytes, more than ${maxBytes}`)
    text = fs.readFileSync(file, 'utf8')
  } catch (cause) {
    throw isIConFaceError(cause) ? cause : fileError('read', file, cause)
  }
  try {
    return JSON.parse(text) as unknown
  } catch (cause) {
    throw new IConFaceError(
      'ERR_ICONFACE_INVALID_CHECKPOINT',
      `${file} is no valid JSON: ${(cause as Error).message}`,
      { cause },
    )
  }
}
