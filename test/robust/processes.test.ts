// How a process ends with work under way: its exit code is its own, never that of a crash, and no file is half written.
import t from 'tap'
import fs from 'node:fs'
import { join } from 'node:path'
import { type Ending, run } from '../fixtures/child'
import { SANITIZED, scratch, tinyModel } from '../fixtures/tiny'

let folder: string
t.before(async () => {
  folder = await tinyModel()
})

/** What every program below begins with. */
const BUSY = `
  const face = allocateImage(48, 48)
  face.data.fill(100)
  const model = await IConFace.load(args.folder, { threads: 2 })
  const long = () => model.restore(face, [face], { steps: 1000, size: 32, onProgress: ({ stage, step }) => args.progress && stage === 'sample' && step === 2 && eval(args.progress) })
  const busy = long()`

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
  { what: 'process.exit in the middle', program: `${BUSY}; setTimeout(() => process.exit(7), 60)`, wanted: 7 },
  { what: 'process.exit in a callback', program: BUSY, progress: 'process.exit(8)', wanted: 8 },
  {
    what: 'process.exit right after asking for a dispose',
    program: `${BUSY}; busy.catch(() => {}); setTimeout(() => { void model.dispose(); process.exit(9) }, 60)`,
    wanted: 9,
  },
  {
    what: 'an uncaught exception in the middle',
    program: `${BUSY}; setTimeout(() => { throw new Error('mine') }, 60)`,
    wanted: 1,
  },
  { what: 'an exception in a callback', program: `${BUSY}; await busy`, progress: `(() => { throw new Error('mine') })()`, wanted: 1 }, // prettier-ignore
  {
    what: 'an uncaught exception that is handled',
    program: `process.on('uncaughtException', () => process.exit(5)); ${BUSY}; setTimeout(() => { throw new Error() }, 60)`,
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
      console.log('busy')
      const end = await model.restore(allocateImage(8, 8), [], { steps: 1000, size: 32, signal: stop.signal }).catch((e) => e.code)
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
      const killing = kill && { signal: kill, after: 50 }
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
    console.log('begin')
    if (args.exit) setTimeout(() => process.exit(7), args.exit)
    for (;;) await result.toFile(args.path)`
  for (let i = 1; i <= (SANITIZED ? 1 : 4); i++) {
    t.equal(outcome(await run(program, { folder, path, exit: 7 * i })), 7)
    const others = fs.readdirSync(out).filter((name) => name !== 'face.png')
    t.same(others, [], 'a process that exits leaves nothing else')
  }
  let whole: Buffer | undefined
  for (let i = 0; i < (SANITIZED ? 2 : 6); i++) {
    const ending = await run(program, { folder, path }, { signal: i % 2 ? 'SIGKILL' : 'SIGTERM', after: 3 * i })
    t.equal(outcome(ending), i % 2 ? 'SIGKILL' : 'SIGTERM', ending.stderr)
    if (!fs.existsSync(path)) continue
    const bytes = fs.readFileSync(path)
    whole ??= bytes
    t.same(bytes, whole)
  }
  const others = fs.readdirSync(out).filter((name) => name !== 'face.png')
  t.ok(
    others.every((name) => /^\.face\.png\.[0-9a-f]{12}\.tmp$/.test(name)),
    'what a kill leaves is hidden and named so',
  )
})

/** Code of a worker: says when it is under way, and goes on until it is ended. */
const WORKER = `
  const { workerData, parentPort } = require('node:worker_threads')
  const { IConFace, allocateImage } = require(workerData.dist)
  IConFace.load(workerData.folder, { threads: 2 }).then(async (model) => {
    for (;;) {
      parentPort.postMessage('busy')
      await model.restore(allocateImage(8, 8), [], { steps: workerData.steps, size: 32 })
      if (workerData.once) return workerData.dispose && model.dispose()
    }
  })`

const START = `
  const workerData = { dist: require.resolve(${JSON.stringify(join(__dirname, '..', '..', 'dist', 'index.js'))}), folder: args.folder, ...args.worker }
  const start = (code = args.code) => new Worker(code, { eval: true, workerData })
  const busy = (worker) => new Promise((resolve) => worker.once('message', resolve))
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
      `${START}; for (let i = 0; i < ${SANITIZED ? 2 : 6}; i++) { const w = start(); await busy(w); await new Promise((r) => setTimeout(r, 7 * i)); await w.terminate() }
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
    ['at work when the process exits', `${START}; const w = start(); await busy(w); process.exit(4)`, { steps: 1000 }, 4],
    [
      'that load the addon and end, many',
      `${START}; const code = "require(" + JSON.stringify(workerData.dist.replace('index.js', 'native.js')) + ").loadAddon().info()"
       for (let i = 0; i < ${SANITIZED ? 2 : 5}; i++) await Promise.all(Array.from({ length: 5 }, () => ended(start(code))))`,
      {},
      0,
    ],
    [
      'whose own exception ends them',
      `${START}; const w = start(args.code + "; setTimeout(() => { throw new RangeError('mine') }, 400)")
       const error = await ended(w).catch((e) => e)
       process.exitCode = error.name === 'RangeError' ? 2 : 1`,
      { steps: 1000 },
      2,
    ],
  ] // prettier-ignore
  t.jobs = 2
  for (const [what, program, worker, wanted] of workers) {
    void t.test(what, async (t) => {
      const ending = await run(program, { folder, code: WORKER, worker })
      t.equal(outcome(ending), wanted, ending.stderr)
    })
  }
})
