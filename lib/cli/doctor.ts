/**
 * `iconface doctor`: what this machine and installation can do, also where the addon cannot load.
 */

import { readFile } from 'node:fs/promises'
import { availableParallelism, cpus, freemem, release, totalmem } from 'node:os'
import { openCheckpoint } from '../checkpoint/open'
import { DEPENDENCY_NAMES, type DependencyName, loadDependency } from '../util/dependency'
import { invalid, isIConFaceError } from '../errors'
import { addonPlaces, findAddon, loadAddon, native, type NativeInfo } from '../native'
import { findModel } from '../restore'
import {
  describeMissing,
  glibcVersion,
  type MissingVersion,
  missingVersions,
  neededVersions,
} from '../util/system-libraries'
import { type Command, parse } from './command'
import { packageVersion } from '../util/package'
import { print } from './output'
import { table } from './terminal'
import { byteSize } from '../util/figures'

export const command: Command = {
  summary: 'say what this machine and installation can do',
  usage: `Usage: iconface doctor [--json]

Reports Node, glibc, the CPU, memory, GPU, the native addon, the packages that this one needs and the model that
would be used, and for each part that is missing or broken what to do. The exit code is 0 when all are there, else 1.
`,
  async run(args) {
    const { values, positionals } = parse(args, { json: { type: 'boolean', default: false } } as const)
    if (positionals.length > 0) throw invalid('the arguments', 'options only', positionals)
    const report = await examine()
    print(values.json ? `${JSON.stringify(report, null, 2)}\n` : text(report))
    if (!report.ok) process.exitCode = 1
  },
}

/** A problem, or what was found. */
type Finding<T> = ({ error: null } & T) | { error: string }

type AddonFacts = Pick<NativeInfo, 'version' | 'isa' | 'isas' | 'threads'> & { path: string }

interface Report {
  /** Whether the addon, every package and the model are there and load. */
  ok: boolean
  package: string
  node: { version: string; napi: string; platform: string; kernel: string; glibc: string | null }
  cpu: { model: string; cores: number; features: string[] }
  memory: { totalBytes: number; freeBytes: number; limitBytes: number | null }
  gpu: { driver: string | null; cuda: NativeInfo['cuda'] }
  addon: Finding<AddonFacts> & { places: string[] }
  /**
   * The highest versions of the system's libraries that the addon needs, and what is missing where it does not load.
   */
  libraries: { needed: string[]; missing: MissingVersion[] }
  dependencies: Record<DependencyName, { error: string | null }>
  model: Finding<{ folder: string; name: string; synthesized: boolean }>
}

async function examine(): Promise<Report> {
  const { addon, cuda } = examineAddon()
  const dependencies = examineDependencies()
  const model = examineModel()
  return {
    ok: [addon, model, ...Object.values(dependencies)].every(({ error }) => error === null),
    package: packageVersion(),
    node: {
      version: process.version,
      napi: process.versions.napi ?? '',
      platform: `${process.platform}-${process.arch}`,
      kernel: release(),
      glibc: glibcVersion(),
    },
    cpu: { model: cpus()[0]?.model.trim() ?? '', cores: availableParallelism(), features: await cpuFeatures() },
    memory: { totalBytes: totalmem(), freeBytes: freemem(), limitBytes: memoryLimit() },
    gpu: { driver: await nvidiaDriver(), cuda },
    addon: { ...addon, places: addonPlaces() },
    libraries: examineLibraries(addon.error === null),
    dependencies,
    model,
  }
}

function examineAddon(): { addon: Finding<AddonFacts>; cuda: NativeInfo['cuda'] } {
  try {
    const path = findAddon()
    const { version, isa, isas, threads, cuda } = native(() => loadAddon().info())
    return { addon: { error: null, path, version, isa, isas, threads }, cuda }
  } catch (error) {
    return { addon: { error: reason(error) }, cuda: null }
  }
}

function examineLibraries(loads: boolean): Report['libraries'] {
  try {
    const addon = findAddon()
    return { needed: neededVersions(addon), missing: loads ? [] : missingVersions(addon) }
  } catch {
    return { needed: [], missing: [] } // there is no addon, which is reported as such
  }
}

function examineDependencies(): Report['dependencies'] {
  const examined = DEPENDENCY_NAMES.map((name) => {
    try {
      loadDependency(name)
      return [name, { error: null }]
    } catch (error) {
      return [name, { error: reason(error) }]
    }
  })
  return Object.fromEntries(examined) as Report['dependencies']
}

function examineModel(): Report['model'] {
  try {
    const folder = findModel()
    const { name, synthesized } = openCheckpoint(folder)
    return { error: null, folder, name, synthesized }
  } catch (error) {
    return { error: reason(error) }
  }
}

function reason(error: unknown): string {
  return isIConFaceError(error) ? `${error.code}: ${error.message}` : String(error)
}

/** The features that kernels of this package are built for, those this CPU has. */
async function cpuFeatures(): Promise<string[]> {
  const wanted = /^(avx2|fma|f16c|avx512(f|bw|dq|vl|_bf16)|asimd|bf16|amx_(bf16|tile))$/
  const text = await readFile('/proc/cpuinfo', 'utf8').catch(() => '')
  const flags = /^(?:flags|Features)\s*:(.*)$/m.exec(text)?.[1] ?? ''
  return flags.split(/\s+/).filter((flag) => wanted.test(flag))
}

/** Bytes that the container allows; `null` without a limit. */
function memoryLimit(): number | null {
  const [limit, total] = allowedMemory()
  return limit > 0 && limit < total ? limit : null
}

/** What the control groups allow, and what the machine has. */
function allowedMemory(): [number, number] {
  try {
    const { limitBytes, totalBytes } = loadAddon().limits()
    return [limitBytes, totalBytes]
  } catch {
    return [process.constrainedMemory(), totalmem()] // of the process's own group, as Node finds it
  }
}

async function nvidiaDriver(): Promise<string | null> {
  const text = await readFile('/proc/driver/nvidia/version', 'utf8').catch(() => '')
  return /\b(\d{3}\.\d+(?:\.\d+)?)\b/.exec(text)?.[1] ?? null
}

function text({ package: version, node, cpu, memory, gpu, addon, libraries, dependencies, model }: Report): string {
  const limit = memory.limitBytes === null ? '' : `, ${byteSize(memory.limitBytes)} allowed`
  const cuda = gpu.cuda === null ? 'this build has no CUDA' : (gpu.cuda.error ?? deviceNames(gpu.cuda.devices))
  return table([
    ['package', `@iconface/native ${version}`],
    ['node', `${node.version}, Node-API ${node.napi}, ${node.platform}, kernel ${node.kernel}`],
    ['glibc', node.glibc ?? 'none'],
    ['cpu', `${cpu.model}, ${cpu.cores} cores for this process`],
    ['features', cpu.features.join(' ') || 'none of those used'],
    ['memory', `${byteSize(memory.totalBytes)}, ${byteSize(memory.freeBytes)} free${limit}`],
    [
      'gpu',
      `${gpu.driver === null ? 'no NVIDIA driver' : `NVIDIA driver ${gpu.driver}`}${addon.error === null ? `; ${cuda}` : ''}`,
    ],
    ['device', addon.error === null ? autoDevice(gpu.cuda) : 'none'],
    ...addonRows(addon),
    ...(libraries.needed.length > 0 ? [['it needs', librariesText(libraries)] as const] : []),
    ...Object.entries(dependencies).map(([name, { error }]) => [name, error ?? 'loads'] as const),
    ['model', model.error ?? `${model.folder}: ${model.name}${model.synthesized ? ' (random weights)' : ''}`],
  ])
}

/** What `device: 'auto'` chooses here, and why. */
function autoDevice(cuda: NativeInfo['cuda']): string {
  if (cuda === null) return 'auto chooses cpu: this build has no CUDA'
  return cuda.devices.length > 0 ? 'auto chooses cuda:0' : `auto chooses cpu: ${cuda.error ?? 'no GPU'}`
}

function deviceNames(devices: { name: string; freeBytes: number }[]): string {
  return (
    devices.map(({ name, freeBytes }, i) => `cuda:${i} ${name}, ${byteSize(freeBytes)} free`).join('; ') || 'no GPU'
  )
}

function librariesText({ needed, missing }: Report['libraries']): string {
  const lacking = missing.length > 0 ? `; missing: ${missing.map(describeMissing).join('; ')}` : ''
  return needed.join(', ') + lacking
}

function addonRows(addon: Report['addon']): [string, string][] {
  if (addon.error !== null) {
    return [
      ['addon', `does not load: ${addon.error}`],
      ['searched', addon.places.join(', ')],
    ]
  }
  return [
    ['addon', `${addon.path}, version ${addon.version}`],
    ['computes with', `${addon.isa} (has ${addon.isas.join(', ')}), ${addon.threads} threads`],
  ]
}
