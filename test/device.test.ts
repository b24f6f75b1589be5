// A whole restore on every device beside the CPU: a GPU where there is one, and the emulated one. The CPU's
// float32 path is what they are compared with.
import t from 'tap'
import { IConFace, type Progress, type RestoreOptions } from '../dist/index.js'
import { loadAddon } from '../dist/native.js'
import { f32, OpContext } from '../dist/ops/index.js'
import { sameBytes } from './fixtures/bytes'
import { devices, needsEmulator } from './fixtures/tensors'
import { casesOn, full } from './fixtures/tier'
import { facelessModel, picture, tinyModel } from './fixtures/tiny'

const addon = loadAddon()
const found = devices()
if (found.length === 0) {
  t.plan(0, 'ICONFACE_TEST_DEVICES names no device')
  process.exit(0)
}

const input = picture(1, 40)
const references = [picture(2, 40)]
const SIZE = full ? 32 : 16
const settings: RestoreOptions = { steps: 1, size: SIZE, guidance: 3 }
/** Of two steps, so that one is captured and replayed; the quick tier's predicts for the prompt alone. */
const repeated: RestoreOptions = { ...settings, steps: 2, guidance: full ? 3 : 1 }

/** Largest and mean difference of two pictures, in levels of 255. */
function difference(a: Uint8Array, b: Uint8Array) {
  const all = a.map((v, i) => Math.abs(v - b[i]!))
  return { largest: Math.max(...all), mean: all.reduce((sum, v) => sum + v, 0) / all.length }
}

let folder = ''
let faceless = ''
t.before(async () => {
  folder = await tinyModel()
  faceless = await facelessModel()
})
t.afterEach(() => void delete process.env.ICONFACE_EMULATOR_SEED)

const held = () => {
  const { heldBytes, deviceHeldBytes } = addon.info().memory
  return { heldBytes, deviceHeldBytes }
}

t.test('a device that is not there is refused by name, and nothing else is taken', async (t) => {
  await t.rejects(IConFace.load(faceless, { device: 'cuda:99' }), {
    code: 'ERR_ICONFACE_DEVICE_UNAVAILABLE',
    message: /no NVIDIA driver|no GPU 99|no CUDA|NVIDIA driver supports/,
  })
})

for (const device of found) {
  t.test(`${device}: what the CPU restores`, async (t) => {
    // The quick tier's emulated device sees no faces: test/networks.test.ts proves their encoder there.
    const source = full || device !== 'cuda-emulated' ? folder : faceless
    await using cpu = await IConFace.load(source, { device: 'cpu', precision: 'f32' })
    const expected = await cpu.restore(input, references, settings)
    const limits = [
      ['f32', 1, 0.01],
      ['bf16', 12, 1.5],
    ] as const
    for (const [precision, largest, mean] of casesOn(device, limits, [0])) {
      await using model = await IConFace.load(source, { device, precision })
      t.equal(model.device, device)
      const face = await model.restore(input, references, settings)
      const error = difference(face.data, expected.data)
      t.ok(error.largest <= largest && error.mean <= mean, `${precision}: ${JSON.stringify(error)}`)
      t.equal(face.identity.after === null, source === faceless)
      const [after, wanted] = [face.identity.after ?? 0, expected.identity.after ?? 0]
      t.ok(Math.abs(after - wanted) < 0.01, `${precision}: the same similarity`)
    }
  })

  t.test(`${device}: the same seed gives the same bytes, whatever runs first`, async (t) => {
    await using model = await IConFace.load(faceless, { device })
    const results = []
    for (const seed of ['0', '7']) {
      process.env.ICONFACE_EMULATOR_SEED = seed
      results.push((await model.restore(input, [], repeated)).data)
    }
    for (const data of results) t.ok(Buffer.compare(data, results[0]!) === 0)
    const other = await model.restore(input, [], { ...repeated, seed: 1 })
    t.ok(Buffer.compare(other.data, results[0]!) !== 0, 'another seed, another picture')
  })

  t.test(`${device}: a restore can be aborted, and the next one works`, async (t) => {
    await using model = await IConFace.load(faceless, { device })
    const controller = new AbortController()
    const onProgress = ({ stage }: Progress) => (stage === 'sample' ? controller.abort() : undefined)
    const aborted = model.restore(input, references, { ...repeated, signal: controller.signal, onProgress })
    await t.rejects(aborted, { code: 'ERR_ICONFACE_ABORTED' })
    t.equal((await model.restore(input, [], settings)).data.length, SIZE * SIZE * 3)
  })

  t.test(`${device}: memory is counted and given back`, async (t) => {
    const before = held()
    const model = await IConFace.load(faceless, { device })
    const bytes = model.estimate({ size: SIZE, references: 1 })
    t.strictSame(Object.keys(bytes).sort(), ['deviceWeights', 'milliseconds', 'operations', 'total', 'workspace'])
    t.ok(bytes.deviceWeights! > 1e5 && bytes.workspace! > 1e5, JSON.stringify(bytes))
    t.equal(held().deviceHeldBytes - before.deviceHeldBytes, bytes.deviceWeights)
    const running = model.restore(input, references, settings)
    await Promise.all([t.rejects(running, { code: 'ERR_ICONFACE_DISPOSED' }), model.dispose()]) // at any moment
    t.strictSame(held(), before)
  })
}

t.test('a device answers a few questions before it is used', needsEmulator, async (t) => {
  process.env.ICONFACE_EMULATOR_CHECK = '1'
  const open = async (failing: number) => {
    const ops = new OpContext({ device: 'cuda-emulated', threads: 2 })
    addon.failCudaCall!(failing)
    try {
      return await ops.run('silu', { x: f32([1], [1]) })
    } finally {
      addon.failCudaCall!(0)
      await ops.dispose()
    }
  }
  for (const architecture of ['80', '90']) {
    process.env.ICONFACE_EMULATOR_ARCH = architecture
    await t.resolves(open(0), `as sm_${architecture}`)
  }
  // Calls 1 to 12 open the device; the questions follow.
  await t.rejects(open(40), {
    code: 'ERR_ICONFACE_DEVICE_UNAVAILABLE',
    message: /^cuda-emulated \(.*sm_90\) failed its first test, [a-z_ ()0-9]+: .*unspecified launch failure/,
  })
  delete process.env.ICONFACE_EMULATOR_ARCH
  delete process.env.ICONFACE_EMULATOR_CHECK
})

t.test('CUDA calls of a load and a restore fail: one clear error, and nothing is kept', needsEmulator, async (t) => {
  const before = held()
  let failed = 0
  // Every call costs what was done before it, so of a restore's hundreds some are tried, each 1.5 or 3 times as late.
  for (let n = 1; n < 10_000; n = Math.ceil(n * (full ? 1.5 : 3))) {
    addon.failCudaCall!(n)
    const error = await (async () => {
      await using model = await IConFace.load(faceless, { device: 'cuda-emulated', threads: 2 })
      await model.restore(input, [], { ...settings, steps: 2 })
    })().then(
      () => null,
      (error: unknown) => error as { code: string },
    )
    addon.failCudaCall!(0)
    t.strictSame(held(), before, `call ${n}: nothing is kept`)
    if (error === null) break
    t.match(error.code, /^ERR_ICONFACE_(CUDA|OUT_OF_MEMORY|DEVICE_UNAVAILABLE)$/, `call ${n}`)
    failed = n
  }
  t.ok(failed > 300, `${failed} is the last call that failed`)
})

t.test(
  'CUDA calls fail while a graph is captured, and while it is replayed: nothing stale is kept',
  needsEmulator,
  async (t) => {
    const quick: RestoreOptions = { steps: 1, size: 16, guidance: 1 }
    const graphs = () => addon.info().memory.graphs
    await using model = await IConFace.load(faceless, { device: 'cuda-emulated', threads: 2 })
    const restore = () =>
      model.restore(input, [], quick).then(
        ({ data }) => data,
        (error: unknown) => error as { code: string },
      )
    const expected = await restore()
    // Every try costs a restore or two before it, so the quick tier takes one call of a replay that is not among the
    // first.
    const every = (factor: number) => Array.from({ length: 12 }, (_, i) => factor ** i)
    const tries = [
      ['captured', 1, every(3), 60],
      ['replayed', 2, full ? every(4) : [12], 10],
    ] as const
    for (const [what, before, calls, most] of full ? tries : tries.slice(1)) {
      while (graphs() > 0) await new Promise((resolve) => setTimeout(resolve, 50)) // until the model is idle
      let failed = 0
      for (const n of calls) {
        for (let i = 0; i < before; i++) t.ok(sameBytes(await restore(), expected))
        addon.failCudaCall!(n)
        const outcome = await restore()
        addon.failCudaCall!(0)
        if (!('code' in outcome)) {
          t.ok(sameBytes(outcome, expected))
          break
        }
        t.match(outcome.code, /^ERR_ICONFACE_(CUDA|OUT_OF_MEMORY)$/, `${what}: call ${n}`)
        t.equal(graphs(), 0, 'the memory is gone, and the graphs captured in it')
        failed = n
      }
      t.ok(failed > most, `${what}: ${failed} is the last call that failed`)
    }
  },
)
