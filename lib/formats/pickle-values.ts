/**
 * What a pickle can hold.
 */
import { describeValue } from '../errors'

export class PickleList {
  readonly items: PickleValue[] = []
}

export class PickleTuple {
  constructor(readonly items: readonly PickleValue[]) {}
}

/** Keys of the same text or number are the same key, as in Python; others are equal only to themselves. */
export class PickleDict {
  readonly entries = new Map<PickleValue, PickleValue>()
}

/** A class or function of the whitelist, which exists here by name alone. */
export class PickleGlobal {
  /**
   * @param name  with its module, such as `collections.OrderedDict`
   * @param call  what calling it with these arguments gives; throws a string's worth of reason as an `Error`
   */
  constructor(
    readonly name: string,
    readonly call?: (args: readonly PickleValue[]) => PickleValue,
  ) {}
}

/** What a {@link PickleGlobal} or a persistent id gives when it is no plain value. */
export abstract class PickleObject {
  /** Whether state, items and attributes set afterwards are dropped instead of being an error. */
  readonly ignoresState: boolean = false
}

export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleList
  | PickleTuple
  | PickleDict
  | PickleGlobal
  | PickleObject

/** How many values a value holds directly. */
export function lengthOf(value: PickleValue): number {
  if (value instanceof PickleDict) return value.entries.size
  return value instanceof PickleList || value instanceof PickleTuple ? value.items.length : 0
}

export function ignoresState(value: PickleValue): boolean {
  return value instanceof PickleObject && value.ignoresState
}

/** A value in a message. */
export function describePickle(value: PickleValue): string {
  if (value instanceof PickleGlobal) return value.name
  if (value instanceof PickleList) return `a list of ${value.items.length}`
  if (value instanceof PickleTuple) return `a tuple of ${value.items.length}`
  if (value instanceof PickleDict) return `a dict of ${value.entries.size}`
  return value === null ? 'None' : describeValue(value)
}
