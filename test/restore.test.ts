// Restoring end to end with the addon that ships, over random weights: what must hold whatever the weights are.
import t, { type Test } from 'tap'
import { join } from 'node:path'
import { cp, readFile, writeFile } from 'node:fs/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Worker } from 'node:worker_threads'
import sharp from 'sharp'
import { openSafetensors } from '../dist/formats/safetensors.js'
import { synthesizeCheckpoint } from '../dist/prepare/synthesize.js'
import { allocateImage, IConFace, type Progress, type RestoreOptions } from '../dist/index.js'
import { loadAddon } from '../dist/native.js'
import { STAGES } from '../dist/options.js'
import { sameBytes } from './fixtures/bytes'
import { scratchFolder } from './fixtures/fake'
import { full } from './fixtures/tier'

const scratch = scratchFolder()
const folder = join(scratch, 'tiny')
const DIST = join(__dirname, '..', 'dist', 'index.js')

/** A picture with structure at every scale, always the same one for the same seed. */
function picture(seed: number, side = 96) {
  const image = allocateImage(side, side)
  let state = seed * 2654435761 + 1
  for (let i = 0; i < image.data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    image.data[i] = 100 + 60 * Math.sin((i * seed) / 301) + ((state >>> 24) & 31)
  }
  return image
}

const input = picture(1)
const references = [picture(2), picture(3, 80)]
const settings: RestoreOptions = { steps: 2, size: 64 }
let model: IConFace
let expected: Uint8Array

t.before(async () => {
  await synthesizeCheckpoint('tiny', folder)
  model = await IConFace.load(folder)
  expected = (await model.restore(input, references, settings)).data
})
t.teardown(() => model.dispose())

function equal(t: Test, data: Uint8Array, what: string): void {
  t.ok(Buffer.compare(data, expected) === 0, what)
}

t.test('the same call gives the same bytes, on any number of threads', async (t) => {
  equal(t, (await model.restore(input, references, settings)).data, 'again')
  for (const threads of [1, 2, 3]) {
    await using other = await IConFace.load(folder, { threads })
    equal(t, (await other.restore(input, references, settings)).data, `${threads} threads`)
  }
  const all = await Promise.all([1, 2, 3].map(() => model.restore(input, references, settings)))
  for (const { data } of all) equal(t, data, 'at the same time')
})

t.test('seed, noise, steps, guidance, references and variant all matter', async (t) => {
  const others: RestoreOptions[] = [
    { seed: 43 },
    { rng: 'torch-cpu' },
    { steps: 3 },
    { guidance: 1 },
    { variant: { identity: false } },
    { variant: { structure: false } },
    { variant: { structure: 'residual' } },
    { variant: { structure: 'one-route' } },
    { variant: { references: false } },
  ]
  const results = [expected]
  for (const other of others) {
    const { data } = await model.restore(input, references, { ...settings, ...other })
    const what = JSON.stringify(other)
    t.ok(
      results.every((earlier) => Buffer.compare(earlier, data) !== 0),
      `${what} differs from all before`,
    )
    results.push(data)
  }
  const alone = await model.restore(input, [], settings)
  const left = await model.restore(input, references, { ...settings, variant: { references: false } })
  t.ok(sameBytes(alone.data, left.data), 'references left out are as none')
})

t.test('a bigint seed is the number it equals', async (t) => {
  equal(t, (await model.restore(input, references, { ...settings, seed: 42n })).data, '42n')
})

t.test('the report', async (t) => {
  const { identity, timings, width, height } = await model.restore(input, references, settings)
  t.match({ width, height }, { width: 64, height: 64 })
  t.equal(identity.source, 'references')
  t.equal(identity.norms.length, 2)
  t.ok(Math.abs(identity.weights[0]! + identity.weights[1]! - 1) < 1e-6)
  t.ok(Math.abs(Math.hypot(...identity.anchor!) - 1) < 1e-5)
  t.ok(Math.abs(identity.before!) <= 1.00001 && Math.abs(identity.after!) <= 1.00001)
  const { total, ...stages } = timings
  t.ok(Object.values(stages).reduce((sum, ms) => sum + ms, 0) <= total! + 1)

  const larger = await model.restore(input, references, { steps: 1, guidance: 1, size: 128 })
  const face = await model.embed(input, { size: 128 })
  const cosine = face.embedding.reduce((sum, x, i) => sum + x * larger.identity.anchor![i]!, 0)
  t.ok(Math.abs(cosine - larger.identity.before!) < 1e-4, `before is the cosine of embedding and anchor: ${cosine}`)

  const alone = await model.restore(input, [], settings)
  t.match(alone.identity, { source: 'degraded', before: null, after: null })
})

t.test('identity is off when the encoder sees no face anywhere', async (t) => {
  const blind = join(scratch, 'blind')
  await cp(folder, blind, { recursive: true })
  const { path, headerBytes } = openSafetensors(join(blind, 'adaface.safetensors'))
  const bytes = await readFile(path)
  await writeFile(path, bytes.fill(0, 8 + headerBytes)) // every embedding has norm 0
  await using none = await IConFace.load(blind)
  const { data, identity } = await none.restore(input, references, settings)
  t.match(identity, { source: 'none', anchor: null, before: null, after: null })
  t.strictSame([...identity.norms, ...identity.weights], [0, 0, 0, 0], 'absent references are reported')
  const without = await model.restore(input, references, { ...settings, variant: { identity: false } })
  t.ok(sameBytes(data, without.data), 'as without identity')
})

t.test('pictures of any kind and size; alpha changes nothing', async (t) => {
  const png = await sharp(input.data, { raw: { width: 96, height: 96, channels: 3 } })
    .png()
    .toBuffer()
  equal(t, (await model.restore(png, references, settings)).data, 'encoded')
  const rgba = await sharp(png).ensureAlpha(0.5).raw().toBuffer()
  equal(t, (await model.restore({ data: rgba, width: 96, height: 96, channels: 4 }, references, settings)).data, 'RGBA')
  for (const [width, height] of [
    [1, 1],
    [3, 200],
    [511, 64],
  ] as const) {
    const odd = { data: new Uint8Array(width * height * 3).fill(90), width, height, channels: 3 as const }
    t.equal((await model.restore(odd, [odd], settings)).data.length, 64 * 64 * 3, `${width} x ${height}`)
  }
  const again = await model.restore(await model.restore(input, references, settings), references, settings)
  t.equal(again.width, 64, 'a result is a picture')
})

t.test('progress goes forward through the stages', async (t) => {
  const seen: Progress[] = []
  const onProgress = (progress: Progress) => void seen.push(progress)
  const { timings } = await model.restore(input, references, { ...settings, steps: 3, onProgress })
  const stages = ['read', 'prepare', 'identity', 'encode', 'condition', 'sample', 'decode', 'compare']
  t.same([...new Set(seen.map(({ stage }) => stage))], stages)
  t.same(
    stages,
    STAGES.filter((stage) => !['queued', 'detect', 'prompt'].includes(stage)),
    'each has a name',
  )
  t.same(Object.keys(timings), [...stages, 'total'])
  for (const [stage, steps] of [
    ['read', [1, 2, 3]],
    ['encode', [0, 1, 2, 3]],
    ['sample', [0, 1, 2, 3]],
  ] as const) {
    const reports = seen.filter((progress) => progress.stage === stage)
    t.same([...new Set(reports.map(({ step }) => step))], steps, stage)
    t.ok(
      reports.every((progress) => progress.steps === 3),
      `${stage}: of 3`,
    )
  }
  for (const [i, { step, stage, elapsedMs }] of seen.entries()) {
    const before = seen[i - 1]
    if (before)
      t.ok(elapsedMs >= before.elapsedMs && (stage !== before.stage || step >= before.step), `${stage} ${step}`)
  }
  const estimates = seen.filter(({ stage, step }) => stage === 'sample' && step > 0).map(({ etaMs }) => etaMs)
  t.equal(estimates.length, 3)
  t.ok(
    estimates.every((ms) => typeof ms === 'number' && ms >= 0),
    `the time left is known while sampling: ${estimates}`,
  )
})

t.test('memory: estimated, returned, and refused with an error when there is none', async (t) => {
  const addon = loadAddon()
  const small = model.estimate({ size: 64 })
  const large = model.estimate({ size: 128, references: 2 })
  t.ok(large.total > small.total)
  const held = addon.info().memory.heldBytes
  await model.restore(input, references, settings)
  t.equal(addon.info().memory.heldBytes, held, 'a restore gives back all it took')
  await using other = await IConFace.load(folder)
  await other.dispose()
  t.equal(addon.info().memory.heldBytes, held, 'so does a model')

  /** Lets every `stride`-th allocation of `work` fail in turn, until it makes fewer; gives its first whole result. */
  async function failing<T>(work: () => Promise<T>, stride = 1): Promise<T> {
    for (let n = 1; ; n += stride) {
      addon.failAllocation(n)
      const outcome = await work().catch((error: unknown) => error)
      addon.failAllocation(0)
      if (!(outcome instanceof Error)) {
        t.ok(n > 1, `reached allocation ${n}`)
        return outcome as T
      }
      t.match(outcome, { code: 'ERR_ICONFACE_OUT_OF_MEMORY', message: /MiB/ }, `allocation ${n}`)
      t.equal(addon.info().memory.heldBytes, held)
    }
  }
  equal(t, (await failing(() => model.restore(input, references, settings))).data, 'restored in the end')
  await (await failing(() => IConFace.load(folder), full ? 1 : 17)).dispose() // hundreds
})

t.test('the event loop and the file system go on during a restore', async (t) => {
  const order: string[] = []
  const stop = new AbortController()
  const sampling = new Promise<void>((resolve) => {
    const onProgress = ({ stage }: Progress) => (stage === 'sample' ? resolve() : undefined)
    model
      .restore(input, references, { steps: 1000, size: 64, signal: stop.signal, onProgress })
      .catch((error: { code: string }) => order.push(error.code))
  })
  await sampling
  for (let i = 0; i < 10; i++) {
    await readFile(__filename) // by libuv's threads
    await new Promise(setImmediate)
    order.push('read')
  }
  stop.abort()
  await model.restore(input, [], settings) // waits for its turn
  t.same(order, [...Array(10).fill('read'), 'ERR_ICONFACE_ABORTED'], 'files were read while a restore ran')
})

t.test('pictures that nobody else refers to stay alive', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const copy = () => ({ ...input, data: Uint8Array.from(input.data) })
  const restoring = model.restore(
    copy(),
    references.map((r) => ({ ...r, data: Uint8Array.from(r.data) })),
    settings,
  )
  for (let i = 0; i < 20; i++) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  equal(t, (await restoring).data, 'the job read the right pixels')
})

t.test('workers', async (t) => {
  const code = `
    const { workerData, parentPort } = require('node:worker_threads')
    const { IConFace } = require(workerData.dist)
    IConFace.load(workerData.folder, { threads: 1 }).then(async (model) => {
      for (;;) {
        const onProgress = ({ stage }) => parentPort.postMessage(stage)
        const { data } = await model.restore(workerData.input, workerData.references, { ...workerData.settings, onProgress })
        parentPort.postMessage(data)
      }
    })`
  const workerData = { dist: DIST, folder, input, references, settings }
  const start = () => new Worker(code, { eval: true, workerData, execArgv: [] })

  await t.test('each with its own model', async (t) => {
    const workers = [start(), start()]
    const first = (worker: Worker) =>
      new Promise<Uint8Array>((resolve, reject) =>
        worker.on('message', (data) => data instanceof Uint8Array && resolve(data)).once('error', reject),
      )
    for (const data of await Promise.all(workers.map(first))) equal(t, data, 'same bytes as here')
    await Promise.all(workers.map((worker) => worker.terminate()))
  })

  await t.test('ended in every stage of a restore', async (t) => {
    for (const stage of ['online', 'read', 'identity', 'encode', 'sample', 'decode', 'done']) {
      const worker = start()
      await new Promise<void>((resolve, reject) => {
        worker.on('online', () => stage === 'online' && resolve()).once('error', reject)
        worker.on(
          'message',
          (message) => (message === stage || (stage === 'done' && message instanceof Uint8Array)) && resolve(),
        )
      })
      t.equal(await worker.terminate(), 1, stage)
    }
    equal(t, (await model.restore(input, references, settings)).data, 'this thread goes on')
  })
})
