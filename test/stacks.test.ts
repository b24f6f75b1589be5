// Stacks of asynchronous failures show the line that called, whatever failed: native jobs, signals, dispose, files.
import t, { type Test } from 'tap'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import * as degradation from '../dist/degrade/index.js'
import * as evaluation from '../dist/evaluate/index.js'
import * as main from '../dist/index.js'
import type { RestoreOptions } from '../dist/index.js'
import { showsCaller } from '../dist/util/caller.js'
import { loadAddon } from '../dist/native.js'
import * as networks from '../dist/networks/index.js'
import * as operations from '../dist/ops/index.js'
import * as portraits from '../dist/portraits/index.js'
import { publicFunctions } from './fixtures/declarations'
import { picture, QUICK, scratch, tinyModel } from './fixtures/tiny'

const PACKAGE = [main, operations, networks, portraits, degradation, evaluation] as Record<string, unknown>[]
const { IConFace, IConFaceError, isIConFaceError, restore } = main
const { FaceDetector, Networks } = networks
const { f32, OpContext } = operations
const { portraitIdentity, portraitState, renderPortrait } = portraits
const { degrade } = degradation
const { evaluate, pairedCases } = evaluation

const face = picture(1)
let folder: string
let model: main.IConFace

t.before(async () => {
  folder = await tinyModel()
  model = await IConFace.load(folder, { threads: 1 })
})
t.teardown(() => model.dispose())

/** What a call rejects with. The frame of `theCaller`, which does not await, is gone by then. */
async function failure(call: () => Promise<unknown>): Promise<main.IConFaceError> {
  const theCaller = () => call()
  const error: unknown = await theCaller().then(
    () => new Error('it did not fail'),
    (error: unknown) => error,
  )
  if (isIConFaceError(error)) return error
  throw error
}

async function shows(t: Test, code: string, caller: () => Promise<unknown>): Promise<string> {
  const { code: actual, stack, message } = await failure(caller)
  t.equal(actual, code, message)
  const lines = stack!.split('\n').filter((line) => line.includes('stacks.test.'))
  t.ok(
    lines.some((line) => line.includes('theCaller')),
    `${code}: ${stack}`,
  )
  t.equal(new Set(lines).size, lines.length, 'every frame once')
  t.ok(stack!.startsWith(`IConFaceError: ${message}`), 'the message comes first')
  return stack!
}

t.test('jobs', async (t) => {
  const missing = join(scratch, 'missing.png')
  await shows(t, 'ERR_ICONFACE_FILE_NOT_FOUND', () => model.restore(missing))
  await shows(t, 'ERR_ICONFACE_INVALID_IMAGE', () => model.embed(Buffer.from('no picture')))
  await shows(t, 'ERR_ICONFACE_FILE_NOT_FOUND', () => restore(missing, [], { model: folder }))
  await shows(t, 'ERR_ICONFACE_INVALID_ARGUMENT', () => model.restore(face, [], { steps: 0 }))
  await restore.dispose()
})

t.test('errors of native code', async (t) => {
  const failing = (n: number, call: () => Promise<unknown>) => () => {
    loadAddon().failAllocation(n)
    return call().finally(() => loadAddon().failAllocation(0))
  }
  await shows(
    t,
    'ERR_ICONFACE_OUT_OF_MEMORY',
    failing(1, () => IConFace.load(folder, { threads: 1 })),
  )
  await shows(
    t,
    'ERR_ICONFACE_OUT_OF_MEMORY',
    failing(1, () => model.restore(face, [], QUICK)),
  )
  await shows(t, 'ERR_ICONFACE_UNSUPPORTED', () => IConFace.load(folder, { device: 'cpu', precision: 'fp8' }))
  await shows(t, 'ERR_ICONFACE_UNSUPPORTED', () =>
    restore(face, [], { model: folder, device: 'cpu', precision: 'fp8' }),
  )
  await using ops = new OpContext({ threads: 1 })
  await shows(t, 'ERR_ICONFACE_INVALID_ARGUMENT', () => ops.run('add', { a: f32([1], [1]), b: f32([2], [1, 2]) }))
  await using loaded = await Networks.load(folder, { threads: 1 })
  await shows(t, 'ERR_ICONFACE_INVALID_ARGUMENT', () =>
    loaded.run('decode', { tokens: f32([1], [1]) }, { rows: 1, columns: 1 }),
  )
  await shows(t, 'ERR_ICONFACE_FILE_NOT_FOUND', () => Networks.load(join(scratch, 'nowhere')))
  await shows(t, 'ERR_ICONFACE_FILE_NOT_FOUND', () => FaceDetector.load(join(scratch, 'nowhere')))
})

t.test('signals, by whoever asked for the job, not by whoever aborts it', async (t) => {
  const stages = ['queued', 'read', 'sample'] as const
  for (const stage of stages) {
    const controller = new AbortController()
    const { signal } = controller
    const before = model.restore(face, [], QUICK)
    const options: RestoreOptions = {
      ...QUICK,
      signal,
      onProgress: (progress) => (progress.stage === stage ? controller.abort() : undefined),
    }
    await shows(t, 'ERR_ICONFACE_ABORTED', () => model.restore(face, [], options))
    await before
  }
  const aborted = { signal: AbortSignal.abort() }
  await shows(t, 'ERR_ICONFACE_ABORTED', () => model.embed(face, aborted))
  await shows(t, 'ERR_ICONFACE_ABORTED', () => degrade(face, { strength: 4, seed: 1, ...aborted }))
  const timeout = () => AbortSignal.timeout(1)
  await shows(t, 'ERR_ICONFACE_ABORTED', () => IConFace.load(folder, { threads: 1, signal: timeout() }))
  await shows(t, 'ERR_ICONFACE_ABORTED', () => restore(face, [], { model: folder, signal: timeout() }))
  await restore.dispose()
})

t.test('dispose: every stopped job shows its own caller', async (t) => {
  const mayfly = await IConFace.load(folder, { threads: 1 })
  const first = () => mayfly.restore(face, [], QUICK)
  const second = () => mayfly.embed(face)
  const all = [failure(first), failure(second)]
  await mayfly.dispose()
  const [a, b] = (await Promise.all(all)).map(({ stack }) => stack!)
  t.match([a, b], [/\bfirst\b/, /\bsecond\b/])
  t.notMatch(a, /\bsecond\b/)
  t.notMatch(b, /\bfirst\b/)
  await shows(t, 'ERR_ICONFACE_DISPOSED', () => mayfly.restore(face))

  const loads = [failure(first2), failure(second2)]
  await restore.dispose()
  const shared = (await Promise.all(loads)).map(({ stack }) => stack!)
  t.match(shared, [/\bfirst2\b/, /\bsecond2\b/])
  t.notMatch(shared[0], /\bsecond2\b/)
})

function first2() {
  return restore(face, [], { ...QUICK, model: folder })
}
function second2() {
  return restore(face, [], { ...QUICK, model: folder })
}

t.test('files', async (t) => {
  const result = await model.restore(face, [], QUICK)
  await shows(t, 'ERR_ICONFACE_FILE_NOT_FOUND', () => result.toFile(join(scratch, 'nowhere', 'a.png')))
  await shows(t, 'ERR_ICONFACE_INVALID_ARGUMENT', () => result.toFile('a.docx'))
  await shows(t, 'ERR_ICONFACE_INVALID_ARGUMENT', () => result.toBuffer('jpg', { quality: 101 }))
  const empty = join(scratch, 'empty')
  mkdirSync(empty)
  await shows(t, 'ERR_ICONFACE_FILE_NOT_FOUND', () => pairedCases(empty))
})

t.test('everything else that takes time', async (t) => {
  const load = () => Promise.reject(new IConFaceError('ERR_ICONFACE_IO', 'it cannot be read'))
  const one = { name: 'a', severity: 'mild', references: 0, load }
  await shows(t, 'ERR_ICONFACE_IO', () => evaluate(model, [one]))
  await shows(t, 'ERR_ICONFACE_INVALID_ARGUMENT', () => renderPortrait(portraitIdentity(1), portraitState(1), 65))
  await shows(t, 'ERR_ICONFACE_INVALID_IMAGE', () => degrade(Buffer.from('no picture'), { strength: 1, seed: 1 }))
})

t.test('every function that can be imported and takes time', async (t) => {
  const { checker, functions } = publicFunctions()
  const slow = functions.filter(({ signature }) => /^Promise</.test(checker.typeToString(signature.getReturnType())))
  t.ok(slow.length > 20, slow.map(({ name }) => name).join(' '))
  for (const { name } of slow) {
    if (name.endsWith('#@@asyncDispose')) continue // calls dispose
    const [owner, member] = name.split(/[.#]/)
    const entry = PACKAGE.find((module) => Object.hasOwn(module, owner!))![owner!] as Record<string, unknown>
    const found =
      member === undefined ? entry : name.includes('#') ? (entry.prototype as typeof entry)[member] : entry[member]
    t.match(String(found), /captureStackTrace/, name)
  }
})

t.test('the wrapper', async (t) => {
  const own = new IConFaceError('ERR_ICONFACE_IO', 'x')
  const failing = showsCaller(async function failing(this: unknown, a: number, b = 2): Promise<number> {
    if (a + b > 3) throw own
    return a + b
  })
  t.equal(failing.name, 'failing')
  t.equal(failing.length, 1)
  t.equal(await failing(1), 3)
  const stack = own.stack
  own.stack = undefined as unknown as string
  t.equal(await failing(9).catch((error: unknown) => error), own, 'a stack that is no text stays as it is')
  t.equal(own.stack, undefined)
  own.stack = stack!
  await failing(9).catch(() => undefined)
  t.ok(own.stack.startsWith(stack!))
  const theirs = new RangeError('theirs')
  const before = theirs.stack
  t.equal(await showsCaller(() => Promise.reject(theirs))().catch((error: unknown) => error), theirs)
  t.equal(theirs.stack, before, 'errors of others are left alone')
})
