// Abort, dispose, queue and progress with the addon that ships: whatever the order of events, an answer or an error,
// memory given back, and the next restore undisturbed.
import t, { type Test } from 'tap'
import { openCheckpoint } from '../../dist/checkpoint/layout.js'
import { IConFace, type Progress } from '../../dist/index.js'
import { loadAddon } from '../../dist/native.js'
import { block, held, picture, QUICK, tinyModel } from '../fixtures/tiny'

const input = picture(1)
const references = [picture(2), picture(3)]
let folder: string
let model: IConFace
let expected: Uint8Array

t.before(async () => {
  folder = await tinyModel()
  model = await IConFace.load(folder, { threads: 2 })
  expected = (await model.restore(input, references, QUICK)).data
})
t.teardown(() => model.dispose())

async function undisturbed(t: Test, m = model): Promise<void> {
  const { data } = await m.restore(input, references, QUICK)
  t.ok(Buffer.compare(data, expected) === 0, 'the next restore is undisturbed')
}

t.test('aborted in every stage and at every step', async (t) => {
  const before = held()
  const events: string[] = []
  const name = ({ stage, step }: Progress) => `${stage} ${step}`
  await model.restore(input, references, { ...QUICK, onProgress: (p) => void events.push(name(p)) })
  t.ok(events.length >= 10, `${events.length} reports`)
  for (const event of new Set(events)) {
    const controller = new AbortController()
    const onProgress = (p: Progress) => (name(p) === event ? controller.abort(event) : undefined)
    const { signal } = controller
    await t.rejects(
      model.restore(input, references, { ...QUICK, signal, onProgress }),
      { code: 'ERR_ICONFACE_ABORTED', cause: event },
      event,
    )
    t.equal(held(), before, 'memory is given back')
  }
  await undisturbed(t)
})

t.test('aborted while others wait: only the one that was meant', async (t) => {
  const controllers = Array.from({ length: 12 }, () => new AbortController())
  const all = controllers.map(({ signal }, seed) =>
    model.restore(input, [], { ...QUICK, seed, signal }).then(
      (result) => result.seed,
      (error: { code: string }) => error.code,
    ),
  )
  for (const i of [11, 3, 0, 7]) controllers[i]!.abort()
  const ends = await Promise.all(all)
  t.same(
    ends,
    controllers.map(({ signal }, seed) => (signal.aborted ? 'ERR_ICONFACE_ABORTED' : seed)),
  )
  await undisturbed(t)
})

t.test('many at once: in order, each with its own result, and too many are refused', async (t) => {
  const alone = []
  for (const seed of [0, 1, 2, 3]) alone.push((await model.restore(input, [], { ...QUICK, seed })).data)
  const order: number[] = []
  const all = Array.from({ length: 16 }, async (_, i) => {
    const { data } = await model.restore(input, [], { ...QUICK, seed: i % 4 })
    order.push(i)
    return data
  })
  for (const [i, data] of (await Promise.all(all)).entries()) t.same(data, alone[i % 4])
  t.same(
    order,
    order.map((_, i) => i),
    'first come, first served',
  )
  await using small = await IConFace.load(folder, { threads: 1, maxQueue: 3 })
  const burst = await Promise.allSettled(Array.from({ length: 6 }, () => small.restore(input, [], QUICK)))
  t.same(
    burst.map((end) => (end.status === 'fulfilled' ? 'done' : (end.reason as { code: string }).code)),
    ['done', 'done', 'done', 'done', 'ERR_ICONFACE_QUEUE_FULL', 'ERR_ICONFACE_QUEUE_FULL'],
  )
})

t.test('loading, aborted at any time', async (t) => {
  const before = held()
  for (const delay of [0, 1, 5, 20, 50, 100]) {
    const signal = AbortSignal.timeout(delay)
    const outcome = await IConFace.load(folder, { threads: 1, signal }).catch((error: unknown) => error)
    if (outcome instanceof IConFace) await outcome.dispose()
    else t.match(outcome, { code: 'ERR_ICONFACE_ABORTED', cause: { name: 'TimeoutError' } })
    t.equal(held(), before, `after ${delay} ms`)
  }
  await undisturbed(t)
})

t.test('disposed between the end of loading and its answer', async (t) => {
  const before = held()
  const addon = loadAddon()
  const session = new addon.Session({ threads: 1, checkpoint: openCheckpoint(folder) })
  const loading = session.load()
  while (held() === before) block(50)
  block(300) // loaded; the answer waits for this thread
  const disposal = session.dispose()
  block(100) // freed; now the answer is read
  t.match(await loading, { threads: 1 })
  await disposal
  t.equal(held(), before)
})

t.test('disposed in the middle of a restore, twice, with others waiting', async (t) => {
  const before = held()
  for (const stage of ['prepare', 'encode', 'sample', 'decode']) {
    const mayfly = await IConFace.load(folder, { threads: 2 })
    const disposals: Promise<void>[] = []
    const onProgress = (p: Progress) => {
      if (p.stage === stage) disposals.push(mayfly.dispose())
    }
    const all: Promise<unknown>[] = [
      mayfly.restore(input, references, { ...QUICK, onProgress }),
      mayfly.restore(input, [], QUICK),
      mayfly.embed(input),
    ]
    await Promise.all(all.map((one) => t.rejects(one, { code: 'ERR_ICONFACE_DISPOSED' }, stage)))
    await Promise.all([...disposals, mayfly.dispose()])
    t.equal(held(), before, 'memory is given back')
    await t.rejects(mayfly.restore(input), { code: 'ERR_ICONFACE_DISPOSED' })
  }
  await undisturbed(t)
})

t.test('two models at once do not disturb each other', async (t) => {
  {
    await using other = await IConFace.load(folder, { threads: 3 })
    await Promise.all([undisturbed(t), undisturbed(t, other), undisturbed(t), undisturbed(t, other)])
  }
  await undisturbed(t)
})

t.test('a progress callback', async (t) => {
  const mistakes: Record<string, () => void | Promise<void>> = {
    'that throws': () => {
      throw new RangeError('my own mistake')
    },
    'that rejects': () => Promise.reject(new RangeError('my own mistake')),
  }
  for (const [name, mistake] of Object.entries(mistakes)) {
    await t.test(name, async (t) => {
      const onProgress = ({ stage, step }: Progress) => (stage === 'sample' && step === 1 ? mistake() : undefined)
      const restoring = model.restore(input, references, { ...QUICK, onProgress })
      await t.rejects(restoring, { name: 'RangeError', message: 'my own mistake' })
      await undisturbed(t)
    })
  }

  await t.test('that starts other restores', async (t) => {
    const others: Promise<unknown>[] = []
    const onProgress = () => void others.push(model.restore(input, references, QUICK))
    await model.restore(input, [], { ...QUICK, onProgress })
    for (const other of await Promise.all(others)) t.same((other as { data: Uint8Array }).data, expected)
  })

  await t.test('that loads, uses and disposes another model', async (t) => {
    let nested: Promise<void> | undefined
    const work = async () => {
      await using other = await IConFace.load(folder, { threads: 1 })
      await undisturbed(t, other)
    }
    await model.restore(input, [], { ...QUICK, onProgress: () => void (nested ??= work()) })
    await nested
  })
})

t.test('the order of references is theirs: best first', async (t) => {
  const { data, identity } = await model.restore(input, references.toReversed(), QUICK)
  t.not(Buffer.compare(data, expected), 0, 'positions differ, and so does the result')
  const { identity: original } = await model.restore(input, references, QUICK)
  t.same([...identity.norms].reverse(), [...original.norms], 'norms come in the order given')
})

t.test('one, two and five threads: the same bytes', async (t) => {
  for (const threads of [1, 2, 5]) {
    await using other = await IConFace.load(folder, { threads })
    await undisturbed(t, other)
  }
})
