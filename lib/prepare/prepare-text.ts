/**
 * Prompt embeddings of a model being prepared: whether its text encoder has to make them, and making them.
 */
import fs from 'node:fs'
import path from 'node:path'
import { checkAborted } from '../util/abort'
import { describeValue, IConFaceError, invalid } from '../errors'
import { DEFAULT_PROMPT, TEXT_LENGTH } from '../text/chat'
import {
  configuredTheta,
  encodePrompt,
  fingerprint,
  openTextEncoder,
  OUTPUT_LAYERS,
  tokenizerPlaces,
} from '../text/encoder'
import { PromptTokenizer } from '../text/tokenizer'
import type { Candidate, Chosen, Found } from './choose'
import type { TextEncoderSizes, TransformerSizes } from '../checkpoint/expected'
import type { PreparedPart, PrepareOptions } from './preparation'
import { TITLES } from '../checkpoint/roles'
import { openSafetensors } from '../formats/safetensors'
import { writeSafetensors } from '../formats/safetensors-writer'
import { settingsBeside } from './settings'

/** A text encoder that becomes part of the model. */
export interface TextPlan {
  readonly encoder: Candidate
  /** Absolute. */
  readonly tokenizer: string
  /** What it has to encode, beside the empty prompt; `undefined` where embeddings are there. */
  readonly prompt: string | undefined
}

/**
 * Decides about the text encoder among `chosen`; takes out of it embeddings that are of another prompt than `wanted`,
 * and a text encoder that can encode nothing for want of a tokenizer.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT` when `wanted` cannot be encoded
 */
export function planText(
  found: Found,
  { single }: Chosen,
  wanted: string | undefined,
  notes: string[],
): TextPlan | undefined {
  const embeddings = single.get('prompt')?.part.file
  const known = embeddings === undefined ? undefined : openSafetensors(embeddings).metadata.prompt
  const ready = embeddings !== undefined && (wanted === undefined || wanted === known)
  const encoder = single.get('text encoder')
  const tokenizer = encoder && findTokenizer(encoder.part.file, found)
  if (!ready && encoder && tokenizer === undefined) {
    const places = tokenizerPlaces(encoder.part.file).join(' and ')
    throw new IConFaceError(
      'ERR_ICONFACE_FILE_NOT_FOUND',
      `the text encoder ${encoder.part.file} has no tokenizer: ${places} do not exist; name Qwen3's tokenizer.json beside the other files`,
    )
  }
  if (!ready && !encoder && embeddings !== undefined) {
    const expected = `the prompt of ${embeddings}, ${describeValue(known)}, or a text encoder for another one`
    throw invalid('--prompt', expected, wanted)
  }
  if (!encoder) return undefined
  if (tokenizer === undefined) {
    notes.push(`the text encoder ${encoder.part.file} is left out: it has no tokenizer.json, and embeddings are there`)
    single.delete('text encoder')
    return undefined
  }
  if (ready) return { encoder, tokenizer, prompt: undefined }
  single.delete('prompt')
  return { encoder, tokenizer, prompt: wanted ?? DEFAULT_PROMPT }
}

/** The tokenizer that was named, else the one in its place, else the only one there is. */
function findTokenizer(weights: string, { tokenizers }: Found): string | undefined {
  const named = tokenizers.filter((one) => one.named)
  if (named.length > 1) throw invalid('the arguments', 'one tokenizer.json', named.map(({ file }) => file).join(', '))
  const placed = tokenizerPlaces(weights).find((file) => fs.existsSync(file))
  return named[0]?.file ?? placed ?? (tokenizers.length === 1 ? tokenizers[0]!.file : undefined)
}

/** What shapes do not tell about a text encoder, from where it lies. */
export function textSettings({ encoder: { part } }: TextPlan): {
  outputLayers?: readonly number[]
  ropeTheta?: number
} {
  const { outputLayers, ropeTheta = configuredTheta(path.dirname(part.file)) } = settingsBeside(
    'textEncoder',
    part.file,
  )
  return {
    ...(Array.isArray(outputLayers) && { outputLayers: outputLayers as number[] }),
    ...(typeof ropeTheta === 'number' && { ropeTheta }),
  }
}

/**
 * Refuses, before anything is converted, a text encoder that cannot serve.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT`, `ERR_ICONFACE_UNSUPPORTED`;
 *         `ERR_ICONFACE_INVALID_ARGUMENT` for a prompt that is too long
 */
export function checkText(plan: TextPlan, { single }: Chosen): void {
  const { encoder, tokenizer, prompt } = plan
  const { layers, hidden } = encoder.part.sizes as unknown as TextEncoderSizes
  const { contextDim } = single.get('transformer')!.part.sizes as unknown as TransformerSizes
  const { outputLayers = OUTPUT_LAYERS } = textSettings(plan)
  const refuse = (what: string) => {
    throw new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `the text encoder ${encoder.part.file} ${what}`)
  }
  const deepest = Math.max(...outputLayers)
  if (deepest > layers) refuse(`has ${layers} layers, and what layer ${deepest} gives is wanted`)
  const width = outputLayers.length * hidden
  if (width !== contextDim) refuse(`makes embeddings ${width} wide, but the transformer takes ${contextDim}`)
  const opened = PromptTokenizer.open(tokenizer)
  if (prompt !== undefined) opened.encodePrompt(prompt, TEXT_LENGTH)
}

/**
 * Writes `prompt_embeddings.safetensors`, unless the text encoder made the one that is there of the same prompt.
 *
 * @param parts    with the text encoder
 * @param created  gets the file, if it was not there
 */
export async function embedPrompts(
  plan: TextPlan,
  parts: readonly PreparedPart[],
  folder: string,
  { force, signal, onEncode }: PrepareOptions,
  created: string[],
): Promise<PreparedPart> {
  const { file: weights, source } = parts.find(({ role }) => role === 'text encoder')!
  const encoder = openTextEncoder(weights, textSettings(plan))
  const texts = { prompt: plan.prompt!, empty: '' }
  const metadata = { ...texts, encoder: fingerprint(encoder, plan.tokenizer) }
  const file = path.join(folder, 'prompt_embeddings.safetensors')
  const there = fs.existsSync(file)
  const part = {
    role: 'prompt',
    title: TITLES.prompt,
    source,
    file,
    naming: 'IConFace',
    converted: 'from a text',
  } as const
  const isSame = () => Object.entries(metadata).every(([key, value]) => openSafetensors(file).metadata[key] === value)
  if (there && !force) {
    if (isSame()) return { ...part, bytes: fs.statSync(file).size }
    throw invalid('the folder', 'one without other prompt_embeddings.safetensors (--force replaces them)', folder)
  }
  const tokenizer = PromptTokenizer.open(plan.tokenizer)
  const tensors = []
  for (const [i, [name, text]] of Object.entries(texts).entries()) {
    onEncode?.(i === 0 ? 1 : 2)
    const { shape, data } = await encodePrompt(encoder, tokenizer, text, TEXT_LENGTH, { precision: 'f32', signal })
    tensors.push({ name, dtype: 'F32' as const, shape, data })
  }
  checkAborted(signal)
  if (!there) created.push(file)
  await writeSafetensors(file, tensors, metadata)
  return { ...part, bytes: fs.statSync(file).size }
}
