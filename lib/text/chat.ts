/**
 * A prompt as Qwen3 sees it: its chat template for one user message, with the beginning of an answer that does not
 * think (model-specification.md 7). FLUX.2 [klein] was trained on hidden states of exactly this text.
 */
export function chatText(prompt: string): string {
  return `<|im_start|>user\n${prompt}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n`
}

/** Special tokens of the template; a tokenizer must have each of them as one token. */
export const CHAT_TOKENS = ['<|im_start|>', '<|im_end|>', '<think>', '</think>'] as const

/** The token that fills rows behind a text. */
export const PADDING_TOKEN = '<|endoftext|>'

/** The prompt of a model for which no other is named (model-specification.md 6); with references and without. */
export const DEFAULT_PROMPT =
  'reference-guided face restoration of a high quality portrait photo of a person, natural skin, detailed face'

/** Tokens that a text is padded to for FLUX.2 [klein]. */
export const TEXT_LENGTH = 512
