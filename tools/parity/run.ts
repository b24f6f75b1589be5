/** One case being compared: what it computes with, and the rows it has made so far. */
import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { openSafetensors } from '../../dist/formats/safetensors.js'
import { loadAddon, native, type NativeSession } from '../../dist/native.js'
import { type Checkpoint, Networks, type NetworksOptions } from '../../dist/networks/index.js'
import { OpContext, type Result, type Tensor } from '../../dist/ops/index.js'
import { concatenate, values } from './arrange'
import { type FormulaWeights, writeFormulaWeights } from './formula'
import type { Golden } from './golden'
import { difference, judge, type Limit, LIMITS, type Precision, type Row } from './sheet'

export interface RunOptions {
  isa?: string
  threads?: number
  /** Compare intermediates too. */
  verbose: boolean
}

export class Run {
  readonly rows: Row[] = []
  private readonly open: { dispose(): Promise<void> }[] = []
  /** Weights that were computed; mapped by what is open. */
  private readonly files: string[] = []
  #ops: OpContext | undefined

  constructor(
    /** `undefined` for what does not depend on it; f32 is used then. */
    private readonly chosen: Precision | undefined,
    private readonly options: RunOptions,
  ) {}

  get precision(): Precision {
    return this.chosen ?? 'f32'
  }

  get verbose(): boolean {
    return this.options.verbose
  }

  /** The operations alone. */
  get ops(): OpContext {
    if (!this.#ops)
      this.open.push((this.#ops = new OpContext({ isa: this.options.isa, threads: this.options.threads })))
    return this.#ops
  }

  async networks(checkpoint: Checkpoint): Promise<Networks> {
    const { isa, threads } = this.options
    const options: NetworksOptions = { precision: this.precision, isa, threads }
    const networks = await Networks.load(checkpoint, options)
    this.open.push(networks)
    return networks
  }

  /**
   * The case's weights as a checkpoint: those that it stores, and those that it describes by a formula, which are
   * written to a file for as long as the run lasts.
   *
   * @param prefixes  Prefix in the case -> prefix in the checkpoint; names with none of them are left out.
   */
  async checkpoint(
    golden: Golden,
    prefixes: Readonly<Record<string, string>>,
    numbers: Checkpoint['numbers'],
  ): Promise<Checkpoint> {
    const stored = golden.checkpoint(prefixes, numbers)
    if (golden.metadata.formula === undefined) return stored
    const file = path.join(tmpdir(), `iconface-parity-${randomUUID()}.safetensors`)
    this.files.push(file)
    await writeFormulaWeights(file, golden.json<FormulaWeights>('formula'), (name) => renamed(name, prefixes))
    const { fileSize, tensors } = openSafetensors(file)
    const computed = [...tensors].map(([name, tensor]) => [name, { file: stored.files.length, ...tensor }] as const)
    return {
      ...stored,
      files: [...stored.files, { path: file, size: fileSize }],
      tensors: { ...stored.tensors, ...Object.fromEntries(computed) },
    }
  }

  /** What restores faces runs in, over a checkpoint; not loaded yet. */
  session(checkpoint: Checkpoint): NativeSession {
    const { isa, threads } = this.options
    const session = native(
      () => new (loadAddon().Session)({ precision: this.precision, isa, threads, device: 'cpu', checkpoint }),
    )
    this.open.push(session)
    return session
  }

  async dispose(): Promise<void> {
    for (const each of this.open.splice(0)) await each.dispose()
    for (const file of this.files.splice(0)) await rm(file, { force: true })
  }

  /** Compares one output. */
  compare(
    output: string,
    actual: ArrayLike<number>,
    expected: ArrayLike<number>,
    limit: Limit | null,
    note?: string,
  ): void {
    const found = difference(actual, expected)
    const { relative, absolute } = found
    this.add({ output, relative, absolute, limit, verdict: judge(found, limit), note })
  }

  /** Compares a tensor that lies between input and output: judged in f32, only shown in bf16. */
  intermediate(output: string, actual: ArrayLike<number>, expected: ArrayLike<number>, limit?: Limit | null): void {
    if (!this.verbose) return
    const otherwise = this.precision === 'f32' ? LIMITS.network.f32 : null
    this.compare(`  ${output}`, actual, expected, limit === undefined ? otherwise : limit)
  }

  /** Something that is right or wrong without numbers. */
  verdict(output: string, right: boolean, note?: string): void {
    this.add({ output, relative: null, absolute: null, limit: null, verdict: right ? 'pass' : 'FAIL', note })
  }

  /** Says which intermediates the library does not show. */
  untraced(names: readonly string[]): void {
    if (!this.verbose || names.length === 0) return
    const note = `not shown by the library: ${names.join(', ')}`
    this.add({ output: '  (others)', relative: null, absolute: null, limit: null, verdict: 'info', note })
  }

  private add({ note, ...row }: Omit<Row, 'precision' | 'note'> & { note?: string | undefined }): void {
    this.rows.push({ ...row, precision: this.chosen ?? 'exact', ...(note === undefined ? {} : { note }) })
  }
}

/** A computed weight's name in the checkpoint. Cases store weights as `weight.<name>`, and formulas leave that out. */
function renamed(name: string, prefixes: Readonly<Record<string, string>>): string {
  const full = Object.keys(prefixes).some((prefix) => name.startsWith(prefix)) ? name : `weight.${name}`
  const from = Object.keys(prefixes).find((prefix) => full.startsWith(prefix))
  if (from === undefined)
    throw new Error(`its formula has a tensor "${name}", which is none of ${Object.keys(prefixes).join(', ')}`)
  return prefixes[from]! + full.slice(from.length)
}

/** Results of several runs, batch item after batch item, by name. */
export class Batch {
  private readonly parts = new Map<string, Float32Array[]>()

  add(results: Readonly<Record<string, Result | Tensor>>): void {
    for (const [name, result] of Object.entries(results)) {
      if (result.dtype !== 'f32') continue
      const list = this.parts.get(name) ?? []
      this.parts.set(name, [...list, values(result)])
    }
  }

  has(name: string): boolean {
    return this.parts.has(name)
  }

  get(name: string): Float32Array {
    const parts = this.parts.get(name)
    if (!parts) throw new Error(`no result "${name}"`)
    return concatenate(parts)
  }
}
