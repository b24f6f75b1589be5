// precision 'fp8': who may use it, what it costs in accuracy and saves in memory, on every device that multiplies e4m3.
import t from 'tap'
import { join } from 'node:path'
import { openCheckpoint } from '../dist/checkpoint/open.js'
import { IConFace } from '../dist/index.js'
import { loadAddon } from '../dist/native.js'
import { type Checkpoint, Networks } from '../dist/networks/index.js'
import { i32, toFloat32 } from '../dist/ops/index.js'
import { eachOf } from './fixtures/each'
import { full } from './fixtures/tier'
import { devices, needsDevice, needsEmulator, numbers, relativeError } from './fixtures/tensors'
import { facelessModel, picture, tinyModel } from './fixtures/tiny'

const MODEL = join(__dirname, '..', 'models', 'tiny')
const code = 'ERR_ICONFACE_UNSUPPORTED'

function held() {
  const { heldBytes, deviceHeldBytes } = loadAddon().info().memory
  return { heldBytes, deviceHeldBytes }
}

t.test('what does not multiply e4m3 is refused by name, and nothing else is taken', async (t) => {
  const before = held()
  const onCpu = /precision 'fp8' needs a GPU of compute capability 8\.9 or later .* not the CPU: use precision 'bf16'/
  await t.rejects(IConFace.load(MODEL, { device: 'cpu', precision: 'fp8' }), { code, message: onCpu })
  await t.rejects(Networks.load(MODEL, { precision: 'fp8' }), { code, message: onCpu })
  await t.rejects(IConFace.load(MODEL, { precision: 'fp4' as never }), {
    code: 'ERR_ICONFACE_INVALID_ARGUMENT',
    message: /'auto' or 'f32' or 'bf16' or 'fp8' for precision/,
  })
  t.strictSame(held(), before, 'nothing is kept')
})

t.test('nor is a GPU that is too old', needsEmulator, async (t) => {
  const before = held()
  process.env.ICONFACE_EMULATOR_ARCH = '80'
  const old = IConFace.load(MODEL, { device: 'cuda-emulated', precision: 'fp8' })
  const message = /not cuda-emulated \(emulated on the CPU, sm_80\): use precision 'bf16'/
  await t.rejects(old, { code, message })
  delete process.env.ICONFACE_EMULATOR_ARCH
  t.strictSame(held(), before, 'nothing is kept')
})

t.test('such a device is asked one question more', needsEmulator, async (t) => {
  process.env.ICONFACE_EMULATOR_CHECK = '1'
  const folder = await tinyModel()
  const load = async (precision: 'bf16' | 'fp8', failing: number) => {
    const { failCudaCall } = loadAddon()
    failCudaCall!(failing)
    try {
      const model = await IConFace.load(folder, { device: 'cuda-emulated', precision })
      await model.dispose()
      return ''
    } catch (error) {
      return (error as Error).message
    } finally {
      failCudaCall!(0)
    }
  }
  for (const architecture of ['89', '90']) {
    process.env.ICONFACE_EMULATOR_ARCH = architecture
    t.equal(await load('fp8', 0), '', `as sm_${architecture}`)
  }
  /** What a load asks about, found by letting one CUDA call after the other fail. */
  const questions = async (precision: 'bf16' | 'fp8') => {
    const names = new Set<string | undefined>()
    for (let call = 20; call < 120; call += 4) {
      names.add(/failed its first test, ([^:]+):/.exec(await load(precision, call))?.[1])
    }
    return names
  }
  t.notOk((await questions('bf16')).has('linear (e4m3)'))
  t.ok((await questions('fp8')).has('linear (e4m3)'))
  delete process.env.ICONFACE_EMULATOR_ARCH
  delete process.env.ICONFACE_EMULATOR_CHECK
})

t.test('auto never chooses it', async (t) => {
  for (const device of ['cpu', ...devices()]) {
    await using model = await IConFace.load(MODEL, { device })
    t.equal(model.precision, 'bf16', device)
  }
})

/** The devices that do, at least one: real GPUs may be too old. */
async function able(): Promise<readonly string[]> {
  const found = []
  for (const device of devices()) {
    const refusal = await IConFace.load(MODEL, { device, precision: 'fp8' }).then(
      (model) => model.dispose(),
      (error: { code: string }) => error,
    )
    if (device === 'cuda-emulated' || refusal === undefined) found.push(device)
  }
  return eachOf(found, 'device that multiplies e4m3')
}

t.test('a whole restore is close to f32, repeatable, and the weights take less memory', needsDevice, async (t) => {
  // Without faces, which cost the emulator most: the encoder computes in f32 in every precision.
  const folder = await facelessModel(MODEL)
  const size = full ? 32 : 16
  const job = { size, steps: 1, guidance: 1, seed: 1 } // guidance would add to the errors of rounding
  await using cpu = await IConFace.load(folder, { device: 'cpu', precision: 'f32' })
  const exact = (await cpu.restore(picture(1), [], job)).data
  for (const device of await able()) {
    await using model = await IConFace.load(folder, { device, precision: 'fp8' })
    await using wide = await IConFace.load(folder, { device, precision: 'bf16' })
    t.equal(model.precision, 'fp8')
    const restored = (await model.restore(picture(1), [], job)).data
    const levels = Array.from(restored, (level, i) => Math.abs(level - exact[i]!))
    const mean = levels.reduce((a, b) => a + b, 0) / levels.length
    t.ok(mean > 0 && mean < 4 && Math.max(...levels) < 40, `${device}: mean ${mean}, largest ${Math.max(...levels)}`)
    const again = (await model.restore(picture(1), [], job)).data
    t.ok(Buffer.compare(again, restored) === 0, `${device}: the same bytes again`)
    // The blocks' matrices, by their shapes: hidden 160, MLP 480, 2 double blocks of two streams and 4 single ones.
    const elements = 4 * (480 * 160 + 160 * 160 + 960 * 160 + 160 * 480) + 4 * (1440 * 160 + 160 * 640)
    const rows = 4 * (480 + 160 + 960 + 160) + 4 * (1440 + 160)
    const weights = (of: IConFace) => of.estimate({ size }).deviceWeights!
    const saved = weights(wide) - weights(model)
    t.equal(saved, elements - 4 * rows, `${device}: a byte less for every weight, four more for a row`)
  }
})

t.test('a matrix that a LoRA changes is merged, then quantised, and held once', needsDevice, async (t) => {
  const checkpoint = openCheckpoint(await tinyModel())
  // Any two matrices of the right shapes: [rank, D] and [D, rank].
  const [a, b] = ['down', 'up'].map((part) => `adapter.structure.blocks.0.query.${part}.weight`) as [string, string]
  const changed = { ...checkpoint, loras: [{ module: 'single_blocks.0.linear1', a, b, factor: 3 }] }
  const operands = {
    x: numbers(5).tensor([9, 128]),
    mod: numbers(6).tensor([384]),
    ids: i32(
      [9, 4],
      new Int32Array(36).map((_, i) => i % 5),
    ),
  }
  for (const device of await able()) {
    const run = async (source: Checkpoint, precision: 'bf16' | 'fp8') => {
      const before = held().deviceHeldBytes
      await using networks = await Networks.load(source, { device, precision })
      const loaded = held().deviceHeldBytes
      const { out } = await networks.run('single_block', operands, { text: 3, ropeAxes: [16, 16, 16, 16] })
      t.equal(held().deviceHeldBytes, loaded, `${precision}: a run quantises nothing again`)
      return { bytes: loaded - before, values: toFloat32(out) }
    }
    const [plain, merged] = [await run(checkpoint, 'fp8'), await run(changed, 'fp8')]
    const expected = await run(changed, 'bf16')
    t.equal(merged.bytes, plain.bytes, `${device}: no more memory than without it`)
    const error = relativeError(merged.values, expected.values)
    t.ok(error > 1e-3 && error < 0.1, `${device}: ${error} from bf16`)
    t.ok(relativeError(plain.values, expected.values) > 2 * error, `${device}: the change is in it`)
  }
})
