// Checkpoint files that are wrong, or change while they are in use; weights that are not finite; results on disk.
import t, { type Test } from 'tap'
import fs from 'node:fs'
import { join } from 'node:path'
import { IConFace } from '../../dist/index.js'
import { loadAddon } from '../../dist/native.js'
import { sameBytes } from '../fixtures/bytes'
import { held, picture, QUICK, scratch, tinyModel } from '../fixtures/tiny'
import { full } from '../fixtures/tier'
import { readTensors, writeTensors, type Tensor } from '../fixtures/weights'

const input = picture(1)
const references = [picture(2)]
const FILES = ['transformer', 'autoencoder', 'adapter', 'adaface', 'prompt_embeddings'].map((f) => `${f}.safetensors`)
let original: string
let expected: Uint8Array
let count = 0

t.before(async () => {
  original = await tinyModel()
  await using model = await IConFace.load(original, { threads: 2 })
  expected = (await model.restore(input, references, QUICK)).data
})

/** A copy of the model to spoil. */
function copy(): string {
  const folder = join(scratch, `copy-${count++}`)
  fs.cpSync(original, folder, { recursive: true })
  return folder
}

/** Rewrites one file of a model with its tensors changed. */
async function change(folder: string, file: string, edit: (tensor: Tensor) => Tensor | null): Promise<void> {
  const path = join(folder, file)
  const tensors = readTensors(path).map(edit)
  await writeTensors(
    path,
    tensors.filter((tensor) => tensor !== null),
  )
}

async function restores(t: Test, model: IConFace): Promise<void> {
  const { data } = await model.restore(input, references, QUICK)
  t.ok(Buffer.compare(data, expected) === 0, 'restores as before')
}

t.test('a file cut or written to while the model is loaded is noticed before the next job', async (t) => {
  const spoil: Record<string, (path: string) => void> = {
    'cut in half': (path) => fs.truncateSync(path, fs.statSync(path).size >> 1),
    emptied: (path) => fs.truncateSync(path, 0),
    grown: (path) => fs.appendFileSync(path, 'x'),
    'written to': (path) => fs.writeFileSync(path, fs.readFileSync(path).reverse()),
  }
  for (const [i, [what, harm]] of Object.entries(spoil).entries()) {
    const folder = copy()
    await using model = await IConFace.load(folder, { threads: 1 })
    await restores(t, model)
    await new Promise((resolve) => setTimeout(resolve, 20)) // coarse clocks of file systems
    harm(join(folder, FILES[i]!))
    const error = { code: 'ERR_ICONFACE_INVALID_CHECKPOINT', message: /was changed while it was in use.*load it again/ }
    await t.rejects(model.restore(input, references, QUICK), error, what)
    await t.rejects(model.embed(input), error, what)
  }
})

t.test('files removed or replaced while the model is loaded do not matter to it', async (t) => {
  const folder = copy()
  await using model = await IConFace.load(folder, { threads: 1 })
  for (const file of FILES) fs.rmSync(join(folder, file))
  await restores(t, model)
  await t.rejects(IConFace.load(folder), { code: 'ERR_ICONFACE_FILE_NOT_FOUND', message: /safetensors/ })
  for (const file of FILES) fs.writeFileSync(join(folder, file), 'something else')
  await restores(t, model)
  await t.rejects(IConFace.load(folder), { code: 'ERR_ICONFACE_INVALID_CHECKPOINT' })
})

t.test('a file cut anywhere is refused at loading, by name', async (t) => {
  const before = held()
  for (const file of FILES) {
    const folder = copy()
    const path = join(folder, file)
    const size = fs.statSync(path).size
    for (const length of [0, 1, 7, 8, 9, 100, size >> 1, size - 1]) {
      fs.writeFileSync(path, fs.readFileSync(join(original, file)).subarray(0, length))
      await t.rejects(IConFace.load(folder), { code: 'ERR_ICONFACE_INVALID_CHECKPOINT', message: file }, `${length}`)
    }
  }
  t.equal(held(), before)
})

t.test('tensors that are missing, misshapen or of a wrong type are all named at once', async (t) => {
  const folder = copy()
  await change(folder, 'transformer.safetensors', (tensor) => {
    if (tensor.name === 'double_blocks.0.img_attn.proj.weight') return null
    if (tensor.name === 'time_in.in_layer.weight') return { ...tensor, shape: tensor.shape.toReversed() }
    return tensor
  })
  const { code, message } = (await IConFace.load(folder).catch((error: unknown) => error)) as Error & { code: string }
  t.equal(code, 'ERR_ICONFACE_INVALID_CHECKPOINT')
  t.match(message, 'double_blocks.0.img_attn.proj.weight')
  t.match(message, 'time_in.in_layer.weight')
})

t.test('tensors may start at any byte', async (t) => {
  for (const odd of [1, 2, 3]) {
    const folder = copy()
    for (const file of FILES) {
      const bytes = fs.readFileSync(join(folder, file))
      const length = Number(bytes.readBigUInt64LE())
      const size = Buffer.alloc(8)
      size.writeBigUInt64LE(BigInt(length + odd))
      fs.writeFileSync(
        join(folder, file),
        Buffer.concat([size, bytes.subarray(8, 8 + length), Buffer.alloc(odd, ' '), bytes.subarray(8 + length)]),
      )
    }
    for (const precision of ['bf16', 'f32'] as const) {
      await using plain = await IConFace.load(original, { threads: 2, precision })
      await using shifted = await IConFace.load(folder, { threads: 2, precision })
      const [a, b] = [plain, shifted].map((model) => model.restore(input, references, QUICK))
      t.ok(sameBytes((await b!).data, (await a!).data), `${odd} bytes further, ${precision}`)
    }
  }
})

t.test('weights that are not finite are noticed, with the stage', async (t) => {
  const cases: [file: string, tensor: string, message: RegExp][] = [
    ['adaface', 'input_layer.0.weight', /face encoder/],
    ['autoencoder', 'encoder.conv_in.weight', /encoder gave a latent/],
    ['transformer', 'final_layer.linear.weight', /after step 1 of 2/],
    ['autoencoder', 'decoder.conv_out.bias', /decoder gave a pixel/],
  ]
  for (const [file, name, message] of cases) {
    const folder = copy()
    await change(folder, `${file}.safetensors`, (tensor) =>
      tensor.name === name ? { ...tensor, data: tensor.data.map(() => 0xff) } : tensor,
    )
    await using model = await IConFace.load(folder, { threads: 1 })
    const before = held()
    await t.rejects(model.restore(input, references, QUICK), { code: 'ERR_ICONFACE_NUMERICAL', message }, name)
    t.equal(held(), before)
  }
})

t.test('weights that are finite and overflow on the way are noticed, with the step', async (t) => {
  const folder = copy()
  // The largest bfloat16, of either sign in no order that sums could cancel in.
  const largest = (byte: number) => (byte % 2 === 0 ? 0x7f : ((byte * 2654435761) >>> 16) & 1 ? 0xff : 0x7f)
  await change(folder, 'transformer.safetensors', (tensor) =>
    tensor.name === 'final_layer.linear.weight' ? { ...tensor, data: tensor.data.map((_, i) => largest(i)) } : tensor,
  )
  const job = { steps: 3, size: 16, guidance: 1 }
  const expected = { code: 'ERR_ICONFACE_NUMERICAL', message: 'the latent is not finite after step 1 of 3' }
  for (const device of ['cpu', ...(full && loadAddon().info().emulator ? ['cuda-emulated'] : [])]) {
    await using model = await IConFace.load(folder, { device, threads: 2 })
    const before = held()
    await t.rejects(model.restore(input, [], job), expected, device)
    t.equal(held(), before)
  }
})

t.test('a result that cannot be written leaves nothing behind', async (t) => {
  const folder = fs.mkdtempSync(join(scratch, 'out-'))
  await using model = await IConFace.load(original, { threads: 1 })
  const result = await model.restore(input, [], QUICK)
  await t.rejects(result.toFile(join(folder, 'none', 'x.png')), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
  await t.rejects(result.toFile(join(folder, 'x.doc')), { code: 'ERR_ICONFACE_INVALID_ARGUMENT' })
  fs.mkdirSync(join(folder, 'folder.png'))
  await t.rejects(result.toFile(join(folder, 'folder.png')), { code: 'ERR_ICONFACE_IO' })
  t.same(fs.readdirSync(folder), ['folder.png'])
  await Promise.all(Array.from({ length: 8 }, () => result.toFile(join(folder, 'same.png'))))
  t.same(fs.readdirSync(folder).sort(), ['folder.png', 'same.png'])
})
