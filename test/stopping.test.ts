// What stops a job, and when: signals, dispose and progress callbacks at every wait, over a fake addon. One listener
// per signal, none left behind.
import t from 'tap'
import { getEventListeners } from 'node:events'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { abortable, onAbort } from '../dist/util/abort.js'
import { synthesizeCheckpoint } from '../dist/prepare/synthesize.js'
import { IConFace, restore, type Progress } from '../dist/index.js'
import { JobQueue } from '../dist/queue.js'
import { plain, scratchFolder, started, useFakeAddon } from './fixtures/fake'

const addon = useFakeAddon()
const { fake } = addon
const folder = join(scratchFolder(), 'tiny')
const face = plain(16, 16, 7)
const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length

const warnings: Error[] = []
process.on('warning', (warning) => warnings.push(warning))

t.before(() => synthesizeCheckpoint('tiny', folder))
t.beforeEach(() => {
  fake.jobs.length = 0
  fake.sessions.length = 0
  fake.loading = null
})

t.test('a progress callback that rejects at the last picture stops the restore before it starts', async (t) => {
  await using model = await IConFace.load(folder)
  const mistake = new RangeError('my own mistake')
  const waits: Record<string, () => Promise<void>> = {
    'at once': async () => {},
    'some microtasks later': async () => {
      for (let i = 0; i < 20; i++) await null
    },
  }
  for (const [when, wait] of Object.entries(waits)) {
    const onProgress = async ({ stage, step, steps }: Progress) => {
      if (stage !== 'read' || step < steps) return
      await wait()
      throw mistake
    }
    const error = await model.restore(face, [face], { onProgress }).catch((error: unknown) => error)
    t.equal(error, mistake, when)
    t.equal(fake.jobs.length, 0, `${when}: nothing was started`)
  }
})

t.test('what a callback throws is what the restore rejects with, whatever it is', async (t) => {
  await using model = await IConFace.load(folder)
  const outcome = (onProgress: () => void) =>
    model.restore(face, [], { onProgress }).then(
      () => 'resolved',
      (error: unknown) => [error],
    )
  for (const thrown of [undefined, null, 0, 'text', Symbol.for('s')]) {
    const throwing = () => {
      throw thrown
    }
    t.same(await outcome(throwing), [thrown])
    t.same(await outcome(() => Promise.reject(thrown as unknown as Error)), [thrown])
    // A promise of another library or realm.
    const thenable = { then: (_: unknown, reject: (error: unknown) => void) => reject(thrown) }
    t.same(await outcome(() => thenable as never), [thrown])
  }
  t.equal(fake.jobs.length, 0)
})

t.test('a callback that rejects at the end', async (t) => {
  await using model = await IConFace.load(folder)
  const restoring = model.restore(face, [], {
    onProgress: async ({ stage }) => {
      if (stage !== 'decode') return
      for (let i = 0; i < 20; i++) await null
      throw new RangeError('late')
    },
  })
  const running = await started(addon, 1)
  running.progress('decode', 0, 1)
  running.finish()
  await t.rejects(restoring, { message: 'late' })
})

t.test('stopped at every wait between the call and its result', async (t) => {
  await using model = await IConFace.load(folder)
  for (let turns = 0; turns < 12; turns++) {
    const controller = new AbortController()
    fake.jobs.length = 0
    const restoring = model.restore(face, [face], { signal: controller.signal })
    const rejected = t.rejects(restoring, { code: 'ERR_ICONFACE_ABORTED', cause: turns }, `after ${turns} microtasks`)
    for (let i = 0; i < turns; i++) await null
    controller.abort(turns)
    await rejected
    t.equal(listeners(controller.signal), 0)
  }
  for (let turns = 0; turns < 12; turns++) {
    const mayfly = await IConFace.load(folder)
    const all: Promise<unknown>[] = [mayfly.restore(face), mayfly.embed(face)]
    const rejected = all.map((one) => t.rejects(one, { code: 'ERR_ICONFACE_DISPOSED' }, `after ${turns} turns`))
    for (let i = 0; i < turns; i++) await (turns % 2 ? null : setImmediate())
    await mayfly.dispose()
    await Promise.all(rejected)
    t.ok(
      fake.jobs.every(({ cancelled }) => cancelled),
      'what had been started was cancelled',
    )
  }
})

t.test('loading that ends just when the signal fires is stopped, and frees what it loaded', async (t) => {
  const { promise, resolve } = withResolvers()
  fake.loading = promise
  const controller = new AbortController()
  const loading = IConFace.load(folder, { signal: controller.signal })
  resolve()
  queueMicrotask(() => controller.abort('now'))
  await t.rejects(loading, { code: 'ERR_ICONFACE_ABORTED', cause: 'now' })
  t.equal(fake.sessions[0]!.disposed, 1)
  t.equal(listeners(controller.signal), 0)
})

t.test('one signal for many restores: one listener, no warning, none left', async (t) => {
  await using model = await IConFace.load(folder, { maxQueue: 1000 })
  const controller = new AbortController()
  const { signal } = controller
  const all = Array.from({ length: 1000 }, () => model.restore(face, [], { signal }))
  t.equal(listeners(signal), 1)
  ;(await started(addon, 1)).finish()
  await all[0]
  t.equal(listeners(signal), 1, 'the others still need it')
  const rejected = all.slice(1).map((one) =>
    one.then(
      () => 'done',
      (error: { code: string }) => error.code,
    ),
  )
  controller.abort()
  t.same(new Set(await Promise.all(rejected)), new Set(['ERR_ICONFACE_ABORTED']))
  t.equal(listeners(signal), 0)

  const calm = new AbortController().signal
  const fifteen = Array.from({ length: 15 }, (_, i) =>
    i % 2 ? restore(face, [], { model: folder, signal: calm }) : model.embed(face, { signal: calm }),
  )
  const loads = Array.from({ length: 15 }, () => IConFace.load(folder, { signal: calm }))
  t.equal(listeners(calm), 1)
  for (let i = 0; i < 7; i++) (await started(addon, i + 2)).finish()
  await Promise.all(fifteen)
  for (const loaded of await Promise.all(loads)) await loaded.dispose()
  t.equal(listeners(calm), 0)
  await setImmediate()
  t.same(warnings, [])
})

t.test('listening to a signal', async (t) => {
  const { signal } = new AbortController()
  const releases = [1, 2, 3].map(() => onAbort(signal, () => t.fail('it was taken back')))
  t.equal(listeners(signal), 1)
  for (const release of [...releases, ...releases]) release()
  t.equal(listeners(signal), 0)

  const controller = new AbortController()
  const called: number[] = []
  const last = onAbort(controller.signal, () => called.push(0))
  onAbort(controller.signal, () => last())
  const second = onAbort(controller.signal, () => called.push(2))
  onAbort(controller.signal, () => second())
  onAbort(controller.signal, () => called.push(4))
  controller.abort()
  t.same(called, [0, 2, 4], 'in the order they were added')
  t.equal(listeners(controller.signal), 0)
  onAbort(controller.signal, () => called.push(5))
  t.same(called.at(-1), 5, 'at once where it has fired')
  t.equal(listeners(controller.signal), 0)

  const between = new AbortController()
  const result = Promise.resolve(7)
  const waiting = abortable(result, between.signal)
  void result.then(() => between.abort('between the result and its answer'))
  await t.rejects(waiting, { code: 'ERR_ICONFACE_ABORTED', cause: 'between the result and its answer' })

  onAbort(undefined, () => t.fail('there is no signal'))()
  t.equal(await abortable(Promise.resolve(7)), 7)
  await t.rejects(abortable(Promise.reject(new RangeError('inner')), signal), RangeError)
  t.equal(listeners(signal), 0)
})

t.test('while a job waits, its position is reported', async (t) => {
  await using model = await IConFace.load(folder)
  const seen: [number, string, number, number, number][] = []
  const show = (job: number) => (p: Progress) => {
    seen.push([job, p.stage, p.step, p.steps, p.position])
    t.match(p, { elapsedMs: Number, position: Number })
    t.ok(p.etaMs === null || p.etaMs >= 0)
    if (p.stage === 'queued') t.match(p, { elapsedMs: 0, etaMs: null })
  }
  const controller = new AbortController()
  const all = [
    model.restore(face, [], { onProgress: show(1) }),
    model.restore(face, [], { onProgress: show(2), signal: controller.signal }),
    model.restore(face, [], { onProgress: show(3) }),
    model.restore(face, [], { onProgress: show(4) }),
  ]
  t.same(seen, [], 'not within the call')
  const job = await started(addon, 1)
  const queued = () => seen.splice(0).filter(([, stage]) => stage === 'queued')
  t.same(queued(), [
    [2, 'queued', 0, 1, 1],
    [3, 'queued', 0, 2, 2],
    [4, 'queued', 0, 3, 3],
  ])
  controller.abort()
  await t.rejects(all[1]!, { code: 'ERR_ICONFACE_ABORTED' })
  t.same(queued(), [
    [3, 'queued', 1, 2, 1],
    [4, 'queued', 1, 3, 2],
  ])
  job.finish()
  await all[0]
  ;(await started(addon, 2)).finish()
  await all[2]
  ;(await started(addon, 3)).finish()
  await all[3]
  t.same(
    seen.map(([job, stage, step, , position]) => [job, stage, step, position]),
    [
      [4, 'queued', 2, 1],
      [3, 'read', 1, 0],
      [4, 'read', 1, 0],
    ],
  )
})

t.test('a waiting job is stopped by its callback', async (t) => {
  await using model = await IConFace.load(folder)
  const first = model.restore(face)
  const throwing = model.restore(face, [], {
    onProgress: ({ stage }) => {
      if (stage === 'queued') throw new RangeError('my own mistake')
    },
  })
  const rejecting = model.restore(face, [], {
    onProgress: ({ stage }) => (stage === 'queued' ? Promise.reject(new RangeError('another')) : undefined),
  })
  await t.rejects(throwing, { message: 'my own mistake' })
  await t.rejects(rejecting, { message: 'another' })
  ;(await started(addon, 1)).finish()
  await first
  t.equal(fake.jobs.length, 1)
})

t.test('every job that dispose stops has an error of its own', async (t) => {
  const model = await IConFace.load(folder)
  const errors = [model.restore(face), model.restore(face), model.embed(face)].map((one) =>
    one.then(
      () => undefined,
      (error: unknown) => error,
    ),
  )
  await model.dispose()
  const late = await model.restore(face).catch((error: unknown) => error)
  t.equal(new Set([...(await Promise.all(errors)), late]).size, 4)
})

t.test('nothing stops a job that has ended', async (t) => {
  const queue = new JobQueue(1)
  let stop: AbortSignal | undefined
  let fail: ((error: unknown) => void) | undefined
  const result = await queue.run(async (...given) => {
    ;[stop, fail] = given
    return 7
  })
  fail!(new Error('too late'))
  t.equal(result, 7)
  t.equal(stop!.aborted, false)
})

function withResolvers() {
  let resolve!: () => void
  return { promise: new Promise<void>((done) => (resolve = done)), resolve }
}
