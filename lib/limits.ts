/**
 * Values that options, `iconface.json` and the command line allow: bounds of numbers, and names to choose from.
 */

import { invalid } from './errors'

export interface Limit {
  readonly min: number
  readonly max: number
  /** Values are multiples of it; without it, any numbers. */
  readonly step?: number
}

export const LIMITS = {
  steps: { min: 1, max: 1000, step: 1 },
  guidance: { min: 0, max: 100 },
  /** Side of a result in pixels; a token of the transformer covers 16. */
  size: { min: 16, max: 4096, step: 16 },
  /** Of our own generators: what a number holds exactly. */
  seed: { min: 0, max: Number.MAX_SAFE_INTEGER, step: 1 },
  /** Where many seeds are derived from one. */
  baseSeed: { min: 0, max: 2 ** 31 - 1, step: 1 },
  references: { min: 0, max: 64, step: 1 },
  /** Of an evaluation, whose drawn people have no more. */
  evaluatedReferences: { min: 0, max: 8, step: 1 },
  /** Drawn people of one evaluation. With `baseSeed`, all that is drawn of them has a seed of its own. */
  people: { min: 1, max: 100_000, step: 1 },
  /** Restores that wait. */
  queue: { min: 0, max: 1e6, step: 1 },
  threads: { min: 1, max: 1024, step: 1 },
  /** Side of a picture in pixels. */
  side: { min: 1, max: 65535, step: 1 },
  /** Pixels of a picture: at most a square of the largest side that WebP takes. */
  pixels: { min: 1, max: 0x3fff ** 2, step: 1 },
  /** Of a degradation. */
  strength: { min: 0, max: 16 },
} as const satisfies Record<string, Limit>

/** What matrix products read. */
export type Precision = 'f32' | 'bf16' | 'fp8'
export const PRECISIONS: readonly Precision[] = ['f32', 'bf16', 'fp8']
/** What `auto` means. */
export const DEFAULT_PRECISION: Precision = 'bf16'

/** Whose `torch.randn` a seed means. */
export type Rng = (typeof RNGS)[number]
export const RNGS = ['torch-cuda', 'torch-cpu'] as const

/** Characters of a prompt: longer than the text encoder's tokens can be, and short enough to be tokenized at once. */
export const MAX_PROMPT = 10_000

export function isWithin(value: unknown, { min, max, step }: Limit): value is number {
  return typeof value === 'number' && value >= min && value <= max && (step === undefined || value % step === 0)
}

/** `an integer from 1 to 1000`. */
export function expectedOf({ min, max, step }: Limit): string {
  if (max === Number.MAX_SAFE_INTEGER) return `a whole number from ${min} to 2^53 - 1`
  const kind = step === undefined ? 'a number' : step === 1 ? 'an integer' : `a multiple of ${step}`
  return `${kind} from ${min} to ${max}`
}

/** `1 to 1000`, for people. */
export function rangeOf({ min, max }: Limit): string {
  return `${min} to ${max}`
}

/** @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT` */
export function checkWithin(name: string, value: unknown, limit: Limit): asserts value is number {
  if (!isWithin(value, limit)) throw invalid(name, expectedOf(limit), value)
}
