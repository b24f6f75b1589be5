/**
 * `iconface bench`: how fast operations and networks are here, and how far that is from what the machine can do.
 */

import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Precision } from '../bench/case'
import { deviceFacts, machine } from '../bench/machine'
import { NETWORK_NAMES } from '../bench/networks'
import { plot } from '../bench/plot'
import { HEADER, headText, restoreText, rowText, tailText } from '../bench/report'
import { FAMILIES, GROUPS } from '../bench/families'
import { type Plan, type Report, run } from '../bench/suite'
import { type PresetName, synthesizeCheckpoint } from '../prepare/synthesize'
import { invalid } from '../errors'
import { checkWithin, LIMITS } from '../limits'
import { loadAddon, native } from '../native'
import { checkDevice, checkOneOf } from '../options'
import { PRECISIONS } from '../limits'
import { checkWritable, isStream, writeWhole } from '../formats/whole-file'
import { type Command, numeric, parse } from './command'
import { print, tell } from './output'
import { progressDisplay } from './terminal'

const OPERATIONS = FAMILIES.map(({ name }) => name)
const NAMES = [...OPERATIONS, ...NETWORK_NAMES, 'host', 'restore']

export const command: Command = {
  summary: 'measure operations and networks against what this machine can do',
  usage: `Usage: iconface bench [name ...] [options]

Runs operations at the sizes of FLUX.2 [klein] 4B on random data, checks samples of their results against float64, and
compares their rates with limits measured in the same run: arithmetic in registers, or a copy of as many bytes. Without
names: all operations, and on the CPU host. Networks and restore have to be named, or --all given.

Operations   ${wrapped(OPERATIONS)}
Networks     ${wrapped(NETWORK_NAMES)}
             one transformer forward and one guided step of denoising at 256 px, the autoencoder at 512 px, one face
host         a restore beside its networks, the event loop and file reads during a job; tiny model
restore      whole restores at 512 px with 0, 1 and 3 references
Groups       ${Object.entries(GROUPS)
    .map(([name, members]) => `${name} = ${members.join(' + ')}`)
    .join(', ')}

  --all                 operations, networks, host and restore
  --device <name>       cpu (default), cuda or cuda:<n>. On a GPU times are the GPU's own, its cache does not hold the
                        operands, sizes are those of a whole restore at 512 px (forward at 512 px, denoise with 12 steps
                        and 0, 1 and 3 references), and networks are compared with the CPU at a small size
  --shape <AxBxC>       one operation at this shape (see below)
  --precision <type>    f32 or bf16 (default both; on a GPU bf16, and f32 for what knows no other); on GPUs of compute
                        capability 8.9 or later fp8, of linears and the transformer (the error is what its rounding costs)
  --threads <n>         default one per core
  --isa <name>          instruction set (default the best; "iconface doctor" lists them)
  --model <folder>      checkpoint for networks and restore. Without it one with random weights is written once, 7.8 GiB,
                        into ${cacheFolder('klein-4b')} (delete it when done);
                        restore on the CPU then takes the package's own small model
  --json <file>         everything that was measured, written after every case: "finished" is false until the last
  --plot <file.png>     bars of the fraction reached
  --patience <seconds>  how long a case waits until no other process computes (default 20; the share that others had
                        is in the last column)
  --quick               tiny shapes and models, to see that it works

Shapes       ${FAMILIES.map(({ name, axes }) => `${name} ${axes.join(' x ')}`).join('\n             ')}
`,
  async run(args, stop) {
    const { values, positionals } = parse(args, {
      all: { type: 'boolean', default: false },
      device: { type: 'string', default: 'cpu' },
      shape: { type: 'string' },
      precision: { type: 'string' },
      threads: { type: 'string' },
      isa: { type: 'string' },
      model: { type: 'string', short: 'm' },
      json: { type: 'string' },
      plot: { type: 'string' },
      patience: { type: 'string' },
      quick: { type: 'boolean', default: false },
    } as const)
    const { device } = values
    checkDevice(device)
    for (const name of positionals) checkOneOf('the name of a benchmark', name, [...NAMES, ...Object.keys(GROUPS)])
    const named = positionals.flatMap((name) => GROUPS[name] ?? [name])
    if (values.precision !== undefined) checkOneOf('--precision', values.precision, PRECISIONS)
    if (values.precision === 'fp8' && device === 'cpu') throw invalid('--device', 'a GPU for fp8', device)
    for (const file of [values.json, values.plot]) if (file !== undefined) await checkWritable(file)
    const threads = numeric('threads', values.threads) ?? availableParallelism()
    checkWithin('--threads', threads, LIMITS.threads)
    const patience = numeric('patience', values.patience) ?? (values.quick ? 0 : 20)
    const isa = values.isa ?? native(() => loadAddon().info()).isa
    const unnamed = device === 'cpu' ? [...OPERATIONS, 'host'] : OPERATIONS
    const names = values.all ? NAMES : named.length > 0 ? named : unnamed
    const shape = values.shape === undefined ? undefined : shapeOf(values.shape, named)
    const precisions = values.precision === undefined ? undefined : [values.precision as Precision]
    const { quick } = values
    const keep = (report: Report) => keepJson(values.json, report)
    const wanted = { device, names, shape, precisions, quick, patience, threads, isa, signal: stop, keep }
    const networks: readonly string[] = device === 'cpu' ? NETWORK_NAMES : [...NETWORK_NAMES, 'restore']
    const needed = networks.some((name) => names.includes(name))
    const report = await withModel(needed, quick, values.model, stop, (model) => measure({ ...wanted, model }))
    if (values.plot !== undefined) await writeWhole(values.plot, await plot(report))
  },
}

/** What there is so far; a pipe takes only the whole. */
async function keepJson(file: string | undefined, report: Report): Promise<void> {
  if (file === undefined || (!report.finished && (await isStream(file)))) return
  await writeWhole(file, Buffer.from(`${JSON.stringify(report, null, 2)}\n`))
}

async function measure(plan: Omit<Plan, 'onRow' | 'onLimits' | 'onRestore'>): Promise<Report> {
  const report = await run({
    ...plan,
    onLimits: (flops) => {
      const { isa, threads } = plan
      const device = plan.device === 'cpu' ? null : deviceFacts(plan.device)
      print(`${headText({ machine: machine(), device, isa, threads }, flops)}\n${HEADER}`)
    },
    onRow: (row) => print(rowText(row)),
    onRestore: (restore) => print(restoreText(restore)),
  })
  print(`\n${tailText(report)}`)
  return report
}

/** The shape that `text` spells, for the one operation named. */
function shapeOf(text: string, names: readonly string[]): number[] {
  const family = FAMILIES.find(({ name }) => name === names[0])
  if (names.length !== 1 || !family) throw invalid('--shape', 'one operation named before it', names)
  const shape = text.split('x').map(Number)
  const optional = family.name === 'conv2d' ? 2 : 0
  const fits = shape.length <= family.axes.length && shape.length >= family.axes.length - optional
  if (!fits || !shape.every((n) => Number.isInteger(n) && n > 0)) {
    throw invalid('--shape', `whole numbers ${family.axes.join(' x ')}, such as ${family.quick.join('x')},`, text)
  }
  return shape
}

/** Calls `work` with the folder of a checkpoint: the one given, or one with random weights where one is needed. */
async function withModel<T>(
  needed: boolean,
  quick: boolean,
  given: string | undefined,
  stop: AbortSignal,
  work: (model: string | undefined) => Promise<T>,
): Promise<T> {
  if (given !== undefined || !needed) return work(given)
  if (!quick) return work(await cached('klein-4b', stop))
  const folder = await mkdtemp(join(tmpdir(), 'iconface-bench-'))
  try {
    await synthesizeCheckpoint('tiny', join(folder, 'model'), { signal: stop })
    return await work(join(folder, 'model'))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function cacheFolder(preset: PresetName): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'iconface', `${preset}-random`)
}

async function cached(preset: PresetName, stop: AbortSignal): Promise<string> {
  const folder = cacheFolder(preset)
  if (existsSync(join(folder, 'iconface.json'))) return folder // written last
  tell(`writing random weights, 7.8 GiB, into ${folder}\n`)
  const display = progressDisplay()
  const begun = performance.now()
  try {
    await synthesizeCheckpoint(preset, folder, {
      force: true,
      signal: stop,
      onProgress: ({ bytes, totalBytes }) => {
        const elapsedMs = performance.now() - begun
        const etaMs = (elapsedMs * (totalBytes - bytes)) / bytes
        display.show({
          stage: 'write',
          step: Math.floor(bytes / 2 ** 20),
          steps: Math.ceil(totalBytes / 2 ** 20),
          elapsedMs,
          etaMs,
        })
      },
    })
  } finally {
    display.end()
  }
  return folder
}

/** Names in lines of the usage's width. */
function wrapped(names: readonly string[]): string {
  return names
    .reduce<string[]>(
      (lines, name) =>
        lines.at(-1)!.length + name.length > 100
          ? [...lines, name]
          : [...lines.slice(0, -1), `${lines.at(-1)!} ${name}`.trim()],
      [''],
    )
    .join('\n             ')
}
