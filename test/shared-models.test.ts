// The models that restore() shares, with the addon that ships: memory and threads that a process holds are counted.
import t from 'tap'
import { symlinkSync } from 'node:fs'
import { cp } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { ICONFACE_ERROR_CODES, isIConFaceError, restore, type RestoreOnceOptions } from '../dist/index.js'
import { loadAddon } from '../dist/native.js'
import { picture, QUICK, resources, scratch, tinyModel } from './fixtures/tiny'

const face = picture(1)
let model: string
const go = (options: RestoreOnceOptions = {}) => restore(face, [], { ...QUICK, model, ...options })

t.before(async () => {
  model = await tinyModel()
  process.env.ICONFACE_MODEL = model
  await go() // threads of libuv and of sharp start
  await restore.dispose()
})

/** Bytes of weights and of threads, none of which another restore may add to. */
function footprint(): { threads: number; held: number } {
  const { threads, held } = resources()
  return { threads, held }
}

t.test('whatever the limits, a folder is loaded once', async (t) => {
  const empty = footprint()
  await go()
  const one = footprint()
  t.ok(one.threads > empty.threads, 'a model has threads')

  const link = join(scratch, 'link')
  symlinkSync(model, link)
  const { isa } = loadAddon().info()
  const same: RestoreOnceOptions[] = [
    { maxReferences: 3 },
    { device: undefined, precision: undefined, threads: undefined, isa: undefined, maxQueue: undefined },
    { device: 'auto' },
    { device: 'cpu' },
    { precision: 'auto' },
    { precision: 'bf16' },
    { model: link },
    { model: relative(process.cwd(), model) },
    { model: `${model}/../${model.split('/').at(-1)}/` },
    { model: undefined },
    { isa },
    { maxPixels: 1e6, signal: new AbortController().signal },
    ...Array.from({ length: 30 }, (_, i) => ({ maxQueue: i + 1 })),
  ]
  for (const options of same) {
    await go(options)
    t.same(footprint(), one, JSON.stringify(options))
  }
  await Promise.all(same.map((options) => go({ ...options, maxQueue: 100 })))
  t.same(footprint(), one, 'at the same time')
  await restore.dispose()
  t.same(footprint(), empty, 'everything is given back')
})

t.test('another device, precision, folder, number of threads or instruction set is another model', async (t) => {
  const empty = footprint()
  const other = join(scratch, 'other')
  await cp(model, other, { recursive: true })
  const others = loadAddon().info().isas.slice(1) // sanitizers build a single one
  const different: RestoreOnceOptions[] = [
    { threads: 2 },
    { threads: 3 },
    { threads: 3, precision: 'f32' },
    ...others.map((isa) => ({ threads: 3, isa })),
    { threads: 3, model: other },
  ]
  let last = empty
  for (const options of different) {
    await go(options)
    const now = footprint()
    t.ok(now.threads > last.threads, JSON.stringify(options))
    last = now
    await go(options)
    await go({ ...options, maxReferences: 5 })
    t.same(footprint(), last, 'and is kept, too')
  }
  await go({ precision: 'f32' })
  t.same(footprint(), last, 'one is enough where the number of threads does not matter')
  await restore.dispose()
  t.same(footprint(), empty)
})

t.test('limits are those of each call', async (t) => {
  await go({ maxReferences: 1, maxQueue: 1, maxPixels: 48 * 48 })
  const three = [face, face, face]
  await t.rejects(restore(face, three, { ...QUICK, maxReferences: 2 }), { message: /at most 2 pictures/ })
  await restore(face, three, { ...QUICK, maxReferences: 3 })
  await t.rejects(go({ maxPixels: 48 * 47 }), { code: 'ERR_ICONFACE_INVALID_IMAGE' })
  const full = await Promise.allSettled(Array.from({ length: 5 }, () => go({ maxQueue: 2 })))
  t.same(
    full.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected'],
  )
  await Promise.all(Array.from({ length: 5 }, () => go({ maxQueue: 4 })))

  const running = go({ maxQueue: 0 })
  const data = new Uint8Array(face.data)
  const refused = restore({ ...face, data, transfer: true }, [], { maxQueue: 0 })
  await t.rejects(refused, { code: 'ERR_ICONFACE_QUEUE_FULL' })
  t.equal(data.length, face.data.length, 'a call that is refused takes no buffer over')
  await running
  await restore.dispose()

  const loading = await Promise.allSettled(Array.from({ length: 4 }, () => go({ maxQueue: 1 })))
  t.same(
    loading.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected', 'rejected'],
    'of calls, too, that wait for the load first',
  )
  await restore.dispose()
})

t.test('a caller that gives up does not end the load for others', async (t) => {
  const empty = footprint()
  const controller = new AbortController()
  const impatient = go({ signal: controller.signal })
  const patient = go()
  controller.abort('enough')
  await t.rejects(impatient, { code: 'ERR_ICONFACE_ABORTED', cause: 'enough' })
  t.equal((await patient).width, 32)
  const one = footprint()
  await go()
  t.same(footprint(), one)
  await restore.dispose()

  const alone = new AbortController()
  const abandoned = go({ signal: alone.signal })
  alone.abort()
  await t.rejects(abandoned, { code: 'ERR_ICONFACE_ABORTED' })
  await restore.dispose()
  t.same(footprint(), empty, 'a load that nobody waits for is disposed, too')
})

t.test('dispose at any time: an error or a face, and nothing is held', async (t) => {
  const empty = footprint()
  await Promise.all([restore.dispose(), restore.dispose()])
  for (const delay of [0, 1, 5, 20, 60]) {
    const all = [go(), go({ precision: 'f32' }), go({ threads: 1 })]
    const outcomes = Promise.allSettled(all)
    await new Promise((resolve) => setTimeout(resolve, delay))
    await Promise.all([restore.dispose(), restore.dispose()])
    for (const outcome of await outcomes) {
      if (outcome.status === 'fulfilled') continue
      t.ok(isIConFaceError(outcome.reason))
      t.match(outcome.reason, { code: 'ERR_ICONFACE_DISPOSED' }, `after ${delay} ms`)
    }
    t.same(footprint(), empty, `after ${delay} ms`)
  }
  t.equal((await go()).width, 32, 'the next one loads anew')
  await restore.dispose()
})

t.test('a failure is not remembered, and everybody has an error of their own', async (t) => {
  const errors = await Promise.all([1, 2].map(() => go({ isa: 'none' }).catch((error: unknown) => error)))
  t.not(errors[0], errors[1])
  for (const error of errors) t.ok(isIConFaceError(error) && ICONFACE_ERROR_CODES.includes(error.code), String(error))
  await t.rejects(go({ model: join(scratch, 'nowhere') }), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
  await go()
  await restore.dispose()
})
