/**
 * The cache of prompt embeddings: `prompts/<hash of the prompt>.<precision>.safetensors` in the model's
 * folder, or in the user's cache folder where that cannot be written. An entry records its prompt and its text
 * encoder; a damaged entry, or one of another prompt or encoder, is ignored.
 */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import { roundToBFloat16 } from '../formats/dtype'
import { openSafetensors, readTensorBytes, type SafetensorsFile } from '../formats/safetensors'
import { writeSafetensors } from '../formats/safetensors-writer'
import { isIConFaceError } from '../errors'
import type { Result } from '../ops'

export type EmbeddingPrecision = 'f32' | 'bf16'

/** What an entry must match. */
export interface CacheKey {
  readonly prompt: string
  readonly precision: EmbeddingPrecision
  /** [tokens, width] */
  readonly shape: readonly [number, number]
  /** The text encoder's fingerprint; `undefined` where there is none: then any entry beside the model is its own. */
  readonly encoder: string | undefined
}

const TENSOR = 'embeddings'

export class PromptCache {
  private readonly folders: readonly string[]

  /** @param model  the model's folder */
  constructor(model: string) {
    this.folders = [path.join(model, 'prompts'), path.join(userCache(), sha256(fs.realpathSync(model)).slice(0, 16))]
  }

  /** An entry at least as precise as asked for. */
  read(key: CacheKey): Result | undefined {
    const precisions: EmbeddingPrecision[] = key.precision === 'f32' ? ['f32'] : ['bf16', 'f32']
    for (const folder of this.folders)
      for (const precision of precisions) {
        const found = readEntry(path.join(folder, fileName(key.prompt, precision)), precision, key)
        if (found) return found
      }
    return undefined
  }

  /**
   * Keeps embeddings; resolves to them as they will be read, which is rounded if the key says bf16. If neither
   * folder can be written it warns: the next restore encodes the prompt again.
   */
  async write(key: CacheKey & { readonly encoder: string }, embeddings: Result): Promise<Result> {
    const entry = rounded(embeddings, key.precision)
    const tensor = { name: TENSOR, dtype: STORED[key.precision], shape: entry.shape, data: entry.data }
    const metadata = { prompt: key.prompt, encoder: key.encoder }
    let refusal: unknown
    for (const folder of this.folders) {
      try {
        fs.mkdirSync(folder, { recursive: true })
        await writeSafetensors(path.join(folder, fileName(key.prompt, key.precision)), [tensor], metadata)
        return entry
      } catch (error) {
        refusal = error
      }
    }
    process.emitWarning(`the prompt's embeddings cannot be kept: ${(refusal as Error).message}`, 'IConFaceWarning')
    return entry
  }
}

const STORED = { f32: 'F32', bf16: 'BF16' } as const

function fileName(prompt: string, precision: EmbeddingPrecision): string {
  return `${sha256(prompt)}.${precision}.safetensors`
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** As `$XDG_CACHE_HOME` names it, else `~/.cache`. */
function userCache(): string {
  return path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'iconface', 'prompts')
}

function readEntry(
  file: string,
  precision: EmbeddingPrecision,
  { prompt, shape, encoder }: CacheKey,
): Result | undefined {
  let opened: SafetensorsFile
  try {
    opened = openSafetensors(file)
  } catch (error) {
    if (isIConFaceError(error)) return undefined
    throw error
  }
  const { metadata, tensors } = opened
  const tensor = tensors.get(TENSOR)
  if (metadata.prompt !== prompt || (encoder !== undefined && metadata.encoder !== encoder)) return undefined
  if (tensor?.dtype !== STORED[precision] || tensor.shape.join() !== shape.join()) return undefined
  const bytes = readTensorBytes(opened, TENSOR) // a buffer of its own, so aligned
  const data = precision === 'f32' ? new Float32Array(bytes.buffer) : new Uint16Array(bytes.buffer)
  return { dtype: precision, shape: [...shape], data }
}

function rounded({ shape, data }: Result, precision: EmbeddingPrecision): Result {
  if (precision === 'f32') return { dtype: 'f32', shape, data }
  const halves = new Uint16Array(data.length)
  roundToBFloat16(new Uint32Array(data.buffer, data.byteOffset, data.length), halves)
  return { dtype: 'bf16', shape, data: halves }
}
