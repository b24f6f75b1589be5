// Both sides of every limit: the last value that is taken, and the first that is not.
import t from 'tap'
import { join } from 'node:path'
import { synthesizeCheckpoint } from '../dist/checkpoint/synthesize.js'
import { degrade, strengthFor } from '../dist/degrade/index.js'
import { syntheticCases } from '../dist/evaluate/index.js'
import { capturePictures } from '../dist/image.js'
import { allocateImage, IConFace } from '../dist/index.js'
import { checkLoadOptions, checkRestoreOptions, checkVariant } from '../dist/options.js'
import { portraitIdentity, portraitState, renderPortrait } from '../dist/portraits/index.js'
import { plain, scratchFolder, started, useFakeAddon } from './fixtures/fake'

const addon = useFakeAddon()
const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
const folder = join(scratchFolder(), 'tiny')
const image = plain(8, 8, 3)

type Limit = [what: string, taken: readonly unknown[], refused: readonly unknown[], use: (value: never) => unknown]

const restore = (name: string) => (value: never) => checkRestoreOptions({ [name]: value })
const load = (name: string) => (value: never) => checkLoadOptions({ [name]: value })
const raw = (size: object) => capturePictures([{ name: 'input', image: { ...plain(1, 1, 0), ...size } as never }], 1e9)
const identity = portraitIdentity(1)
const MOST = 2 ** 53 - 1

const LIMITS: Limit[] = [
  ['steps', [1, 1000], [0, 1001, 1.5], restore('steps')],
  ['guidance', [0, 1, 100], [-1e-9, NaN, Infinity], restore('guidance')],
  ['seed', [0, MOST, 0n, 2n ** 64n - 1n], [-1, MOST + 1, 0.5, -1n, 2n ** 64n], restore('seed')],
  ['size', [16, 32, 4096], [0, 15, 17, 24, 4097, 4112, -16], restore('size')],
  ['prompt', ['', 'x'.repeat(10_000), '😀'], ['x'.repeat(10_001), '\ud83d', 7], restore('prompt')],
  ['rng', ['torch-cuda', 'torch-cpu'], ['torch', ''], restore('rng')],
  ['structure', [true, false, 'one-route', 'residual'], ['full', 'none', null], (structure) => checkVariant({ structure })],
  ['threads', [1, 1024], [0, 1025, 1.5], load('threads')],
  ['maxPixels', [1, 0x3fff ** 2], [0, 0x3fff ** 2 + 1, 1.5], load('maxPixels')],
  ['maxReferences', [0, 64], [-1, 65, 0.5], load('maxReferences')],
  ['maxQueue', [0, 1e6], [-1, 1e6 + 1, 0.5], load('maxQueue')],
  ['device', ['auto', 'cpu', 'cuda', 'cuda:0', 'cuda:999', 'cuda-emulated'], ['cuda:', 'cuda:1000', 'CPU', ''], load('device')],
  ['precision', ['auto', 'f32', 'bf16', 'fp8'], ['fp16', ''], load('precision')],
  ['width of an allocated picture', [1, 65535], [0, 65536], (width) => allocateImage(width, 1)],
  ['height of an allocated picture', [1, 65535], [0, 65536], (height) => allocateImage(1, height)],
  ['channels of an allocated picture', [3, 4], [2, 5], (channels) => allocateImage(1, 1, channels)],
  ['width of raw pixels', [1, 65535], [0, 65536], (width) => raw({ width, data: new Uint8Array(3 * width) })],
  ['channels of raw pixels', [1, 2, 3, 4], [0, 5], (channels) => raw({ channels, data: new Uint8Array(channels) })],
  ['strength', [0, 16], [-1e-9, 16.0001, NaN], (strength) => degrade(image, { strength, seed: 1 })],
  ['seed of a degradation', [0, MOST], [-1, MOST + 1, 0.5, 1n], (seed) => degrade(image, { strength: 0, seed })],
  ['seed of a strength', [0, MOST], [-1, MOST + 1], (seed) => strengthFor('mild', seed)],
  ['seed of a person', [0, MOST], [-1, MOST + 1], (seed) => portraitIdentity(seed)],
  ['strength of a state', [0, 1], [-1e-9, 1.0001], (strength) => portraitState(1, strength)],
  ['size of a portrait', [64, 1024], [48, 63, 65, 1040], (size) => renderPortrait(identity, portraitState(1), size)],
  ['faces', [1, 100_000], [0, 100_001], (count) => syntheticCases({ count, severities: ['mild'] })],
  ['references of a case', [0, 8], [-1, 9], (references) => syntheticCases({ count: 1, references })],
  ['seed of cases', [0, 2 ** 31 - 1], [-1, 2 ** 31], (seed) => syntheticCases({ count: 1, seed })],
] // prettier-ignore

for (const [what, taken, refused, use] of LIMITS) {
  t.test(what, async (t) => {
    for (const value of taken) await t.resolves(async () => use(value as never), `${String(value).slice(0, 30)}`)
    for (const value of refused)
      await t.rejects(async () => use(value as never), { code }, `${String(value).slice(0, 30)}`)
  })
}

t.test('defaults', async (t) => {
  const { device, precision, threads, isa, maxPixels, maxReferences, maxQueue } = checkLoadOptions()
  t.same(
    { device, precision, threads, isa, maxPixels, maxReferences, maxQueue },
    { device: 'auto', precision: 'auto', threads: undefined, isa: undefined, maxPixels: 100e6, maxReferences: 8, maxQueue: 64 }, // prettier-ignore
  )
  const { variant, steps, guidance, seed, size, rng, prompt } = checkRestoreOptions()
  t.same(variant, { identity: true, structure: 'full', references: true })
  t.same([steps, guidance, seed, size, rng, prompt], Array(6).fill(undefined), "the checkpoint's own")
  t.match(allocateImage(2, 3), { width: 2, height: 3, channels: 3 })
})

t.test('limits of a model', async (t) => {
  await synthesizeCheckpoint('tiny', folder)

  await t.test('maxPixels', async (t) => {
    await using model = await IConFace.load(folder, { maxPixels: 12 })
    const running = model.restore(plain(4, 3, 1), [plain(3, 4, 1)])
    ;(await started(addon, 1)).finish()
    await t.resolves(running, '12 pixels')
    await t.rejects(model.restore(plain(13, 1, 1)), { code: 'ERR_ICONFACE_INVALID_IMAGE', message: /13 x 1 pixels/ })
    await t.rejects(model.restore(plain(1, 1, 1), [plain(13, 1, 1)]), { code: 'ERR_ICONFACE_INVALID_IMAGE' })
  })

  await t.test('maxReferences', async (t) => {
    for (const most of [0, 2]) {
      await using model = await IConFace.load(folder, { maxReferences: most })
      const count = addon.fake.jobs.length
      const running = model.restore(image, Array(most).fill(image))
      ;(await started(addon, count + 1)).finish()
      await t.resolves(running, `${most} references`)
      const error = { code, message: new RegExp(`at most ${most} pictures \\(maxReferences\\).* received ${most + 1}`) }
      await t.rejects(model.restore(image, Array(most + 1).fill(image)), error)
      t.ok(model.estimate({ references: most }).total > 0)
      t.throws(() => model.estimate({ references: most + 1 }), { code })
      t.throws(() => model.estimate({ references: -1 }), { code })
    }
  })

  await t.test('maxQueue', async (t) => {
    for (const most of [0, 1, 2]) {
      await using model = await IConFace.load(folder, { maxQueue: most })
      const count = addon.fake.jobs.length
      const all = Array.from({ length: 1 + most }, () => model.restore(image))
      const error = { code: 'ERR_ICONFACE_QUEUE_FULL', message: new RegExp(`\\(${most}\\)`) }
      await t.rejects(model.restore(image), error, `one runs, ${most} wait, one more is refused`)
      await t.rejects(model.embed(image), error)
      for (let i = 1; i <= all.length; i++) (await started(addon, count + i)).finish()
      await t.resolves(Promise.all(all))
    }
  })

  await t.test('seeds travel whole', async (t) => {
    await using model = await IConFace.load(folder)
    for (const seed of [0, MOST, 2n ** 64n - 1n]) {
      const count = addon.fake.jobs.length
      const running = model.restore(image, [], { seed })
      const { job, finish } = await started(addon, count + 1)
      t.equal(job.seed, BigInt(seed))
      finish.call(addon.fake.jobs.at(-1))
      t.equal((await running).seed, seed)
    }
  })
})
