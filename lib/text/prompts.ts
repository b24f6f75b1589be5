/** The prompts of a model: its own, those encoded before, and new ones where it has a text encoder. */
import { toFloat32 } from '../formats/dtype'
import type { ModelCheckpoint } from '../checkpoint/open'
import { openSafetensors, readTensorBytes } from '../formats/safetensors'
import { IConFaceError } from '../errors'
import type { NetworksOptions } from '../networks/networks'
import type { Result } from '../ops'
import { type EmbeddingPrecision, PromptCache } from './cache'
import { encodePrompt, fingerprint, openTextEncoder, tokenizerFile } from './encoder'
import { PromptTokenizer } from './tokenizer'

export class Prompts {
  constructor(private readonly model: Pick<ModelCheckpoint, 'folder' | 'prompt' | 'textEncoder' | 'numbers'>) {}

  /**
   * Embeddings [length, context] of a prompt, in the model's precision or a better one.
   *
   * @param onEncode  called before the text encoder is loaded, which takes a while
   * @throws {IConFaceError} `ERR_ICONFACE_UNSUPPORTED` for a new prompt when the model has no text encoder; as
   *         `encodePrompt`
   */
  async embeddings(
    prompt: string,
    options: NetworksOptions & { precision: EmbeddingPrecision; signal?: AbortSignal | undefined },
    onEncode: () => void = () => {},
  ): Promise<Result> {
    const own = this.own(prompt)
    if (own) return own
    const shape = [this.number('prompt.length'), this.number('prompt.contextDim')] as const
    const { folder, textEncoder } = this.model
    const cache = new PromptCache(folder)
    const key = { prompt, precision: options.precision, shape }
    if (!textEncoder) return cache.read({ ...key, encoder: undefined }) ?? this.unknown(prompt)

    const { file: _, ...settings } = textEncoder
    const encoder = openTextEncoder(textEncoder.file, settings)
    if (encoder.width !== shape[1]) {
      throw new IConFaceError(
        'ERR_ICONFACE_INVALID_CHECKPOINT',
        `${encoder.weights.path} makes embeddings ${encoder.width} wide, but the transformer of ${folder} takes ${shape[1]}`,
      )
    }
    const tokenizer = tokenizerFile(encoder.weights, textEncoder)
    const complete = { ...key, encoder: fingerprint(encoder, tokenizer) }
    const cached = cache.read(complete)
    if (cached) return cached
    onEncode()
    return cache.write(
      complete,
      await encodePrompt(encoder, PromptTokenizer.open(tokenizer), prompt, shape[0], options),
    )
  }

  /** The model's own embeddings, if their file names this prompt. */
  private own(prompt: string): Result | undefined {
    const { file, withReferences, empty } = this.model.prompt
    const opened = openSafetensors(file)
    const { prompt: text, empty: none } = opened.metadata
    const name = prompt === text ? withReferences : prompt === none ? empty : undefined
    const tensor = name === undefined ? undefined : opened.tensors.get(name)
    if (!tensor) return undefined
    const data = toFloat32(readTensorBytes(opened, name!), tensor.dtype)
    return { dtype: 'f32', shape: [...tensor.shape], data }
  }

  private number(name: string): number {
    return this.model.numbers[name]![0]!
  }

  private unknown(prompt: string): never {
    throw new IConFaceError(
      'ERR_ICONFACE_UNSUPPORTED',
      `${this.model.folder} has no text encoder and no embeddings of the prompt ${JSON.stringify(prompt.slice(0, 80))}; ` +
        'name Qwen3-4B in its iconface.json (textEncoder.file), or leave the prompt out to use its own',
    )
  }
}
