/**
 * Which versions of symbols a shared library needs of others, and which it provides: what the loader compares before it
 * loads one, `GLIBC_2.34` or `GLIBCXX_3.4.29`. A binary that was built on a newer system fails by them on an older one.
 *
 * Sources: System V ABI, chapter 5 (program loading); Linux Standard Base, 10.7 (symbol versioning).
 */

import { readFileSync } from 'node:fs'

export interface SymbolVersions {
  /** Libraries that have to be there. */
  readonly libraries: readonly string[]
  /** Versions that other libraries must provide, by library. */
  readonly needed: Readonly<Record<string, readonly string[]>>
  /** Versions that this library provides. */
  readonly provided: readonly string[]
}

const [LOAD, DYNAMIC] = [1, 2]
/** Tags of the dynamic section. */
const TAG = {
  needed: 1,
  strings: 5,
  versionNeed: 0x6ffffffe,
  versionNeedCount: 0x6fffffff,
  versionDefinition: 0x6ffffffc,
  versionDefinitionCount: 0x6ffffffd,
}
/** Of a version that is used where it is there and not missed elsewhere. */
const WEAK = 2

/** `undefined` for what is no ELF file of 64 bits, little-endian, or is damaged. */
export function readSymbolVersions(file: string): SymbolVersions | undefined {
  try {
    const bytes = readFileSync(file)
    if (bytes.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') return undefined
    return new Library(bytes).versions()
  } catch {
    return undefined // not readable, or it ends before what it announces
  }
}

class Library {
  private readonly segments: { type: number; offset: number; address: number; size: number }[]
  private readonly dynamic: { tag: number; value: number }[]
  private readonly strings: number

  constructor(private readonly bytes: Buffer) {
    const [table, size, count] = [this.u64(32), bytes.readUInt16LE(54), bytes.readUInt16LE(56)]
    this.segments = Array.from({ length: count }, (_, i) => {
      const at = table + i * size
      const [offset, address] = [this.u64(at + 8), this.u64(at + 16)]
      return { type: bytes.readUInt32LE(at), offset, address, size: this.u64(at + 32) }
    })
    const dynamic = this.segments.find(({ type }) => type === DYNAMIC)
    this.dynamic = Array.from({ length: (dynamic?.size ?? 0) / 16 }, (_, i) => {
      const at = dynamic!.offset + 16 * i
      return { tag: this.u64(at), value: this.u64(at + 8) }
    })
    this.strings = this.table(TAG.strings)
  }

  versions(): SymbolVersions {
    const libraries = this.dynamic.filter(({ tag }) => tag === TAG.needed).map(({ value }) => this.text(value))
    return { libraries, needed: this.needed(), provided: this.provided() }
  }

  /** Entries of 16 bytes, one for each library, and for each behind it those of its versions. */
  private needed(): Record<string, string[]> {
    const needed: Record<string, string[]> = {}
    this.each(TAG.versionNeed, TAG.versionNeedCount, 12, (at) => {
      const versions: string[] = []
      let entry = at + this.bytes.readUInt32LE(at + 8)
      for (let i = 0; i < this.bytes.readUInt16LE(at + 2); i++) {
        if ((this.bytes.readUInt16LE(entry + 4) & WEAK) === 0)
          versions.push(this.text(this.bytes.readUInt32LE(entry + 8)))
        entry += this.bytes.readUInt32LE(entry + 12)
      }
      needed[this.text(this.bytes.readUInt32LE(at + 4))] = versions
    })
    return needed
  }

  /** Entries of 20 bytes, one for each version; the first of the names behind it is its own. */
  private provided(): string[] {
    const provided: string[] = []
    this.each(TAG.versionDefinition, TAG.versionDefinitionCount, 16, (at) => {
      provided.push(this.text(this.bytes.readUInt32LE(at + this.bytes.readUInt32LE(at + 12))))
    })
    return provided
  }

  /** Walks a list whose entries say at `next` how far the following one is. */
  private each(table: number, count: number, next: number, visit: (at: number) => void): void {
    const entries = this.value(count) ?? 0
    if (entries === 0) return
    let at = this.table(table)
    for (let i = 0; i < entries; i++) {
      visit(at)
      at += this.bytes.readUInt32LE(at + next)
    }
  }

  private value(tag: number): number | undefined {
    return this.dynamic.find((entry) => entry.tag === tag)?.value
  }

  /** Where in the file the table lies that an entry of the dynamic section names by its address in memory. */
  private table(tag: number): number {
    const address = this.value(tag)
    if (address === undefined) throw new RangeError(`it has no entry ${tag}`)
    const within = ({ type, address: begin, size }: { type: number; address: number; size: number }) =>
      type === LOAD && address >= begin && address < begin + size
    const segment = this.segments.find(within)
    if (!segment) throw new RangeError(`the address ${address} lies in no segment`)
    return address - segment.address + segment.offset
  }

  private text(offset: number): string {
    const begin = this.strings + offset
    const end = this.bytes.indexOf(0, begin)
    if (end < 0) throw new RangeError('a name does not end')
    return this.bytes.toString('latin1', begin, end)
  }

  private u64(at: number): number {
    return Number(this.bytes.readBigUInt64LE(at))
  }
}
