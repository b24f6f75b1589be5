// bench/gpu.sh over this checkout instead of a packed one, on the CPU and small: all parts are run and gathered, and
// whatever cuts it off leaves what was measured until then.
import t from 'tap'
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Report } from '../dist/bench/suite.js'
import { scratchFolder } from './fixtures/fake'
import { onlyFull } from './fixtures/tier'

const ROOT = join(__dirname, '..')
const END = join(__dirname, 'fixtures', 'end-at-sync.cjs')
const scratch = scratchFolder()
const skip = process.platform !== 'linux' && 'gpu.sh is for Linux'
const slow = { skip: skip || onlyFull.skip }

interface Gathered {
  finished: boolean
  date: string
  tests: Record<string, { status: number; total: number; pass: number }>
  operations: Report | null
  networks: Report | null
  restores: Report | null
  rivals: object | null
  ratios: object[]
}

/** A folder as gpu.sh leaves one that it has unpacked, with two tests that end as they are told. */
function unpacked(tests: { [name: string]: number } = { 'flow-step': 0, 'rms-norm': 0 }): string {
  const folder = fs.mkdtempSync(join(scratch, 'gpu-'))
  const run = join(folder, 'run')
  fs.mkdirSync(join(run, 'test', 'ops'), { recursive: true })
  fs.symlinkSync(process.execPath, join(run, 'node'))
  for (const name of ['dist', 'bench', 'models']) fs.symlinkSync(join(ROOT, name), join(run, name))
  for (const [name, status] of Object.entries(tests)) {
    const program = `console.log('# { total: 3, pass: ${status ? 2 : 3} }'); process.exit(${status})`
    fs.writeFileSync(join(run, 'test', 'ops', `${name}.test.js`), program)
  }
  return folder
}

/** Starts gpu.sh; `heard` resolves when it has printed something like `text`. */
function gpu(folder: string, env: NodeJS.ProcessEnv = {}, ...options: string[]) {
  const args = [
    join(ROOT, 'bench', 'gpu.sh'),
    folder,
    '--quick',
    '--device',
    'cpu',
    '--results',
    join(folder, 'results'),
  ]
  const child = spawn('bash', [...args, ...options], { env: { ...process.env, ...env } })
  let output = ''
  const listeners = new Set<() => void>()
  const hear = (chunk: unknown) => {
    output += String(chunk)
    for (const listener of listeners) listener()
  }
  child.stdout.on('data', hear)
  child.stderr.on('data', hear)
  const ended = new Promise<{ ending: number | string | null; output: string }>((resolve) =>
    child.on('exit', (code, signal) => resolve({ ending: signal ?? code, output })),
  )
  const heard = (text: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const listener = () => void (text.test(output) && resolve(text.exec(output)!))
      listeners.add(listener)
      listener()
      void ended.then(() => reject(new Error(`it ended: ${output}`)))
    })
  return { child, ended, heard }
}

/** The one file of results. */
function results(folder: string): Gathered {
  const files = fs.readdirSync(join(folder, 'results'))
  if (files.length !== 1) throw new Error(`one file of results was expected, there are ${files.join(', ') || 'none'}`)
  return JSON.parse(fs.readFileSync(join(folder, 'results', files[0]!), 'utf8')) as Gathered
}

/** Resolves when the operations' first `count` cases have been gathered. */
async function gathered(folder: string, count: number): Promise<void> {
  while (fs.readdirSync(join(folder, 'results')).length === 0) await sleep(20)
  while ((results(folder).operations?.rows.length ?? 0) < count) await sleep(20)
}

/** bench, of the operations, at its third case's record. */
const atThirdCase = (folder: string, how: string) => ({
  NODE_OPTIONS: `--require ${END}`,
  END_IN: join(folder, 'run', 'out', 'operations.json'),
  END_AT: '4',
  END_HOW: how,
})

t.test('all of it', slow, async (t) => {
  const folder = unpacked()
  const { ending, output } = await gpu(folder).ended
  t.equal(ending, 0, output)
  t.match(output, /-cpu\.json: \d+ cases, 0 wrong; 2 test files, 0 failed$/m)
  const found = results(folder)
  t.match(found, {
    format: 1,
    finished: true,
    date: /^\d{4}-\d\d-\d\dT/,
    tests: { 'flow-step': { status: 0, total: 3, pass: 3 }, 'rms-norm': { status: 0 } },
    operations: { finished: true, host: { size: 64 } },
    restores: { finished: true, restores: [{ correct: true }] },
  })
  t.same([...new Set(found.networks!.rows.map(({ name }) => name))], ['forward', 'denoise'])
  t.match(fs.readdirSync(join(folder, 'results')), [`${found.date.slice(0, 10)}-cpu.json`])
})

t.test('a benchmark that dies keeps its cases; the others go on', slow, async (t) => {
  const folder = unpacked({ 'flow-step': 0, 'rms-norm': 5 })
  const { ending, output } = await gpu(folder, atThirdCase(folder, 'SIGKILL')).ended
  t.equal(ending, 1, output)
  t.match(output, /test rms-norm: exit 5$/m)
  t.match(output, /bench operations: exit 137$/m)
  t.match(output, /2 test files, 1 failed; cut off before everything was measured$/m)
  const found = results(folder)
  t.match(found, {
    finished: false,
    tests: { 'flow-step': { status: 0 }, 'rms-norm': { status: 5, total: 3, pass: 2 } },
    operations: { finished: false },
    networks: { finished: true },
    restores: { finished: true },
  })
  t.equal(found.operations!.rows.length, 2)
})

t.test('killed in the middle, all of it: what was measured is gathered', slow, async (t) => {
  const folder = unpacked()
  const { child, ended, heard } = gpu(folder, atThirdCase(folder, 'SIGSTOP'))
  const stopped = Number((await heard(/process (\d+): SIGSTOP/))[1])
  await gathered(folder, 2)
  child.kill('SIGKILL')
  t.equal((await ended).ending, 'SIGKILL')
  process.kill(stopped, 'SIGKILL')
  const { finished, tests, operations, networks } = results(folder)
  t.match({ finished, networks, tests }, { finished: false, networks: null, tests: { 'rms-norm': { pass: 3 } } })
  t.match(operations, {
    finished: false,
    limits: { flops: { f32: Number } },
    rows: [{ correct: true }, { correct: true }],
  })
  t.equal(operations!.rows.length, 2)
})

t.test('ended by a signal it ends what it has begun', slow, async (t) => {
  const folder = unpacked()
  const { child, ended, heard } = gpu(folder)
  await heard(/^linear /m)
  await gathered(folder, 1)
  child.kill('SIGTERM')
  t.equal((await ended).ending, 143)
  const after = results(folder)
  t.ok(!after.finished && after.operations!.rows.length >= 1)
  const running = fs.readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder)
    } catch {
      return false // it has ended
    }
  })
  t.same(running, [])
})

t.test('nothing is begun without time for it', { skip }, async (t) => {
  const folder = unpacked()
  const { ending, output } = await gpu(folder, {}, '--seconds', '0').ended
  t.equal(ending, 1, output)
  t.match(output, /no time for the tests flow-step rms-norm$/m)
  t.match(output, /0 cases, 0 wrong; 0 test files, 0 failed; cut off/)
  t.match(results(folder), { finished: false, tests: {}, operations: null, networks: null })
})

t.test('--sanitize: the tests of operations under every tool, and nothing is measured', slow, async (t) => {
  const folder = unpacked()
  // What runs the command, but finds a race in one test.
  const sanitizer = join(folder, 'compute-sanitizer')
  const script = 'tool=$2; shift 4; case "$tool $*" in racecheck*rms-norm*) "$@"; exit 9 ;; *) exec "$@" ;; esac'
  fs.writeFileSync(sanitizer, `#!/bin/bash\n${script}\n`, { mode: 0o755 })
  const path = { PATH: `${folder}:${process.env.PATH}` }
  const { ending, output } = await gpu(folder, path, '--sanitize').ended
  t.equal(ending, 1, output)
  t.match(output, /test racecheck-rms-norm: exit 9$/m)
  t.match(output, /-cpu-sanitizer\.json: 0 cases, 0 wrong; 6 test files, 1 failed$/m)
  const found = results(folder)
  const tools = ['memcheck', 'racecheck', 'synccheck']
  t.same(Object.keys(found.tests).sort(), tools.flatMap((tool) => [`${tool}-flow-step`, `${tool}-rms-norm`]).sort())
  t.match(found, { finished: true, operations: null, tests: { 'racecheck-rms-norm': { status: 9, total: 3 } } })
  fs.writeFileSync(sanitizer, '#!/bin/bash\nshift 4\nexec "$@"\n', { mode: 0o755 })
  t.equal((await gpu(folder, path, '--sanitize').ended).ending, 0, 'nothing found')
})

t.test('--sanitize without the tool', { skip }, async (t) => {
  const empty = fs.mkdtempSync(join(scratch, 'bin-'))
  for (const tool of ['bash', 'dirname', 'sed']) fs.symlinkSync(`/bin/${tool}`, join(empty, tool))
  const { ending, output } = await gpu(unpacked(), { PATH: empty }, '--sanitize').ended
  t.equal(ending, 1)
  t.match(output, /no compute-sanitizer on the PATH/)
})
