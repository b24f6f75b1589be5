// Stages of a restore are captured as CUDA graphs and replayed in the next one: the same bytes as from a fresh model,
// whatever came between, and no graph outlives the memory it was captured in.
import t from 'tap'
import { openCheckpoint } from '../dist/checkpoint/open.js'
import { loadAddon, type Pixels, type RestoreJob } from '../dist/native.js'
import { devices, numbers } from './fixtures/tensors'
import { full } from './fixtures/tier'
import { facelessModel, picture, tinyModel } from './fixtures/tiny'

const addon = loadAddon()
const found = devices()
if (found.length === 0) {
  t.plan(0, 'ICONFACE_TEST_DEVICES names no device')
  process.exit(0)
}

/** Entries of one working memory at most: GraphCache::kMaxEntries. */
const MOST = 48
const graphs = () => addon.info().memory.graphs

interface Wish extends Partial<Omit<RestoreJob, 'pixels' | 'out'>> {
  pictures?: number[]
}

/** A fresh model, and restores by it: quick ones, but for what is wished. */
async function open(device: string, folder: string) {
  const session = new addon.Session({ device, threads: 2, checkpoint: openCheckpoint(folder) })
  await session.load()
  const start = ({ pictures = [1], ...wish }: Wish, onProgress = () => {}) => {
    const job = { steps: 1, guidance: 1, seed: 1n, rng: 'torch-cuda', size: 16, ...wish } as const
    const variant = { identity: true, structure: 'full', references: true, ...wish.variant } as const
    const out = new Uint8Array(job.size ** 2 * 3)
    const pixels = pictures.map((seed) => picture(seed, 20 + seed) as Pixels)
    const { promise, cancel } = session.restore({ ...job, variant, pixels, out }, onProgress)
    return { cancel, data: promise.then(() => Buffer.from(out)) }
  }
  return { start, restore: (wish: Wish) => start(wish).data, [Symbol.asyncDispose]: () => session.dispose() }
}

for (const device of found) {
  t.test(`${device}: restores in a row`, async (t) => {
    const folder = await facelessModel()
    const prompt = (seed: number) => numbers(seed).tensor([16, 96])
    const wishes = {
      first: { steps: 2 },
      'another picture, seed, prompt and generator': {
        steps: 2,
        pictures: [2],
        seed: 2n,
        prompt: prompt(1),
        rng: 'torch-cpu',
      },
      'fewer steps': { seed: 3n },
      'fewer steps, another picture and prompt': { prompt: prompt(2), pictures: [3] },
      larger: { size: 32, guidance: full ? 3 : 1 },
    } satisfies Record<string, Wish>
    type Name = keyof typeof wishes
    const names = Object.keys(wishes) as Name[]
    const [first, second, third, fourth, larger] = names as [Name, Name, Name, Name, Name]
    // As it is, captured, replayed; then in larger memory, of which the smaller restores use a part.
    const same = full ? [second, first, second, third, fourth, third] : [second, first, second]
    const mixed = full ? [larger, second, larger, first, larger, second] : [larger, second]
    const used = names.filter((name) => same.includes(name) || mixed.includes(name))
    const expected = new Map<Name, Buffer>()
    for (const name of used) {
      await using model = await open(device, folder)
      expected.set(name, await model.restore(wishes[name]))
    }
    const results = new Set([...expected.values()].map((data) => data.toString('hex')))
    t.equal(results.size, used.length, 'different results')
    t.equal(graphs(), 0, 'disposed')

    await using model = await open(device, folder)
    const check = async (name: Name) => t.ok((await model.restore(wishes[name])).equals(expected.get(name)!), name)
    for (const name of [...same, ...mixed]) await check(name)
    t.ok(graphs() > 0)

    const long = { ...wishes[first], steps: 20 }
    const running = model.start(long, () => running.cancel())
    await t.rejects(running.data, { code: 'ERR_ICONFACE_ABORTED' })
    t.equal(graphs(), 0, 'an aborted restore gives back its memory, and the graphs captured in it')
    await check(first)
    for (let i = 0; i < 200 && graphs() > 0; i++) await new Promise((resolve) => setTimeout(resolve, 50))
    t.equal(graphs(), 0, 'given back when idle')
    await check(first)
  })

  if (full)
    t.test(`${device}: with a face encoder and an adapter`, async (t) => {
      const other: Wish = { pictures: [3], seed: 2n }
      const expected = await (async () => {
        await using model = await open(device, await tinyModel())
        return await model.restore(other)
      })()
      await using model = await open(device, await tinyModel())
      const first = await model.restore({})
      t.ok((await model.restore(other)).equals(expected), 'captured')
      t.ok((await model.restore({})).equals(first), 'replayed')
    })

  if (full)
    t.test(`${device}: many settings`, async (t) => {
      await using model = await open(device, await facelessModel())
      const most: Wish = { guidance: 2, prompt: numbers(1).tensor([16, 96]) } // takes the most memory
      const before = await model.restore(most)
      const stages = graphs()
      t.ok(stages >= 5, `${stages} stages`)
      const [two, three] = [await model.restore({ guidance: 2 }), await model.restore({ guidance: 3 })]
      t.notOk(two.equals(three))
      t.ok((await model.restore({ guidance: 2 })).equals(two), 'guidance 2, with 3 between')
      let settings = 3
      const results = new Set<string>()
      for (const identity of [true, false])
        for (const structure of ['full', 'one-route', 'residual', 'none'] as const) {
          results.add((await model.restore({ variant: { identity, structure, references: true } })).toString('hex'))
          t.equal(graphs(), Math.min(MOST, ++settings * stages))
        }
      t.equal(results.size, 1, 'this model has none of these parts')
      t.equal(graphs(), MOST, 'the least recently used are gone')
      t.ok((await model.restore(most)).equals(before), 'and are made anew')
    })
}
