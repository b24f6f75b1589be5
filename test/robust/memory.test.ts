// Memory: estimated to the byte, given back to the byte, and refused with an error at every place where it is taken.
import t, { type Test } from 'tap'
import { IConFace, type Progress, type RawImage, type RestoreOptions } from '../../dist/index.js'
import { loadAddon } from '../../dist/native.js'
import { f32, OpContext } from '../../dist/ops/index.js'
import { sameBytes } from '../fixtures/bytes'
import { full } from '../fixtures/tier'
import { collectGarbage, held, picture, QUICK, resources, SANITIZED, tinyModel } from '../fixtures/tiny'

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

t.test('the estimate is what a restore takes', async (t) => {
  const before = held()
  const measure = async (count: number, options: RestoreOptions) => {
    let most = 0
    const onProgress = ({ stage }: Progress) => {
      if (stage !== 'read') most = Math.max(most, held() - before)
    }
    await model.restore(input, references.slice(0, count), { ...options, onProgress })
    t.equal(held(), before, 'given back')
    return most
  }
  const jobs = [
    { size: 32, steps: 2, references: 2 },
    { size: 64, steps: 1, references: 0 },
    { size: 80, steps: 20, references: 1, guidance: 1 },
    { size: 32, steps: 2, references: 2, variant: { structure: false, references: false } },
  ] as const
  for (const { references: count, ...options } of jobs) {
    const estimated = model.estimate({ references: count, ...options }).workspace!
    t.equal(await measure(count, options), estimated, JSON.stringify(options))
  }
  // A picture of the result's own size is read where it lies and needs no crop.
  const whole = { size: input.width, steps: 1 }
  const crops = 3 * input.width * input.height * 3
  t.equal(await measure(2, whole), model.estimate({ references: 2, ...whole }).workspace! - crops)
})

t.test('working memory is kept for the next job, for a second', async (t) => {
  const kept = () => loadAddon().info().memory.keptBytes
  const nothingKept = async () => {
    for (let i = 0; i < 500 && kept() > 0; i++) await new Promise((resolve) => setTimeout(resolve, 20))
    return kept() === 0
  }
  t.ok(await nothingKept(), 'given back when idle')
  await model.restore(input, references, QUICK)
  const { workspace } = model.estimate({ references: 2, ...QUICK })
  t.equal(kept(), workspace)
  t.ok(sameBytes((await model.restore(input, references, QUICK)).data, expected), 'in memory that was used before')
  t.equal(kept(), workspace)
  await model.restore(input, [], QUICK)
  t.equal(kept(), model.estimate({ references: 0, ...QUICK }).workspace, 'only the last job is kept for')
  t.ok(await nothingKept(), 'given back when idle')
  const other = await IConFace.load(folder, { threads: 1 })
  await other.restore(input, [], QUICK)
  await other.dispose()
  t.equal(kept(), 0, 'given back by dispose')
})

/** Lets every `stride`-th allocation of `work` fail in turn until it makes fewer; gives its first whole result. */
async function failing<T>(t: Test, work: () => Promise<T>, stride = 1): Promise<T> {
  const addon = loadAddon()
  const before = held()
  for (let n = 1; ; n += stride) {
    addon.failAllocation(n)
    const outcome = await work().catch((error: unknown) => error)
    addon.failAllocation(0)
    if (!(outcome instanceof Error)) {
      t.ok(n > 1, `reached allocation ${n}`)
      return outcome as T
    }
    t.match(outcome, { code: 'ERR_ICONFACE_OUT_OF_MEMORY', message: /MiB/ }, `allocation ${n}`)
    t.equal(held(), before, 'nothing is kept')
  }
}

t.test('every allocation fails in turn', async (t) => {
  await t.test('restore', async (t) => {
    t.ok(sameBytes((await failing(t, () => model.restore(input, references, QUICK))).data, expected))
  })
  await t.test('embed', async (t) => {
    const { embedding } = await model.embed(input)
    t.ok(sameBytes((await failing(t, () => model.embed(input))).embedding, embedding))
  })
  await t.test('load', async (t) => {
    const loaded = await failing(t, () => IConFace.load(folder, { threads: 1 }), 11) // hundreds
    t.ok(sameBytes((await loaded.restore(input, references, QUICK)).data, expected))
    await loaded.dispose()
  })
  await t.test('an operation', async (t) => {
    const x = f32(
      [4, 8],
      Float32Array.from({ length: 32 }, (_, i) => i),
    )
    const weight = f32([3, 8], new Float32Array(24).fill(1))
    await using ops = new OpContext({ threads: 1 })
    const { out } = await failing(t, () => ops.run('linear', { x, weight }))
    t.equal(out.data[0], 28)
  })
  await t.test('dispose takes none', async (t) => {
    const addon = loadAddon()
    const before = held()
    const other = await IConFace.load(folder, { threads: 1 })
    addon.failAllocation(1)
    await other.dispose()
    addon.failAllocation(0)
    t.equal(held(), before)
  })
})

t.test('what is larger than the machine is refused, with figures', async (t) => {
  await using other = await IConFace.load(folder, { threads: 1, maxReferences: 64 })
  const giant = { size: 4096, steps: 1000 }
  const needed = other.estimate({ references: 64, ...giant }).workspace!
  if (needed < loadAddon().info().memory.availableBytes) {
    t.pass('refused', { skip: `this machine has room for ${(needed / 1e9).toFixed()} GB` })
    return
  }
  await t.rejects(other.restore(input, Array<RawImage>(64).fill(references[0]!), giant), {
    code: 'ERR_ICONFACE_OUT_OF_MEMORY',
    message: /this needs [\d.]+ MiB .* [\d.]+ MiB are free: choose a smaller size/,
  })
  t.ok(sameBytes((await model.restore(input, references, QUICK)).data, expected))
})

t.test('many restores hold no more than one', async (t) => {
  const count = SANITIZED ? 40 : full ? 300 : 60 // tools/soak does 10,000
  const smallest = { size: 16, steps: 1, guidance: 1, variant: { structure: false, references: false } } as const
  const samples: number[] = []
  for (let i = 0; i < count; i++) {
    await model.restore(input, [], smallest)
    if ((i + 1) % (count / 6) === 0) {
      collectGarbage()
      samples.push(process.memoryUsage.rss())
    }
    if (i === 20) Object.assign(first, resources())
  }
  t.same(resources(), first, 'threads, files and memory of the core')
  if (SANITIZED) return // which keeps what was freed, to see it used
  t.equal(samples.length, 6)
  const growth = samples.at(-1)! - samples[1]!
  t.ok(growth < 16 * 2 ** 20, `resident memory grew by ${growth >> 10} KiB in the last two thirds`)
})
const first = {} as ReturnType<typeof resources>

t.test('loading and disposing, again and again', async (t) => {
  const before = resources()
  for (let i = 0; i < 12; i++) {
    const other = await IConFace.load(folder, { threads: 3 })
    if (i % 3 === 0) await other.restore(input, [], QUICK)
    await other.dispose()
  }
  t.same(resources(), before, 'threads, files and memory of the core')
})

t.test('models that nobody disposed are collected', async (t) => {
  const before = resources()
  for (let i = 0; i < 3; i++) await IConFace.load(folder, { threads: 2 })
  t.ok(held() > before.held)
  for (let i = 0; i < 50 && held() > before.held; i++) {
    collectGarbage()
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  t.same(resources(), before, 'threads, files and memory of the core')
})
