// What the system refuses: threads, memory, open files. Each has an error of its own, nothing is left half started, and
// nothing ends the process.
import t, { type Test } from 'tap'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { join } from 'node:path'
import { IConFaceError, isIConFaceError } from '../../dist/index.js'
import { loadAddon } from '../../dist/native.js'
import { allocated, cannot, shortage } from '../../dist/util/shortage.js'
import { DIST, type Ending, run } from '../fixtures/child'
import { full } from '../fixtures/tier'
import { SANITIZED, scratch, tinyModel } from '../fixtures/tiny'

let folder: string
t.before(async () => {
  folder = await tinyModel()
})

/** A user that has no other processes. */
const USER = 61_000 + (process.pid % 1000)

/** What ends a program of these tests: a printed list of outcomes, each `done` or an error's code and message. */
const OUTCOMES = `
  const outcomes = []
  const attempt = async (work) => {
    try { const made = await work(); outcomes.push('done'); return made }
    catch (e) { outcomes.push(e.name + ' ' + e.code + ': ' + e.message) }
  }
  process.on('exit', () => fs.writeSync(1, JSON.stringify(outcomes)))`

function outcomes(t: Test, { code, signal, stdout, stderr }: Ending): string[] {
  t.equal(signal ?? code, 0, stderr)
  return JSON.parse(stdout || '[]') as string[]
}

/** Why this user cannot limit the threads of another one; `false`: it can. */
function cannotLimit(): string | false {
  if (process.getuid?.() !== 0) return 'only root can run programs as another user'
  for (const tool of ['setpriv', 'prlimit']) if (spawnSync(tool, ['--version']).error) return `there is no ${tool}`
  const readable = ['setpriv', `--reuid=${USER}`, '--clear-groups', 'cat', join(DIST, 'index.js')] as const
  if (spawnSync(readable[0], readable.slice(1)).status !== 0) return 'another user cannot read this checkout'
  return false
}

/** The program below, as a user that may have so many threads. */
function limited(threads: number, args: string[]) {
  const command = [`--reuid=${USER}`, `--regid=${USER}`, '--clear-groups', 'prlimit', `--nproc=${threads}`, ...args]
  const { status, signal, stdout, stderr } = spawnSync('setpriv', command, {
    encoding: 'utf8',
    env: { ...process.env, HOME: '/' },
  })
  return { ended: signal ?? status, stdout, stderr }
}

/** Threads that Node alone has; with fewer it does not start, and does not always end either. */
function nodeAlone(): number {
  const count = 'process.stdout.write(String(fs.readdirSync("/proc/self/task").length))'
  const { stdout } = spawnSync(process.execPath, ['-e', count], { encoding: 'utf8', env: { PATH: process.env.PATH } })
  return Number(stdout)
}

t.test('no threads left', { skip: cannotLimit() }, async (t) => {
  const program = `
    const { IConFace, allocateImage } = require(${JSON.stringify(join(DIST, 'index.js'))})
    const { OpContext } = require(${JSON.stringify(join(DIST, 'ops', 'index.js'))})
    const { Networks } = require(${JSON.stringify(join(DIST, 'networks', 'index.js'))})
    const fs = require('node:fs')
    const folder = ${JSON.stringify(folder)}
    ${OUTCOMES}
    ;(async () => {
      await attempt(async () => new OpContext({ threads: 2 }).dispose())
      await attempt(async () => (await Networks.load(folder, { threads: 2 })).dispose())
      const model = await attempt(() => IConFace.load(folder, { threads: 2, device: 'cpu' }))
      if (!model) return
      const face = await attempt(() => model.restore(allocateImage(8, 8), [], { size: 32, steps: 1 }))
      await attempt(() => face.toBuffer('png'))
      await attempt(() => face.toBuffer('jpg'))
      await model.dispose()
    })()`
  const lowest = nodeAlone() + 1
  fs.chmodSync(scratch, 0o755)
  for (const path of fs.readdirSync(folder)) fs.chmodSync(join(folder, path), 0o644)
  fs.chmodSync(folder, 0o755)
  let [refused, whole] = [0, 0]
  const step = full ? 1 : 3
  for (let threads = lowest; threads <= lowest + 27; threads += step) {
    const { ended, stdout, stderr } = limited(threads, [process.execPath, '-e', program])
    t.equal(ended, 0, `${threads} threads: ${stderr.slice(0, 500)}`)
    const found = JSON.parse(stdout || '[]') as string[]
    t.ok(found.length > 0)
    for (const outcome of found) t.match(outcome, /^(done$|IConFaceError ERR_ICONFACE_THREADS: )/, `${threads} threads`)
    if (found.some((outcome) => outcome !== 'done')) refused++
    else whole++
  }
  t.ok(refused > 0, 'the lowest limits were too low')
  t.ok(whole > 0, 'the highest one was not')
})

t.test('threads that the system could start are not kept', async (t) => {
  const threads = () => fs.readdirSync('/proc/self/task').length
  const before = threads()
  t.equal(loadAddon().canStartThreads(5), true)
  t.equal(threads(), before)
  for (const bad of [-1, 1.5, Number.NaN, 1e9]) {
    t.throws(() => loadAddon().canStartThreads(bad), { code: 'ERR_ICONFACE_INVALID_ARGUMENT' })
  }
})

/** Limits this process from now on: so many bytes of address space above what it has, or files beyond those open. */
const LIMIT = `
  const { execFileSync } = require('node:child_process')
  const limit = (flag) => execFileSync('prlimit', ['--pid', String(process.pid), flag])
  const space = () => 1024 * Number(/VmSize:\\s+(\\d+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1])`

const noPrlimit = spawnSync('prlimit', ['--version']).error ? 'there is no prlimit' : false
// Sanitizers take address space by the terabyte, and end the process when there is none.
const noSpace = SANITIZED ? 'sanitizers need all of the address space' : noPrlimit

t.test('no address space left', { skip: noSpace }, async (t) => {
  const program = `
    ${OUTCOMES}
    ${LIMIT}
    const { OpContext } = require(args.dist + '/ops/index.js')
    const model = await IConFace.load(args.folder, { threads: 1, device: 'cpu' })
    const ops = new OpContext({ threads: 1 })
    const x = { dtype: 'f32', shape: [1 << 22], data: new Float32Array(1 << 22) }
    const face = allocateImage(8, 8)
    const restore = (size) => model.restore(face, [], { size, steps: 1, guidance: 1 })
    await attempt(() => restore(32))
    limit('--as=' + (space() + (args.room << 20)) + ':')
    await attempt(() => restore(1024))
    await attempt(() => IConFace.load(args.folder, { threads: 8, device: 'cpu' }))
    await attempt(async () => allocateImage(16000, 16000))
    await attempt(() => model.restore({ data: face.data, width: 8, height: 8, channels: 3 }, [], { size: 4096, steps: 1 }))
    await attempt(() => ops.run('silu', { x }))
    await attempt(() => restore(32))
    await model.dispose()`
  for (const room of [24, 60]) {
    const ending = await run(program, { folder, dist: DIST, room })
    const [before, large, load, allocation, huge, op, after] = outcomes(t, ending)
    t.equal(before, 'done')
    t.match(large, /^IConFaceError ERR_ICONFACE_OUT_OF_MEMORY: could not allocate [\d.]+ MiB/)
    t.match(load, /^(done|IConFaceError ERR_ICONFACE_(THREADS|OUT_OF_MEMORY)):?/)
    t.match(allocation, /^IConFaceError ERR_ICONFACE_OUT_OF_MEMORY: could not allocate 732\.4 MiB/)
    t.match(huge, /^IConFaceError ERR_ICONFACE_OUT_OF_MEMORY/)
    t.match(op, /^(done|IConFaceError ERR_ICONFACE_OUT_OF_MEMORY):?/)
    t.equal(after, 'done', 'what fits still works')
  }
})

t.test('no files left', { skip: noPrlimit }, async (t) => {
  const program = `
    ${OUTCOMES}
    ${LIMIT}
    const { sharp } = require(args.dist + '/picture/sharp.js')
    const { Networks } = require(args.dist + '/networks/index.js')
    const picture = args.folder + '/../nofile.png'
    fs.writeFileSync(picture, await sharp({ create: { width: 8, height: 8, channels: 3, background: '#888' } }).png().toBuffer())
    const model = await IConFace.load(args.folder, { threads: 1, device: 'cpu' })
    const face = await model.restore(allocateImage(8, 8), [], { size: 32, steps: 1 })
    limit('--nofile=' + (Math.max(...fs.readdirSync('/proc/self/fd').map(Number)) + 8) + ':')
    try { for (;;) fs.openSync('/dev/null') } catch {} // the lower numbers, too
    await attempt(() => IConFace.load(args.folder, { threads: 1, device: 'cpu' }))
    await attempt(() => Networks.load(args.folder, { threads: 1 }))
    await attempt(() => model.restore(picture, [], { size: 32, steps: 1 }))
    await attempt(() => face.toFile(args.folder + '/../nofile-out.png'))
    await attempt(() => model.restore(allocateImage(8, 8), [], { size: 32, steps: 1 }))
    await model.dispose()`
  const found = outcomes(t, await run(program, { folder, dist: DIST }))
  t.equal(found.pop(), 'done', 'what needs no file works')
  t.equal(found.length, 4)
  for (const outcome of found)
    t.match(outcome, /^IConFaceError ERR_ICONFACE_IO: .*(EMFILE|Too many open files|too many)/)
})

t.test('failures for want of something are told from others', async (t) => {
  const code = (message: string, code?: string) =>
    shortage(Object.assign(new Error(message), code ? { code } : {}))?.code
  t.equal(code('glib: Error creating thread: Resource temporarily unavailable'), 'ERR_ICONFACE_THREADS')
  t.equal(code('vips_g_thread_new: unable to create thread'), 'ERR_ICONFACE_THREADS')
  t.equal(code('Array buffer allocation failed'), 'ERR_ICONFACE_OUT_OF_MEMORY')
  t.equal(code('out of memory --- size == 73MB'), 'ERR_ICONFACE_OUT_OF_MEMORY')
  t.equal(code('Failed to allocate memory', 'ERR_MEMORY_ALLOCATION_FAILED'), 'ERR_ICONFACE_OUT_OF_MEMORY')
  t.equal(code("EMFILE: too many open files, open 'x'", 'EMFILE'), 'ERR_ICONFACE_IO')
  t.equal(code('Input buffer contains unsupported image format'), undefined)
  const own = new IConFaceError('ERR_ICONFACE_ABORTED', 'out of memory')
  t.equal(shortage(own), undefined)
  t.throws(() => cannot('do it')(own), own)
  t.throws(() => cannot('do it')(new Error('no')), { code: 'ERR_ICONFACE_UNSUPPORTED', message: 'cannot do it: no' })
  t.throws(() => cannot('do it')(new Error('out of memory')), { code: 'ERR_ICONFACE_OUT_OF_MEMORY' })
  t.equal(
    allocated(4, () => 7),
    7,
  )
  const failing = () => {
    throw new RangeError('Array buffer allocation failed')
  }
  t.throws(() => allocated(2 ** 20, failing), {
    code: 'ERR_ICONFACE_OUT_OF_MEMORY',
    message: /could not allocate 1\.0 MiB/,
  })
})

t.test('an encoder that refuses gives a coded error', async (t) => {
  const { Restoration } = await import('../../dist/restoration.js')
  const identity = {
    source: 'none',
    anchor: null,
    norms: new Float32Array(),
    weights: new Float32Array(),
    before: null,
    after: null,
  } as const
  const wide = new Restoration({
    data: new Uint8Array(20_000 * 3),
    width: 20_000,
    height: 1,
    seed: 1,
    identity,
    timings: {},
  })
  const error: unknown = await wide.toBuffer('webp').catch((error: unknown) => error)
  t.ok(isIConFaceError(error))
  t.match(error, { code: 'ERR_ICONFACE_UNSUPPORTED', message: /cannot encode the picture as webp: .*too large/i })
})
