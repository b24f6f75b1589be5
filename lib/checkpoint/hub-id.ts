/**
 * Names of Hugging Face Hub repositories given where a path is expected, for an error that says how to download them.
 */
import fs from 'node:fs'
import { fileError, IConFaceError } from '../errors'

const HUB_ID =
  /^(?:https?:\/\/huggingface\.co\/|hf:\/\/)?([A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*)(?:@[\w./-]+)?(?::.+|\/)?$/

/** The repository that `text` may name, `owner/name`; `undefined` for what has another form, or is there. */
export function hubId(text: string): string | undefined {
  if (fs.existsSync(text)) return undefined
  const [, id] = HUB_ID.exec(text) ?? []
  return id
}

/** The error of a path that does not exist, which says what to do if it is the name of a repository. */
export function notThere(text: string, absolute: string): IConFaceError {
  const id = hubId(text)
  if (id === undefined) return fileError('read', absolute, { code: 'ENOENT' })
  const message = `${absolute} does not exist; if ${id} is a repository of the Hugging Face Hub, "iconface prepare --hub ${id} --out FOLDER" downloads it and makes FOLDER a model`
  return new IConFaceError('ERR_ICONFACE_FILE_NOT_FOUND', message)
}
