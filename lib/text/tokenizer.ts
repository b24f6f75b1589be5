/**
 * Prompts to token ids by a `tokenizer.json` of Qwen3.
 *
 * The tokenizing itself is `@huggingface/tokenizers`. The file is untrusted, and that library trusts it, so only what
 * is checked here is handed on: vocabulary, merges and added tokens. The rest must be what Qwen's files say, which
 * leaves no foreign regular expression to run, and no text that would be dropped for want of a token.
 */
import type { Tokenizer } from '@huggingface/tokenizers' with { 'resolution-mode': 'import' }
import { readJson } from '../formats/json'
import { loadDependency } from '../util/dependency'
import { describeValue, IConFaceError, invalid } from '../errors'
import { CHAT_TOKENS, chatText, PADDING_TOKEN } from './chat'

/** Qwen3's file has 11 MB. */
const MAX_BYTES = 64 << 20
/** Qwen3 has 151 669 tokens. */
const MAX_TOKENS = 1 << 20
const MAX_ADDED_TOKENS = 10_000

/**
 * The regular expression by which Qwen's tokenizers split text before merging: contractions, words, single digits,
 * punctuation, white space.
 */
const PIECES = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

/** A prompt's tokens, padded. */
export interface PromptTokens {
  readonly ids: Int32Array
  /** How many of them are the text; the others are padding. */
  readonly real: number
}

/** The text encoder's tokenizer: a prompt as the chat template of Qwen3, in tokens. */
export class PromptTokenizer {
  private constructor(
    private readonly tokenizer: Tokenizer,
    private readonly padding: number,
  ) {}

  /**
   * Reads a `tokenizer.json`.
   *
   * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT` when it is damaged or not of a Qwen model, with what is
   *         wrong; `ERR_ICONFACE_FILE_NOT_FOUND`, `ERR_ICONFACE_IO`.
   */
  static open(file: string): PromptTokenizer {
    return PromptTokenizer.parse(readJson(file, MAX_BYTES), file)
  }

  /** The same from the file's contents; `file` is its name, for messages. */
  static parse(json: unknown, file: string): PromptTokenizer {
    const checked = checkTokenizer(json, file)
    const padding = checked.added_tokens.find(({ content }) => content === PADDING_TOKEN)!.id
    const library = loadDependency('@huggingface/tokenizers') as { Tokenizer: typeof Tokenizer }
    return new PromptTokenizer(new library.Tokenizer(checked, {}), padding)
  }

  /** Token ids of a text, special tokens among them. */
  encode(text: string): number[] {
    return this.tokenizer.encode(text, { add_special_tokens: false }).ids
  }

  /**
   * The prompt in its chat template, padded to `length`.
   *
   * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT` when it is too long: to cut it would cut the template
   */
  encodePrompt(prompt: string, length: number): PromptTokens {
    const tokens = this.encode(chatText(prompt))
    const template = this.encode(chatText('')).length
    if (tokens.length > length) {
      const expected = `a text of at most ${length - template} tokens (${length} with the chat template's ${template})`
      throw invalid('prompt', expected, `${tokens.length - template} tokens`)
    }
    const ids = new Int32Array(length).fill(this.padding)
    ids.set(tokens)
    return { ids, real: tokens.length }
  }
}

interface AddedToken {
  readonly id: number
  readonly content: string
  readonly special: boolean
  readonly normalized: boolean
}

/** A tokenizer file for the library, made only of checked parts. */
function checkTokenizer(json: unknown, file: string) {
  const root = object(json, 'the file', file)
  const model = object(root.model, 'model', file)
  if (model.type !== 'BPE') throw malformed(file, `its model is ${describeValue(model.type)}, and Qwen's is "BPE"`)
  for (const key of ['byte_fallback', 'continuing_subword_prefix', 'end_of_word_suffix', 'dropout', 'ignore_merges']) {
    if (model[key]) throw malformed(file, `its model has ${key} ${describeValue(model[key])}, and Qwen's has none`)
  }
  const vocab = checkVocabulary(model.vocab, file)
  const merges = checkMerges(model.merges, vocab, file)
  const added_tokens = checkAddedTokens(root.added_tokens, vocab, file)
  checkPieces(root, file)
  return {
    model: { type: 'BPE', vocab: Object.fromEntries(vocab), merges },
    normalizer: { type: 'NFC' },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: PIECES }, behavior: 'Isolated', invert: false },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: null,
    added_tokens,
  }
}

/** Tokens to ids. All 256 bytes are among them, so that every text has tokens. */
function checkVocabulary(value: unknown, file: string): Map<string, number> {
  const entries = Object.entries(object(value, 'model.vocab', file))
  if (entries.length > MAX_TOKENS) throw malformed(file, `it has ${entries.length} tokens, more than ${MAX_TOKENS}`)
  const ids = new Set<number>()
  for (const [token, id] of entries) {
    checkId(token, id, file)
    if (ids.size === ids.add(id).size) throw malformed(file, `two tokens of its vocabulary have the id ${id}`)
  }
  const vocab = new Map(entries as [string, number][])
  const missing = byteSymbols().find((symbol) => !vocab.has(symbol))
  if (missing !== undefined)
    throw malformed(file, `its vocabulary lacks ${describeValue(missing)}, which stands for a byte`)
  return vocab
}

function checkId(token: string, id: unknown, file: string): asserts id is number {
  if (Number.isInteger(id) && (id as number) >= 0 && (id as number) < MAX_TOKENS) return
  throw malformed(file, `the token ${describeValue(token)} has the id ${describeValue(id)}`)
}

/** Pairs in the order of their rank, as "a b" or ["a", "b"]. What a pair merges to must be a token. */
function checkMerges(value: unknown, vocab: ReadonlyMap<string, number>, file: string): [string, string][] {
  if (!Array.isArray(value)) throw malformed(file, `its model.merges are ${describeValue(value)} instead of a list`)
  if (value.length > MAX_TOKENS) throw malformed(file, `it has ${value.length} merges, more than ${MAX_TOKENS}`)
  return value.map((merge: unknown, i) => {
    const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge
    const [first, second] = (Array.isArray(pair) && pair.length === 2 ? pair : []) as unknown[]
    if (typeof first !== 'string' || typeof second !== 'string' || !vocab.has(first + second)) {
      throw malformed(file, `its merge ${i}, ${describeValue(merge)}, is no pair that makes a token of its vocabulary`)
    }
    return [first, second]
  })
}

/** Special tokens; those of the chat template and the padding are among them. */
function checkAddedTokens(value: unknown, vocab: ReadonlyMap<string, number>, file: string): AddedToken[] {
  if (!Array.isArray(value)) throw malformed(file, `its added_tokens are ${describeValue(value)} instead of a list`)
  if (value.length > MAX_ADDED_TOKENS) {
    throw malformed(file, `it has ${value.length} added tokens, more than ${MAX_ADDED_TOKENS}`)
  }
  const tokens = value.map((item: unknown, i): AddedToken => {
    const { id, content, special, normalized, ...flags } = object(item, `added_tokens[${i}]`, file)
    if (typeof content !== 'string' || content === '' || content.length > 256) {
      throw malformed(file, `added_tokens[${i}] has the content ${describeValue(content)}`)
    }
    checkId(content, id, file)
    if (vocab.has(content) && vocab.get(content) !== id) {
      throw malformed(file, `the token ${describeValue(content)} has the ids ${vocab.get(content)} and ${id}`)
    }
    for (const flag of ['lstrip', 'rstrip', 'single_word']) {
      if (flags[flag]) throw malformed(file, `the token ${describeValue(content)} has ${flag}, and Qwen's have not`)
    }
    return { id, content, special: special === true, normalized: normalized === true }
  })
  const missing = [...CHAT_TOKENS, PADDING_TOKEN].find((token) => !tokens.some(({ content }) => content === token))
  if (missing !== undefined) {
    throw malformed(file, `it has no token ${missing}: it is not of a Qwen3 model, which the chat template needs`)
  }
  return tokens
}

/** Normalizer and pre-tokenizer must be Qwen's own; only then may ours take their place. */
function checkPieces(root: Record<string, unknown>, file: string): void {
  const normalizer = object(root.normalizer, 'normalizer', file).type
  if (normalizer !== 'NFC') throw malformed(file, `its normalizer is ${describeValue(normalizer)}, and Qwen's is "NFC"`)
  const steps = object(root.pre_tokenizer, 'pre_tokenizer', file).pretokenizers
  if (!Array.isArray(steps) || steps.length !== 2)
    throw malformed(file, 'its pre_tokenizer has not the two steps of Qwen')
  const split = object(steps[0], 'pre_tokenizer.pretokenizers[0]', file)
  const bytes = object(steps[1], 'pre_tokenizer.pretokenizers[1]', file)
  const regex = split.type === 'Split' ? object(split.pattern, 'its pattern', file).Regex : undefined
  if (regex !== PIECES || split.behavior !== 'Isolated' || split.invert === true) {
    throw malformed(file, `it cuts text by ${describeValue(regex ?? split.type)} instead of Qwen's pattern`)
  }
  if (bytes.type !== 'ByteLevel' || bytes.add_prefix_space === true || bytes.use_regex === true) {
    throw malformed(file, 'its second pre-tokenizer is not the plain "ByteLevel" of Qwen')
  }
}

/** The characters that stand for the bytes 0 to 255 in byte-level vocabularies: printable ones for themselves. */
function byteSymbols(): string[] {
  const printable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173)
  let others = 0
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : 256 + others++))
}

function object(value: unknown, what: string, file: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw malformed(file, `${what} is ${describeValue(value)} instead of an object`)
}

function malformed(file: string, reason: string): IConFaceError {
  return new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `${file} is no tokenizer for Qwen3: ${reason}`)
}
