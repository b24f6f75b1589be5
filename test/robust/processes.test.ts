// How a process ends with work under way: its exit code is its own, never that of a crash, and no file is half written.
import t from 'tap'
import fs from 'node:fs'
import { join } from 'node:path'
import { sameBytes } from '../fixtures/bytes'
import { type Ending, run } from '../fixtures/child'
import { full } from '../fixtures/tier'
import { scratch, tinyModel } from '../fixtures/tiny'

let folder: string
t.before(async () => {
  folder = await tinyModel()
})

/** What every program below begins with: a restore that is in its first steps of many. */
const BUSY = `
  const face = allocateImage(48, 48)
  face.data.fill(100)
  const model = await IConFace.load(args.folder, { threads: 2 })
  let busy
  await new Promise((resolve, reject) => {
    const onProgress = ({ stage, step }) => {
      if (stage === 'sample' && step === 1) resolve()
      if (stage === 'sample' && step === 2 && args.progress) eval(args.progress)
    }
    busy = model.restore(face, [face], { steps: 1000, size: 32, onProgress })
    busy.catch(reject)
  })`

const outcome = ({ code, signal }: Ending) => signal ?? code

interface Case {
  what: string
  program: string
  progress?: string
  wanted: number | string
  kill?: NodeJS.Signals
}

const cases: Case[] = [
  {
    what: 'ends by itself without dispose',
    program: `const model = await IConFace.load(args.folder); await model.embed(allocateImage(8, 8))`,
    wanted: 0,
  },
  { what: 'ends while a model loads', program: `void IConFace.load(args.folder); process.exit(3)`, wanted: 3 },
  { what: 'process.exit in the middle', program: `${BUSY}; setTimeout(() => process.exit(7))`, wanted: 7 },
  { what: 'process.exit in a callback', program: BUSY, progress: 'process.exit(8)', wanted: 8 },
  {
    what: 'process.exit right after asking for a dispose',
    program: `${BUSY}; setTimeout(() => { void model.dispose(); process.exit(9) })`,
    wanted: 9,
  },
  {
    what: 'an uncaught exception in the middle',
    program: `${BUSY}; setTimeout(() => { throw new Error('mine') })`,
    wanted: 1,
  },
  {
    what: 'an exception in a callback',
    program: `${BUSY}; await busy`,
    progress: `(() => { throw new Error('mine') })()`,
    wanted: 1,
  },
  {
    what: 'an uncaught exception that is handled',
    program: `process.on('uncaughtException', () => process.exit(5)); ${BUSY}; setTimeout(() => { throw new Error() })`,
    wanted: 5,
  },
  { what: 'SIGTERM', program: `${BUSY}; console.log('busy')`, kill: 'SIGTERM', wanted: 'SIGTERM' },
  { what: 'SIGINT', program: `${BUSY}; console.log('busy')`, kill: 'SIGINT', wanted: 'SIGINT' },
  {
    what: 'SIGTERM with a handler that aborts',
    program: `
      const stop = new AbortController()
      process.on('SIGTERM', () => stop.abort())
      const model = await IConFace.load(args.folder)
      const onProgress = ({ stage, step }) => stage === 'sample' && step === 1 && console.log('busy')
      const end = await model.restore(allocateImage(8, 8), [], { steps: 1000, size: 32, signal: stop.signal, onProgress }).catch((e) => e.code)
      await model.dispose()
      process.exitCode = end === 'ERR_ICONFACE_ABORTED' ? 6 : 1`,
    kill: 'SIGTERM',
    wanted: 6,
  },
]

t.test('exit codes are kept', async (t) => {
  t.jobs = 2
  for (const { what, program, progress, wanted, kill } of cases) {
    void t.test(what, async (t) => {
      const killing = kill && { signal: kill, after: 0 }
      const ending = await run(program, { folder, progress }, killing)
      t.equal(outcome(ending), wanted, ending.stderr)
    })
  }
})

t.test('killed at any time: a result is on disk whole or not at all', async (t) => {
  const out = fs.mkdtempSync(join(scratch, 'kill-'))
  const path = join(out, 'face.png')
  const program = `
    const model = await IConFace.load(args.folder, { threads: 2 })
    const result = await model.restore(allocateImage(8, 8), [], { steps: 1, size: 32 })
    await result.toFile(args.path)
    console.log('begin')
    if (args.exit) setTimeout(() => process.exit(7), args.exit)
    for (;;) await result.toFile(args.path)`
  for (let i = 1; i <= (full ? 4 : 1); i++) {
    fs.rmSync(path, { force: true })
    t.equal(outcome(await run(program, { folder, path, exit: 7 * i })), 7)
    t.ok(fs.existsSync(path))
    const others = fs.readdirSync(out).filter((name) => name !== 'face.png')
    t.same(others, [], 'a process that exits leaves nothing else')
  }
  let whole: Buffer | undefined
  for (let i = 0; i < (full ? 6 : 2); i++) {
    const ending = await run(program, { folder, path }, { signal: i % 2 ? 'SIGKILL' : 'SIGTERM', after: 3 * i })
    t.equal(outcome(ending), i % 2 ? 'SIGKILL' : 'SIGTERM', ending.stderr)
    const bytes = fs.readFileSync(path)
    whole ??= bytes
    t.ok(sameBytes(bytes, whole))
  }
  const others = fs.readdirSync(out).filter((name) => name !== 'face.png')
  t.ok(
    others.every((name) => /^\.iconface-[0-9a-f]{12}\.tmp$/.test(name)),
    'what a kill leaves is hidden and named so',
  )
})

/** Code of a worker: says how far it is, and goes on until it is ended. */
const WORKER = `
  const { workerData, parentPort } = require('node:worker_threads')
  const { IConFace, allocateImage } = require(workerData.dist)
  const onProgress = ({ stage, step }) => parentPort.postMessage(stage + ' ' + step)
  IConFace.load(workerData.folder, { threads: 2 }).then(async (model) => {
    for (;;) {
      await model.restore(allocateImage(8, 8), [], { steps: workerData.steps, size: 32, onProgress })
      if (workerData.once) return workerData.dispose && model.dispose()
    }
  })`

const START = `
  const workerData = { dist: require.resolve(${JSON.stringify(join(__dirname, '..', '..', 'dist', 'index.js'))}), folder: args.folder, ...args.worker }
  const start = (code = args.code) => new Worker(code, { eval: true, workerData })
  const busy = (worker, at = 'sample 1') => new Promise((resolve) => worker.on('message', (message) => message === at && resolve()))
  const ended = (worker) => new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject))
`

t.test('workers', async (t) => {
  const workers: [what: string, program: string, worker: object, wanted: number][] = [
    [
      'eight, each with its own model',
      `${START}; const codes = await Promise.all(Array.from({ length: 8 }, () => ended(start())))
       process.exitCode = codes.every((code) => code === 0) ? 0 : 1`,
      { once: true, steps: 1 },
      0,
    ],
    [
      'four that dispose',
      `${START}; await Promise.all(Array.from({ length: 4 }, () => ended(start())))`,
      { once: true, dispose: true, steps: 1 },
      0,
    ],
    [
      'ended in the middle of a restore',
      `${START}; for (const at of ['read 1', 'identity 0', 'encode 1', 'sample 0', 'sample 2']) { const w = start(); await busy(w, at); await w.terminate() }
       const { heldBytes } = loadAddon().info().memory
       if (heldBytes !== 0) throw new Error(heldBytes + ' bytes are kept')`,
      { steps: 1000 },
      0,
    ],
    [
      'ended while loading',
      `${START}; for (let i = 0; i < 4; i++) { const w = start(); await new Promise((r) => w.once('online', r)); await new Promise((r) => setTimeout(r, 25 * i)); await w.terminate() }`,
      { steps: 1 },
      0,
    ],
    [
      'at work when the process exits',
      `${START}; const w = start(); await busy(w); process.exit(4)`,
      { steps: 1000 },
      4,
    ],
    [
      'that load the addon and end, many',
      `${START}; const code = "require(" + JSON.stringify(workerData.dist.replace('index.js', 'native.js')) + ").loadAddon().info()"
       for (let i = 0; i < ${full ? 5 : 2}; i++) await Promise.all(Array.from({ length: 5 }, () => ended(start(code))))`,
      {},
      0,
    ],
    [
      'whose own exception ends them',
      `${START}; const w = start(args.code + "; parentPort.once('message', () => { throw new RangeError('mine') })")
       busy(w).then(() => w.postMessage('now'))
       const error = await ended(w).catch((e) => e)
       process.exitCode = error.name === 'RangeError' ? 2 : 1`,
      { steps: 1000 },
      2,
    ],
  ]
  t.jobs = 2
  for (const [what, program, worker, wanted] of workers) {
    void t.test(what, async (t) => {
      const ending = await run(program, { folder, code: WORKER, worker })
      t.equal(outcome(ending), wanted, ending.stderr)
    })
  }
})
