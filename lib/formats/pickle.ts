/**
 * Python's pickle format as data: a stack machine that builds numbers, texts, lists, tuples and dicts, and hands every
 * name of a class or function to the caller, who decides what, if anything, it stands for. No code is ever run: a
 * pickle can only ask for names, and names the caller does not know are errors.
 *
 * Protocols 2 to 5. Opcodes: CPython, Lib/pickletools.py.
 */
import { isUtf8 } from 'node:buffer'
import { describeValue, IConFaceError } from '../errors'
import {
  describePickle,
  ignoresState,
  lengthOf,
  PickleDict,
  PickleGlobal,
  PickleList,
  type PickleObject,
  PickleTuple,
  type PickleValue,
} from './pickle-values'

/** More values than a checkpoint has, 40 000 tensors; bounds the memory and the time that any pickle takes. */
const MAX_VALUES = 1 << 20
const MAX_MARKS = 1000
/** Integers beyond a few machine words are nothing a checkpoint needs. */
const MAX_INTEGER_BYTES = 256
const MAX_GLOBAL_LENGTH = 256

export interface PickleEnvironment {
  /** For messages: the file, and the part of it that is a pickle. */
  readonly name: string
  /** The meaning of a name, `undefined` when it is not allowed. */
  global(module: string, name: string): PickleGlobal | undefined
  /** The object that a persistent id stands for; `undefined` when it is not a valid one. */
  persistent(id: PickleValue): PickleObject | undefined
}

/** Why a name, a call or a persistent id is refused; becomes an error with the file and the byte. */
export class PickleRefusal extends Error {}

/**
 * Reads one pickle.
 *
 * @param bytes  may go on after the pickle
 * @returns the value, and how many bytes the pickle takes
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT` with the byte, the opcode, and the global if it is one
 */
export function readPickle(bytes: Buffer, environment: PickleEnvironment): { value: PickleValue; end: number } {
  return new Machine(bytes, environment).run()
}

class Machine {
  private at = 0
  /** Where the current opcode is. */
  private opcodeAt = 0
  private opcode = 0
  /** Values made or copied so far. */
  private values = 0
  private stack: PickleValue[] = []
  /** The stacks below the current one, one for every MARK. */
  private readonly marks: PickleValue[][] = []
  private readonly memo = new Map<number, PickleValue>()

  constructor(
    private readonly bytes: Buffer,
    private readonly environment: PickleEnvironment,
  ) {}

  run(): { value: PickleValue; end: number } {
    for (;;) {
      this.opcodeAt = this.at
      this.opcode = this.byte()
      if (this.opcode === 0x2e) break
      const execute = OPCODES[this.opcode]
      if (!execute) throw this.fail(`it ${REFUSED[this.opcode] ?? 'is unknown'}`)
      execute(this)
    }
    const value = this.pop()
    if (this.stack.length > 0 || this.marks.length > 0) throw this.fail('values are left on the stack')
    return { value, end: this.at }
  }

  fail(reason: string): IConFaceError {
    const opcode = `opcode 0x${this.opcode.toString(16).padStart(2, '0')} at byte ${this.opcodeAt}`
    return new IConFaceError(
      'ERR_ICONFACE_INVALID_CHECKPOINT',
      `${this.environment.name} is no pickle that is safe to read: ${opcode}: ${reason}`,
    )
  }

  /** The next `count` bytes. */
  take(count: number): Buffer {
    if (count > this.bytes.length - this.at) {
      throw this.fail(`it needs ${count} more bytes, and ${this.bytes.length - this.at} are left; it is cut short`)
    }
    this.at += count
    return this.bytes.subarray(this.at - count, this.at)
  }

  byte = (): number => this.take(1)[0]!
  uint16 = (): number => this.take(2).readUInt16LE()
  int32 = (): number => this.take(4).readInt32LE()
  uint32 = (): number => this.take(4).readUInt32LE()
  double = (): number => this.take(8).readDoubleBE()

  uint64(): number {
    const value = Number(this.take(8).readBigUInt64LE())
    if (!Number.isSafeInteger(value)) throw this.fail(`a length of ${value} is impossible`)
    return value
  }

  /** Text up to the end of the line. */
  line(): string {
    const end = this.bytes.subarray(0, this.at + MAX_GLOBAL_LENGTH).indexOf(0x0a, this.at)
    if (end < 0) throw this.fail(`a name has no end within ${MAX_GLOBAL_LENGTH} bytes`)
    const text = this.text(end - this.at)
    this.at++
    return text
  }

  text(length: number): string {
    const bytes = this.take(length)
    if (!isUtf8(bytes)) throw this.fail('a text is not valid UTF-8')
    return bytes.toString('utf8')
  }

  /** Two's complement, little-endian, of any length. */
  integer(length: number): number | bigint {
    if (length > MAX_INTEGER_BYTES) throw this.fail(`an integer of ${length} bytes is too large`)
    let value = 0n
    for (const byte of this.take(length).toReversed()) value = (value << 8n) | BigInt(byte)
    const signed = BigInt.asIntN(8 * length, value)
    return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed
  }

  push(value: PickleValue): void {
    this.charge(1)
    this.stack.push(value)
  }

  private charge(values: number): void {
    this.values += values
    if (this.values > MAX_VALUES) throw this.fail(`it makes more than ${MAX_VALUES} values`)
  }

  pop(): PickleValue {
    const value = this.stack.pop()
    if (value === undefined) throw this.fail('the stack is empty')
    return value
  }

  top(): PickleValue {
    const value = this.stack.at(-1)
    if (value === undefined) throw this.fail('the stack is empty')
    return value
  }

  popMany(count: number): PickleValue[] {
    if (this.stack.length < count) throw this.fail('the stack is empty')
    return this.stack.splice(this.stack.length - count)
  }

  mark(): void {
    if (this.marks.length === MAX_MARKS) throw this.fail(`it is nested more than ${MAX_MARKS} deep`)
    this.marks.push(this.stack)
    this.stack = []
  }

  /** Everything since the last MARK. */
  popMark(): PickleValue[] {
    const below = this.marks.pop()
    if (!below) throw this.fail('there is no mark')
    const values = this.stack
    this.stack = below
    return values
  }

  /** POP removes a value or, where there is none above it, the mark. */
  discard(): void {
    if (this.stack.length > 0) this.stack.pop()
    else this.popMark()
  }

  put(index: number): void {
    if (this.memo.size >= MAX_VALUES) throw this.fail(`the memo exceeds ${MAX_VALUES} values`)
    this.memo.set(index, this.top())
  }

  memoize(): void {
    this.put(this.memo.size)
  }

  get(index: number): void {
    const value = this.memo.get(index)
    if (value === undefined) throw this.fail(`the memo holds nothing at ${index}`)
    this.push(value)
  }

  append(items: readonly PickleValue[]): void {
    const target = this.top()
    if (target instanceof PickleList) for (const item of items) target.items.push(item)
    else if (!ignoresState(target)) throw this.fail(`items cannot be appended to ${describePickle(target)}`)
  }

  setItems(target: PickleValue, pairs: readonly PickleValue[]): void {
    if (pairs.length % 2 !== 0) throw this.fail('a key has no value')
    if (ignoresState(target)) return
    if (!(target instanceof PickleDict)) throw this.fail(`items cannot be set in ${describePickle(target)}`)
    for (let i = 0; i < pairs.length; i += 2) {
      const key = pairs[i]!
      if (key instanceof PickleList || key instanceof PickleDict) {
        throw this.fail(`${describePickle(key)} cannot be a key`)
      }
      target.entries.set(key, pairs[i + 1]!)
    }
  }

  global(module: string, name: string): void {
    const value = this.environment.global(module, name)
    if (!value) {
      throw this.fail(
        `the global ${describeValue(`${module}.${name}`)} is not allowed; a checkpoint of tensors does not need it`,
      )
    }
    this.push(value)
  }

  stackGlobal(): void {
    const [module, name] = this.popMany(2)
    if (typeof module !== 'string' || typeof name !== 'string') throw this.fail('the name of a global is no text')
    this.global(module, name)
  }

  /** A call, or a new object of a class: to a whitelist they are the same. */
  call(): void {
    const [callee, args] = this.popMany(2)
    if (!(args instanceof PickleTuple)) throw this.fail(`arguments must be a tuple, not ${describePickle(args!)}`)
    if (!(callee instanceof PickleGlobal) || !callee.call)
      throw this.fail(`${describePickle(callee!)} cannot be called`)
    // A call may look at all of its arguments; the memo could repeat it with large ones for free.
    this.charge(args.items.length)
    for (const value of args.items) this.charge(lengthOf(value))
    this.push(this.guarded(() => callee.call!(args.items), callee.name))
  }

  /** Attributes, which no tensor, dict or list here has: those of dicts (`_metadata` of modules) are dropped. */
  build(): void {
    this.pop()
    const target = this.top()
    if (target instanceof PickleDict || ignoresState(target)) return
    throw this.fail(`${describePickle(target)} takes no state`)
  }

  persistent(): void {
    const id = this.pop()
    const value = this.guarded(() => this.environment.persistent(id), 'a persistent id')
    if (!value) throw this.fail('a persistent id names no storage')
    this.push(value)
  }

  private guarded<T>(action: () => T, what: string): T {
    try {
      return action()
    } catch (error) {
      throw error instanceof PickleRefusal ? this.fail(`${what}: ${error.message}`) : error
    }
  }
}

/** What is refused although it is known, and why. */
const REFUSED: Readonly<Record<number, string>> = {
  0x46: 'is FLOAT of protocol 0, which is not read',
  0x49: 'is INT of protocol 0, which is not read',
  0x4c: 'is LONG of protocol 0, which is not read',
  0x50: 'is PERSID of protocol 0, which is not read',
  0x53: 'is STRING of protocol 0, which is not read',
  0x56: 'is UNICODE of protocol 0, which is not read',
  0x67: 'is GET of protocol 0, which is not read',
  0x69: 'is INST, which makes objects of any class',
  0x6f: 'is OBJ, which makes objects of any class',
  0x70: 'is PUT of protocol 0, which is not read',
  0x82: 'is EXT1, which names a class by number',
  0x83: 'is EXT2, which names a class by number',
  0x84: 'is EXT4, which names a class by number',
  0x92: 'is NEWOBJ_EX, which makes objects of any class',
  0x97: 'is NEXT_BUFFER, which needs data from outside the file',
  0x98: 'is READONLY_BUFFER, which needs data from outside the file',
}

/** Every opcode that is read; STOP ends the loop above. */
const OPCODES: Readonly<Record<number, (machine: Machine) => void>> = {
  // Structure
  0x80: (m) => checkProtocol(m),
  0x95: (m) => void m.uint64(), // FRAME: a hint for buffering
  0x28: (m) => m.mark(),
  0x30: (m) => m.discard(),
  0x31: (m) => void m.popMark(),
  0x32: (m) => m.push(m.top()),
  // Plain values
  0x4e: (m) => m.push(null),
  0x88: (m) => m.push(true),
  0x89: (m) => m.push(false),
  0x4a: (m) => m.push(m.int32()),
  0x4b: (m) => m.push(m.byte()),
  0x4d: (m) => m.push(m.uint16()),
  0x8a: (m) => m.push(m.integer(m.byte())),
  0x8b: (m) => m.push(m.integer(m.uint32())),
  0x47: (m) => m.push(m.double()),
  // Texts and bytes; the strings of Python 2 are texts here
  0x58: (m) => m.push(m.text(m.uint32())),
  0x8c: (m) => m.push(m.text(m.byte())),
  0x8d: (m) => m.push(m.text(m.uint64())),
  0x54: (m) => m.push(m.text(m.uint32())),
  0x55: (m) => m.push(m.text(m.byte())),
  0x42: (m) => m.push(m.take(m.uint32())),
  0x43: (m) => m.push(m.take(m.byte())),
  0x8e: (m) => m.push(m.take(m.uint64())),
  0x96: (m) => m.push(m.take(m.uint64())),
  // Lists; sets are lists here
  0x5d: (m) => m.push(new PickleList()),
  0x8f: (m) => m.push(new PickleList()),
  0x6c: (m) => pushList(m),
  0x91: (m) => pushList(m),
  0x61: (m) => m.append([m.pop()]),
  0x65: (m) => m.append(m.popMark()),
  0x90: (m) => m.append(m.popMark()),
  // Tuples
  0x29: (m) => m.push(new PickleTuple([])),
  0x74: (m) => m.push(new PickleTuple(m.popMark())),
  0x85: (m) => m.push(new PickleTuple(m.popMany(1))),
  0x86: (m) => m.push(new PickleTuple(m.popMany(2))),
  0x87: (m) => m.push(new PickleTuple(m.popMany(3))),
  // Dicts
  0x7d: (m) => m.push(new PickleDict()),
  0x64: (m) => pushDict(m),
  0x73: (m) => {
    const pair = m.popMany(2)
    m.setItems(m.top(), pair)
  },
  0x75: (m) => {
    const pairs = m.popMark()
    m.setItems(m.top(), pairs)
  },
  // Memo
  0x71: (m) => m.put(m.byte()),
  0x72: (m) => m.put(m.uint32()),
  0x94: (m) => m.memoize(),
  0x68: (m) => m.get(m.byte()),
  0x6a: (m) => m.get(m.uint32()),
  // Names, and what they stand for
  0x63: (m) => m.global(m.line(), m.line()),
  0x93: (m) => m.stackGlobal(),
  0x52: (m) => m.call(),
  0x81: (m) => m.call(),
  0x62: (m) => m.build(),
  0x51: (m) => m.persistent(),
}

function checkProtocol(machine: Machine): void {
  const protocol = machine.byte()
  if (protocol < 2 || protocol > 5) throw machine.fail(`protocol ${protocol} is not one of 2 to 5`)
}

function pushList(machine: Machine): void {
  const items = machine.popMark()
  machine.push(new PickleList())
  machine.append(items)
}

function pushDict(machine: Machine): void {
  const pairs = machine.popMark()
  const dict = new PickleDict()
  machine.setItems(dict, pairs)
  machine.push(dict)
}
