// Abort, dispose, queue and progress with the addon that ships: whatever the order of events, an answer or an error,
// memory given back, and the next restore undisturbed.
import t, { type Test } from 'tap'
import { openCheckpoint } from '../../dist/checkpoint/open.js'
import { IConFace, type Progress } from '../../dist/index.js'
import { loadAddon, type Pixels, type RestoreJob } from '../../dist/native.js'
import { sameBytes } from '../fixtures/bytes'
import { eachOf } from '../fixtures/each'
import { blockUntil, blockUntilIdle, held, picture, QUICK, tinyModel } from '../fixtures/tiny'

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
  for (const stage of ['read', 'encode', 'sample', 'decode'])
    t.ok(
      events.some((event) => event.startsWith(`${stage} `)),
      stage,
    )
  for (const event of eachOf(new Set(events), 'report')) {
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
  for (const [i, data] of (await Promise.all(all)).entries()) t.ok(sameBytes(data, alone[i % 4]))
  t.same(order, [...Array(16).keys()], 'first come, first served')
  await using small = await IConFace.load(folder, { threads: 1, maxQueue: 3 })
  const burst = await Promise.allSettled(Array.from({ length: 6 }, () => small.restore(input, [], QUICK)))
  t.same(
    burst.map((end) => (end.status === 'fulfilled' ? 'done' : (end.reason as { code: string }).code)),
    ['done', 'done', 'done', 'done', 'ERR_ICONFACE_QUEUE_FULL', 'ERR_ICONFACE_QUEUE_FULL'],
  )
})

t.test('loading, aborted at any point, even when it is done and nobody has been told', async (t) => {
  const before = held()
  const whole = await (async () => {
    await using other = await IConFace.load(folder, { threads: 1 })
    t.equal(other.disposed, false)
    return held() - before
  })()
  for (const share of [0, 0.1, 0.5, 0.9, 1]) {
    const controller = new AbortController()
    const loading = IConFace.load(folder, { threads: 1, signal: controller.signal })
    blockUntil(() => held() - before >= share * whole) // no answer is read meanwhile
    controller.abort('enough')
    await t.rejects(loading, { code: 'ERR_ICONFACE_ABORTED', cause: 'enough' }, `${share} of the weights`)
    t.equal(held(), before, `${share} of the weights: nothing is kept`)
  }
  await undisturbed(t)
})

t.test('disposed between the end of loading and its answer', async (t) => {
  const before = held()
  const addon = loadAddon()
  const session = new addon.Session({ threads: 1, checkpoint: openCheckpoint(folder) })
  const loading = session.load()
  blockUntil(() => held() > before)
  blockUntilIdle() // loaded; the answer waits for this thread
  const disposal = session.dispose()
  blockUntilIdle() // freed; now the answer is read
  t.match(await loading, { threads: 1 })
  await disposal
  t.equal(held(), before)
})

t.test('an abort ends the work itself, not only the wait for it', async (t) => {
  const addon = loadAddon()
  const session = new addon.Session({ threads: 2, checkpoint: openCheckpoint(folder) })
  await session.load()
  const out = new Uint8Array(32 * 32 * 3)
  const variant = { identity: true, structure: 'full', references: true } as const
  const job: RestoreJob = {
    pixels: [input as Pixels],
    steps: 1000,
    guidance: 4,
    seed: 1n,
    rng: 'torch-cuda',
    size: 32,
    variant,
    out,
  }
  const running = session.restore(job, (stage, step) => {
    if (stage === 'sample' && step === 1) running.cancel()
  })
  await t.rejects(running.promise, { code: 'ERR_ICONFACE_ABORTED' }, 'the session itself did not reach the end')
  await session.dispose()
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
    for (const other of await Promise.all(others)) t.ok(sameBytes((other as { data: Uint8Array }).data, expected))
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
