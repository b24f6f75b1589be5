// Standard streams that cannot be written: full disks, broken devices, readers that went away. Quiet ends, no stacks.
import t from 'tap'
import { spawn } from 'node:child_process'
import { closeSync, copyFileSync, existsSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { synthesizeCheckpoint } from '../../dist/prepare/synthesize.js'
import { FAKE_ADDON, scratchFolder } from '../fixtures/fake'
import { full, onlyFull } from '../fixtures/tier'

const ROOT = join(__dirname, '..', '..')
const MAIN = join(ROOT, 'dist', 'cli', 'main.js')
const scratch = scratchFolder()
const folder = join(scratch, 'tiny')
const photo = join(scratch, 'face.png')

t.before(async () => {
  await synthesizeCheckpoint('tiny', folder)
  copyFileSync(join(ROOT, 'docs', 'demo.png'), photo)
})

/**
 * Files that take no bytes: a full disk, and a device that fails. Nothing lies at the beginning of a process' memory.
 */
const BROKEN = { ENOSPC: '/dev/full', EIO: '/proc/self/mem' }
const skip = existsSync(BROKEN.ENOSPC) && existsSync(BROKEN.EIO) ? false : 'no such devices here'

/** Where a stream of the program goes: to a file, to this test, or to a reader that is gone. */
type Sink = string | 'read' | 'gone'

function iconface(args: string[], { out = 'read', err = 'read' }: { out?: Sink; err?: Sink }, program = [MAIN]) {
  const open = (sink: Sink) => (sink === 'read' || sink === 'gone' ? 'pipe' : openSync(sink, 'w'))
  const sinks = [open(out), open(err)] as const
  const env = { ...process.env, ICONFACE_BINARY: FAKE_ADDON, ICONFACE_MODEL: folder, FAKE_STEP_MS: '0' }
  const child = spawn(process.execPath, [...program, ...args], { cwd: scratch, env, stdio: ['ignore', ...sinks] })
  for (const sink of sinks) if (typeof sink === 'number') closeSync(sink)
  const ending = { code: null as number | null, signal: null as string | null, out: '', err: '' }
  if (out === 'gone') child.stdout!.destroy()
  if (err === 'gone') child.stderr!.destroy()
  if (out === 'read') child.stdout!.on('data', (text) => (ending.out += String(text)))
  if (err === 'read') child.stderr!.on('data', (text) => (ending.err += String(text)))
  return new Promise<typeof ending>((resolve) =>
    child.on('close', (code, signal) => resolve({ ...ending, code, signal })),
  )
}

const COMMANDS: Record<string, string[]> = {
  help: ['--help'],
  version: ['--version'],
  'help of a command': ['restore', '--help'],
  restore: ['restore', photo, '-o', 'out.png', '--json', '--steps', '2'],
  degrade: ['degrade', photo, '-o', 'degraded.png', '--strength', '1', '--json'],
  inspect: ['inspect', '--json'],
  doctor: ['doctor', '--json'],
  convert: ['convert', join(folder, 'autoencoder.safetensors'), 'converted.safetensors', '--json'],
  synthesize: ['synthesize', '--out', 'made', '--force'],
  prepare: ['prepare', folder, '--out', 'prepared', '--force'],
}

/** What the quick tier tries: a text, a result with progress, a report. All write through lib/cli/output.ts. */
const QUICK = ['help', 'restore', 'inspect']

for (const [name, args] of Object.entries(COMMANDS)) {
  t.test(name, { skip: skip || (!QUICK.includes(name) && onlyFull.skip) }, async (t) => {
    const reasons = name === 'restore' || full ? Object.keys(BROKEN) : ['ENOSPC']
    for (const reason of reasons as (keyof typeof BROKEN)[]) {
      const { code, err } = await iconface(args, { out: BROKEN[reason] })
      t.equal(code, 1, reason)
      const complaint = new RegExp(`^iconface: ERR_ICONFACE_IO: cannot write to standard output: ${reason}: .*$`, 'm')
      t.match(err, complaint)
      t.notMatch(err, /^ +at |INTERNAL/m, 'no stack')
    }
    const gone = await iconface(args, { out: 'gone' })
    t.equal(gone.code, 0, 'a reader that went away')
    t.notMatch(gone.err, /ERR_|^ +at /m)
  })
}

t.test('nobody needs to hear of the progress', { skip }, async (t) => {
  for (const err of [...Object.values(BROKEN), 'gone']) {
    const { code, out } = await iconface(COMMANDS.restore!, { err })
    t.equal(code, 0, err)
    t.match(JSON.parse(out), { output: 'out.png' })
  }
})

t.test('a result is written whoever hears of it', { skip }, async (t) => {
  const args = (file: string) => ['restore', photo, '-o', file, '--steps', '2']
  for (const [i, streams] of [
    { out: BROKEN.ENOSPC },
    { out: 'gone' },
    { err: BROKEN.EIO },
    { err: 'gone' },
  ].entries()) {
    const file = join(scratch, `result-${i}.png`)
    await iconface(args(file), streams)
    t.ok(statSync(file).size > 100, JSON.stringify(streams))
  }
})

t.test('errors keep their code where they cannot be told', { skip }, async (t) => {
  for (const err of [BROKEN.ENOSPC, 'gone']) {
    t.match(await iconface(['restore', photo], { err }), { code: 2, out: '' }, err)
    t.match(await iconface(['inspect', 'nothing'], { err }), { code: 1, out: '' }, err)
    t.match(await iconface(['inspect', 'nothing'], { out: err, err }), { code: 1 }, err)
  }
})

t.test('parity too', { skip: skip || onlyFull.skip }, async (t) => {
  const parity = ['--import', pathToFileURL(require.resolve('tsx')).href, join(ROOT, 'tools', 'parity', 'main.ts')]
  t.match(await iconface(['--help'], { out: BROKEN.ENOSPC }, parity), { code: 1, err: /ENOSPC[^\n]*\n$/ })
  t.match(await iconface(['--help'], { out: 'gone' }, parity), { code: 0, err: '' })
})

t.test('commands write to the standard streams in one place', (t) => {
  for (const part of ['lib/cli', 'lib/bench', 'tools/parity']) {
    for (const file of readdirSync(join(ROOT, part)).filter((name) => name !== 'output.ts')) {
      t.notMatch(readFileSync(join(ROOT, part, file), 'utf8'), /process\.std(out|err)|console\.\w+\(/, file)
    }
  }
  t.end()
})
