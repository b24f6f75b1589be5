/**
 * Options and result of preparing a model.
 */
import type { Kind } from '../checkpoint/roles'
import type { Missing } from './survey'

export interface PrepareOptions {
  /** Of the model, for people. Default: the folder's. */
  readonly name?: string | undefined
  /** The adapter's file, where its tensors have other names, and the file that says which (name-map.ts). */
  readonly adapter?: string | undefined
  readonly names?: string | undefined
  /** What its text encoder is to encode. Default: the prompt of the paper's authors (`DEFAULT_PROMPT`). */
  readonly prompt?: string | undefined
  /** Replace an `iconface.json` and embeddings that are there. */
  readonly force?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: { file: string; bytes: number; totalBytes: number }) => void) | undefined
  /** Called before each of the two prompts is encoded, which takes about 20 seconds of CPU time with Qwen3-4B. */
  readonly onEncode?: ((prompt: 1 | 2) => void) | undefined
}

/** A part of the model, and what was done about it. */
export interface PreparedPart {
  readonly role: Kind
  readonly title: string
  /** What was given: absolute. */
  readonly source: string
  /** What `iconface.json` names: absolute. */
  readonly file: string
  readonly naming: string
  /** Why `file` is not `source`. */
  readonly converted: 'from fp8' | 'from PyTorch' | 'from a text' | undefined
  readonly bytes: number
}

/** What {@link prepareModel} did. */
export interface Preparation {
  readonly folder: string
  readonly parts: readonly PreparedPart[]
  /** What was found and is not used, with the reason. */
  readonly unused: readonly { readonly file: string; readonly reason: string }[]
  readonly missing: readonly Missing[]
  /** What a user should know. */
  readonly notes: readonly string[]
}
