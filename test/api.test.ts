// The public API against a fake addon, which makes every order of events happen on purpose.
import t from 'tap'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { synthesizeCheckpoint } from '../dist/prepare/synthesize.js'
import { allocateImage, IConFace, IConFaceError, isIConFaceError, restore, type Progress } from '../dist/index.js'
import { plain, scratchFolder, started, useFakeAddon } from './fixtures/fake'

const addon = useFakeAddon()
const { fake } = addon
const scratch = scratchFolder()
const folder = join(scratch, 'tiny')
const face = plain(16, 16, 7)

t.before(() => synthesizeCheckpoint('tiny', folder))
t.beforeEach(() => {
  fake.jobs.length = 0
  fake.sessions.length = 0
  fake.loadError = null
  fake.loading = null
})

t.test('load describes the model', async (t) => {
  await using model = await IConFace.load(folder, { precision: 'bf16', threads: 3 })
  t.equal(model.device, 'cpu')
  t.equal(model.precision, 'bf16')
  t.equal(model.info.synthesized, true)
  t.equal(model.info.threads, 3)
  t.equal(model.info.folder, folder)
  t.match(model.info.defaults, { steps: 4, guidance: 4, seed: 42, size: 64, rng: 'torch-cuda' })
  t.match(fake.sessions[0]!.options, {
    device: 'auto',
    threads: 3,
    precision: 'bf16',
    checkpoint: { name: model.info.name },
  })
})

t.test('load fails with the code and message of what failed, and frees the session', async (t) => {
  fake.loadError = addon.coded('ERR_ICONFACE_OUT_OF_MEMORY', 'needs 8 GiB')
  await t.rejects(IConFace.load(folder), { code: 'ERR_ICONFACE_OUT_OF_MEMORY', message: 'needs 8 GiB' })
  t.equal(fake.sessions[0]!.disposed, 1)
  fake.loadError = new Error('no code at all')
  await t.rejects(IConFace.load(folder), { code: 'ERR_ICONFACE_INTERNAL', message: 'no code at all' })
  await t.rejects(IConFace.load(join(scratch, 'nowhere')), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
})

t.test('load can be aborted', async (t) => {
  let finishLoading!: () => void
  fake.loading = new Promise((resolve) => (finishLoading = resolve))
  const controller = new AbortController()
  const loading = IConFace.load(folder, { signal: controller.signal })
  controller.abort('enough')
  await t.rejects(loading, { code: 'ERR_ICONFACE_ABORTED', cause: 'enough' })
  t.equal(fake.sessions[0]!.disposed, 1)
  finishLoading()
  await t.rejects(IConFace.load(folder, { signal: AbortSignal.abort('early') }), {
    code: 'ERR_ICONFACE_ABORTED',
    cause: 'early',
  })
  t.equal(fake.sessions.length, 1)
})

t.test('restore hands the job over and the result back', async (t) => {
  await using model = await IConFace.load(folder)
  const restoring = model.restore(face, [plain(8, 8, 9)], {
    seed: 2n ** 63n,
    steps: 2,
    guidance: 1.5,
    size: 32,
    rng: 'torch-cpu',
    variant: { structure: 'residual' },
  })
  const running = await started(addon, 1)
  t.match(running.job, { seed: 2n ** 63n, steps: 2, guidance: 1.5, size: 32, rng: 'torch-cpu' })
  t.same(running.job.variant, { identity: true, structure: 'residual', references: true })
  t.equal(running.job.pixels.length, 2)
  running.finish()
  const result = await restoring
  t.equal(result.data, running.job.out, 'the job wrote into the very array that is returned')
  t.equal(result.data.length, 32 * 32 * 3)
  t.equal(result.data[5], 7)
  t.match(result, { width: 32, height: 32, seed: 2n ** 63n })
  t.match(result.identity, { source: 'references', before: 0.25, after: 0.75 })
  t.same(Object.keys(result.timings), ['read', 'encode', 'sample', 'decode', 'total'])
})

t.test('what is not said comes from the checkpoint', async (t) => {
  await using model = await IConFace.load(folder)
  const restoring = model.restore(face, undefined, { steps: undefined })
  const running = await started(addon, 1)
  t.match(running.job, { seed: 42n, steps: 4, guidance: 4, size: 64, rng: 'torch-cuda' })
  t.same(running.job.variant, { identity: true, structure: 'full', references: true })
  running.finish()
  const { identity, seed } = await restoring
  t.equal(seed, 42)
  t.match(identity, { source: 'degraded', before: null, after: null })
})

t.test('restores wait their turn, first come first served, and too many are refused', async (t) => {
  await using model = await IConFace.load(folder, { maxQueue: 2 })
  const all = [1, 2, 3].map((value) => model.restore(plain(4, 4, value)))
  await t.rejects(model.restore(face), { code: 'ERR_ICONFACE_QUEUE_FULL', message: /2 jobs are waiting/ })
  for (const value of [1, 2, 3]) {
    const running = await started(addon, value)
    t.equal(fake.jobs.length, value, 'one at a time')
    t.equal(running.job.pixels[0]!.data[0], value)
    running.finish()
    t.equal((await all[value - 1]!).data[0], value)
  }
})

t.test('a job that fails leaves the model usable', async (t) => {
  await using model = await IConFace.load(folder)
  const failing = model.restore(face)
  ;(await started(addon, 1)).fail('ERR_ICONFACE_NUMERICAL', 'step 3: NaN')
  await t.rejects(failing, { code: 'ERR_ICONFACE_NUMERICAL', message: 'step 3: NaN' })
  const next = model.restore(face)
  ;(await started(addon, 2)).finish()
  await next
})

t.test('abort', async (t) => {
  await using model = await IConFace.load(folder)

  await t.test('before the call', async (t) => {
    const signal = AbortSignal.abort('never mind')
    await t.rejects(model.restore(face, [], { signal }), { code: 'ERR_ICONFACE_ABORTED', cause: 'never mind' })
    t.equal(fake.jobs.length, 0)
  })

  await t.test('while waiting', async (t) => {
    const controller = new AbortController()
    const first = model.restore(face)
    const second = model.restore(face, [], { signal: controller.signal })
    const running = await started(addon, 1)
    controller.abort()
    await t.rejects(second, { code: 'ERR_ICONFACE_ABORTED', cause: { name: 'AbortError' } })
    t.notOk(running.cancelled, 'only the one that was meant')
    running.finish()
    await first
    t.equal(fake.jobs.length, 1)
  })

  await t.test('while running', async (t) => {
    const controller = new AbortController()
    const restoring = model.restore(face, [], { signal: controller.signal })
    const running = await started(addon, 1)
    const reason = new Error('user left')
    controller.abort(reason)
    t.ok(running.cancelled)
    const error = await restoring.catch((error: unknown) => error)
    t.ok(isIConFaceError(error) && error instanceof IConFaceError)
    t.match(error, { code: 'ERR_ICONFACE_ABORTED', name: 'IConFaceError' })
    t.equal((error as Error).cause, reason)
  })

  await t.test('after the end', async (t) => {
    const controller = new AbortController()
    const restoring = model.restore(face, [], { signal: controller.signal })
    const running = await started(addon, 1)
    running.finish()
    await restoring
    controller.abort()
    t.notOk(running.cancelled)
  })

  await t.test('while the pictures are read', async (t) => {
    const controller = new AbortController()
    const restoring = model.restore(face, [], {
      signal: controller.signal,
      onProgress: ({ stage }) => stage === 'read' && controller.abort(),
    } as Parameters<typeof model.restore>[2])
    await t.rejects(restoring, { code: 'ERR_ICONFACE_ABORTED' })
    t.equal(fake.jobs.length, 0)
  })
})

t.test('progress', async (t) => {
  await using model = await IConFace.load(folder)

  await t.test('arrives in order, with figures', async (t) => {
    const seen: Progress[] = []
    const restoring = model.restore(face, [], { onProgress: (progress) => void seen.push(progress) })
    const running = await started(addon, 1)
    running.progress('sample', 0, 4)
    running.progress('sample', 2, 4)
    running.finish()
    await restoring
    const shape = seen.map(({ stage, step, steps, done, etaMs }) => [stage, step, steps, done, etaMs])
    t.same(shape, [
      ['read', 1, 1, 0, null],
      ['sample', 0, 4, 0, null],
      ['sample', 2, 4, 0.5, 20],
    ])
    t.ok(seen.every(({ elapsedMs }, i) => i === 0 || elapsedMs >= seen[i - 1]!.elapsedMs))
    const [read, first, second] = seen.map(({ elapsedMs }) => elapsedMs)
    t.ok(read! > 0 && first! >= read!, "the addon's time comes on top of reading")
    t.ok(Math.abs(second! - first! - 20) < 1e-6, 'its 20 ms')
  })

  const mistakes = {
    'a callback that throws': () => {
      throw new RangeError('my own mistake')
    },
    'an async callback that rejects': async () => {
      await setImmediate()
      throw new RangeError('my own mistake')
    },
  }
  for (const [name, onProgress] of Object.entries(mistakes)) {
    await t.test(`${name} stops the job, and its error is what the caller gets`, async (t) => {
      const reports = model.restore(face, [], {
        onProgress: (progress) => (progress.stage === 'sample' ? onProgress() : undefined),
      })
      const running = await started(addon, 1)
      running.progress('sample', 1, 4)
      const error = await reports.catch((error: unknown) => error)
      t.ok(running.cancelled)
      t.ok(error instanceof RangeError)
      t.match(error, { message: 'my own mistake' })
    })
  }

  await t.test('may abort', async (t) => {
    const controller = new AbortController()
    const restoring = model.restore(face, [], {
      signal: controller.signal,
      onProgress: ({ stage }) => (stage === 'sample' ? controller.abort() : undefined),
    })
    ;(await started(addon, 1)).progress('sample', 1, 4)
    await t.rejects(restoring, { code: 'ERR_ICONFACE_ABORTED' })
  })

  await t.test('may start another restore', async (t) => {
    let second: Promise<unknown> | undefined
    const first = model.restore(face, [], { onProgress: () => void (second ??= model.restore(plain(4, 4, 2))) })
    ;(await started(addon, 1)).finish()
    t.equal((await first).data[0], 7)
    ;(await started(addon, 2)).finish()
    t.match(await second, { data: { 0: 2 } })
  })

  await t.test('may dispose the model', async (t) => {
    const mayfly = await IConFace.load(folder)
    let disposal: Promise<void> | undefined
    const restoring = mayfly.restore(face, [], { onProgress: () => void (disposal ??= mayfly.dispose()) })
    await t.rejects(restoring, { code: 'ERR_ICONFACE_DISPOSED' })
    await disposal
    t.equal(fake.sessions.at(-1)!.disposed, 1)
  })
})

t.test('dispose stops what runs and waits, once, and ends the model', async (t) => {
  const model = await IConFace.load(folder)
  const running = model.restore(face)
  const waiting = model.restore(face)
  const job = await started(addon, 1)
  t.equal(model.disposed, false)
  const disposals = [model.dispose(), model.dispose(), model[Symbol.asyncDispose]()]
  t.equal(model.disposed, true)
  t.equal(fake.sessions[0]!.disposed, 0, 'the session outlives its job')
  const rejections = [running, waiting].map((restoring) => t.rejects(restoring, { code: 'ERR_ICONFACE_DISPOSED' }))
  await Promise.all([...rejections, ...disposals])
  t.ok(job.cancelled)
  t.equal(fake.sessions[0]!.disposed, 1)
  t.equal(fake.jobs.length, 1)
  await t.rejects(model.restore(face), { code: 'ERR_ICONFACE_DISPOSED', message: /load it again/ })
  await t.rejects(model.embed(face), { code: 'ERR_ICONFACE_DISPOSED' })
  t.throws(() => model.estimate(), { code: 'ERR_ICONFACE_DISPOSED' })
  await model.dispose()
  t.equal(fake.sessions[0]!.disposed, 1)
})

t.test('await using disposes at the end of the block', async (t) => {
  {
    await using model = await IConFace.load(folder)
    t.equal(model.disposed, false)
  }
  t.equal(fake.sessions[0]!.disposed, 1)
})

t.test('embed gives a unit vector and its norm', async (t) => {
  await using model = await IConFace.load(folder)
  const { embedding, norm } = await model.embed(plain(4, 4, 2))
  t.equal(norm, 2 * Math.sqrt(512))
  t.ok(Math.abs(embedding.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-6)
})

t.test('estimate adds up', async (t) => {
  await using model = await IConFace.load(folder)
  const bytes = { mappedWeights: 1000, workspace: 4096, total: 5096 }
  t.same(model.estimate({ references: 2, size: 32 }), { ...bytes, operations: 12, milliseconds: null })
  t.same(model.estimate().total, 1000 + 2 * 64 * 64)
  t.throws(() => model.estimate({ references: 9 }), { code: 'ERR_ICONFACE_INVALID_ARGUMENT' })
})

t.test('restore in one call', async (t) => {
  delete process.env.ICONFACE_MODEL

  await t.test('loads a model once, for calls at the same time and later', async (t) => {
    const all = [restore(face, [], { model: folder, steps: 3 }), restore(face, [], { model: folder })]
    ;(await started(addon, 1)).finish()
    ;(await started(addon, 2)).finish()
    await Promise.all(all)
    process.env.ICONFACE_MODEL = folder
    const named = restore(face)
    ;(await started(addon, 3)).finish()
    await named
    delete process.env.ICONFACE_MODEL
    t.equal(fake.sessions.length, 1)
    t.equal(fake.jobs[0]!.job.steps, 3)
  })

  await t.test('other load options are another model', async (t) => {
    const restoring = restore(face, [], { model: folder, threads: 1 })
    ;(await started(addon, 1)).finish()
    await restoring
    t.equal(fake.sessions.length, 1)
  })

  await t.test('captures pictures at the call, not when the model is there', async (t) => {
    const mine = plain(4, 4, 5)
    const restoring = restore(mine, [], { model: folder, threads: 2 })
    mine.data.fill(99)
    const running = await started(addon, 1)
    t.equal(running.job.pixels[0]!.data[0], 5)
    running.finish()
    await restoring
  })

  await t.test('does not remember a failure', async (t) => {
    const other = join(scratch, 'other')
    const failing = restore(face, [], { model: other })
    await t.rejects(failing, { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
    mkdirSync(other)
    await synthesizeCheckpoint('tiny', other)
    const restoring = restore(face, [], { model: other })
    ;(await started(addon, 1)).finish()
    await restoring
  })

  await t.test('can be aborted while the model loads for others', async (t) => {
    let finishLoading!: () => void
    fake.loading = new Promise((resolve) => (finishLoading = resolve))
    const controller = new AbortController()
    const impatient = restore(face, [], { model: folder, threads: 4, signal: controller.signal })
    const patient = restore(face, [], { model: folder, threads: 4 })
    controller.abort()
    await t.rejects(impatient, { code: 'ERR_ICONFACE_ABORTED' })
    finishLoading()
    ;(await started(addon, 1)).finish()
    await patient
    t.equal(fake.sessions.length, 1)
  })
})

t.test('allocateImage is read in place', async (t) => {
  await using model = await IConFace.load(folder)
  const image = allocateImage(8, 4)
  t.match(image, { width: 8, height: 4, channels: 3 })
  const restoring = model.restore(image)
  image.data.fill(3)
  const running = await started(addon, 1)
  t.equal(running.job.pixels[0]!.data[0], 3)
  t.equal(running.job.pixels[0]!.data.buffer, image.data.buffer)
  running.finish()
  await restoring
  t.throws(() => allocateImage(0, 4), { code: 'ERR_ICONFACE_INVALID_ARGUMENT' })
})
