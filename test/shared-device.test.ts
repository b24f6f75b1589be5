// Which names of a device mean the same to the models that restore() shares, on a machine with GPUs, over a fake addon.
import t from 'tap'
import { join } from 'node:path'
import { synthesizeCheckpoint } from '../dist/prepare/synthesize.js'
import { restore } from '../dist/index.js'
import { plain, scratchFolder, started, useFakeAddon } from './fixtures/fake'

process.env.FAKE_GPUS = '2'
const addon = useFakeAddon()
const { fake } = addon
const model = join(scratchFolder(), 'tiny')
const face = plain(16, 16, 7)

t.before(() => synthesizeCheckpoint('tiny', model))

async function finish(device: string): Promise<void> {
  const restoring = restore(face, [], { model, device })
  ;(await started(addon, fake.jobs.length + 1)).finish()
  await restoring
}

const NAMES = ['auto', 'cuda', 'cuda:0', 'cuda:00']

for (const first of NAMES) {
  t.test(`${first} first: all names of the first GPU are one model`, async (t) => {
    fake.sessions.length = fake.jobs.length = 0
    const all = [first, ...NAMES].map((device) => restore(face, [], { model, device }))
    for (let job = 1; job <= all.length; job++) (await started(addon, job)).finish()
    await Promise.all(all)
    for (const device of NAMES) await finish(device)
    t.equal(fake.sessions.length, 1)
    t.equal(fake.sessions[0]!.options.device, first)
    for (const device of ['cpu', 'cuda:1', 'cuda:1', 'cpu']) await finish(device)
    t.same(
      fake.sessions.map(({ options }) => options.device),
      [first, 'cpu', 'cuda:1'],
    )
    await restore.dispose()
    t.ok(fake.sessions.every(({ disposed }) => disposed === 1))
  })
}

t.test('where the load of a named GPU fails, auto tries by itself', async (t) => {
  fake.sessions.length = fake.jobs.length = 0
  let fail!: (error: Error) => void
  fake.loading = new Promise((_, reject) => (fail = reject))
  const named = restore(face, [], { model, device: 'cuda:0' })
  const auto = restore(face, [], { model, device: 'auto' })
  fail(addon.coded('ERR_ICONFACE_DEVICE_UNAVAILABLE', 'no driver'))
  fake.loading = null
  await t.rejects(named, { code: 'ERR_ICONFACE_DEVICE_UNAVAILABLE' })
  ;(await started(addon, 1)).finish()
  await auto
  t.equal(fake.sessions.length, 2)
  await restore.dispose()
})
