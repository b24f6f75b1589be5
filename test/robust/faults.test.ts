// What the system refuses is refused in turn: every object the addon makes, and a GPU's memory with little left of it.
// test/robust/memory.test.ts does the same for the core's memory, test/device.test.ts for CUDA calls, and
// `npm run soak -- --what allocations,objects,calls` for all of them without exception.
import t, { type Test } from 'tap'
import { IConFace, type RestoreOptions } from '../../dist/index.js'
import { loadAddon } from '../../dist/native.js'
import { sameBytes } from '../fixtures/bytes'
import { facelessModel, held, picture, QUICK, tinyModel } from '../fixtures/tiny'
import { full } from '../fixtures/tier'

const addon = loadAddon()
const input = picture(1)
const references = [picture(2), picture(3)]
const skip = !addon.info().emulator && 'this build holds no emulator, and so no way to make `new` fail'

/** Lets objects of `work` fail: the first, then each `factor` times as late, until it makes no more of them. */
async function objectsFail(t: Test, factor: number, work: () => Promise<unknown>, works: () => Promise<boolean>) {
  const before = held()
  let failures = 0
  for (let n = 1; ; n = Math.max(n + 1, Math.round(n * factor))) {
    addon.failNew!(n)
    const end = await work().then(
      () => 'done',
      (error: unknown) => error,
    )
    const left = addon.failNew!(0)
    if (left > 0) break
    failures++
    // What is lost may be worth nothing: a thread, a report of progress.
    if (end !== 'done') t.match(end, { code: 'ERR_ICONFACE_OUT_OF_MEMORY' }, `object ${n}`)
    t.equal(held(), before, `object ${n}: nothing is kept`)
    t.ok(await works(), `object ${n}: the next call works`)
  }
  t.ok(failures > 10, `${failures} objects failed`)
}

t.test('objects of the addon fail in turn', { skip }, async (t) => {
  const folder = await tinyModel()
  await using model = await IConFace.load(folder, { threads: 2 })
  const restore = (m = model) => m.restore(input, references, QUICK)
  const expected = (await restore()).data
  const works = async () => Buffer.compare((await restore()).data, expected) === 0
  const factor = full ? 1.02 : 1.5

  await t.test('in a restore', (t) => objectsFail(t, factor, restore, works))
  await t.test('in an embedding', (t) => objectsFail(t, factor, () => model.embed(input), works))
  await t.test('in a whole life: load, restore, dispose', async (t) => {
    const life = async () => {
      const other = await IConFace.load(folder, { threads: 2 })
      try {
        await restore(other)
      } finally {
        await other.dispose()
      }
    }
    await objectsFail(t, factor, life, works)
  })
  await t.test('dispose makes none', async (t) => {
    const before = held()
    const other = await IConFace.load(folder, { threads: 1 })
    await restore(other)
    addon.failNew!(1)
    await other.dispose()
    t.equal(addon.failNew!(0), 1, 'still to come')
    t.equal(held(), before)
  })
})

t.test('a device with too little memory left', { skip: !addon.info().emulator && 'no emulator' }, async (t) => {
  t.teardown(() => void delete process.env.ICONFACE_EMULATOR_MEMORY)
  const folder = await facelessModel()
  const job: RestoreOptions = { size: 16, steps: 1, guidance: 1 }
  const load = () => IConFace.load(folder, { device: 'cuda-emulated', threads: 2 })
  const life = async () => {
    await using model = await load()
    return (await model.restore(input, [], job)).data
  }
  const before = held()
  let need = 0
  {
    await using model = await load()
    need = model.estimate(job).total
  }
  const expected = await life()
  for (const percent of [0, 10, 50, 90]) {
    process.env.ICONFACE_EMULATOR_MEMORY = String(Math.floor((need * percent) / 100))
    await t.rejects(life(), { code: 'ERR_ICONFACE_OUT_OF_MEMORY', message: /MiB.*cuda-emulated/ }, `${percent} %`)
    t.equal(held(), before, 'nothing is kept')
    t.equal(addon.info().memory.deviceHeldBytes, 0, 'nor on the device')
  }
  process.env.ICONFACE_EMULATOR_MEMORY = String(need + (1 << 20)) // and the alignment of allocations
  t.ok(sameBytes(await life(), expected), 'what the estimate says is enough')
})
