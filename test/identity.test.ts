// Faces that the encoder sees nothing in: an embedding of zero has no direction, and never stands for a person.
import t from 'tap'
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { toFloat32 } from '../dist/formats/dtype.js'
import { IConFace } from '../dist/index.js'
import { largestError } from './fixtures/tensors'
import { QUICK, scratch, tinyModel } from './fixtures/tiny'
import { plain } from './fixtures/fake'
import { readTensors, type Tensor, writeTensors } from './fixtures/weights'

/**
 * A face encoder that is blind to dark pictures: without biases and means, zeros stay zeros; a first layer of positive
 * weights makes only negative values of what is darker than grey, and its PReLU drops those.
 */
function blindToDark(tensor: Tensor): Tensor {
  const { name, dtype, data } = tensor
  if (/\.bias$|running_mean$|^input_layer\.2\.weight$/.test(name))
    return { ...tensor, data: new Uint8Array(data.length) }
  if (!/^input_layer\.[01]\.weight$/.test(name)) return tensor
  if (dtype !== 'BF16') throw new Error(`${name} is ${dtype}`)
  return { ...tensor, data: data.map((byte, i) => (i % 2 ? byte & 0x7f : byte)) } // without the sign
}

const [dark, bright, other] = [plain(48, 48, 10), plain(48, 48, 240), plain(48, 48, 200)]
let model: IConFace

t.before(async () => {
  const folder = join(scratch, 'blind')
  cpSync(await tinyModel(), folder, { recursive: true })
  const file = join(folder, 'adaface.safetensors')
  await writeTensors(file, readTensors(file).map(blindToDark))
  t.ok(readTensors(file).every(({ data, dtype }) => toFloat32(data, dtype).every(Number.isFinite)))
  model = await IConFace.load(folder, { threads: 2, precision: 'f32' })
})
t.teardown(() => model.dispose())

const zeros = (count: number) => Array<number>(count).fill(0)
const report = async (...pictures: (typeof dark)[]) =>
  (await model.restore(pictures[0]!, pictures.slice(1), QUICK)).identity

t.test('embed gives zeros, not NaN', async (t) => {
  const { embedding, norm } = await model.embed(dark)
  t.equal(norm, 0)
  t.same([...embedding], zeros(512))
  const seen = await model.embed(bright)
  t.ok(seen.norm > 0 && Math.abs(Math.hypot(...seen.embedding) - 1) < 1e-6)
})

t.test('a reference without a face counts as absent', async (t) => {
  const alone = await report(dark, bright)
  const { embedding } = await model.embed(bright)
  for (const [references, norms, weights] of [
    [
      [dark, bright],
      [0, alone.norms[0]!],
      [0, 1],
    ],
    [
      [bright, dark, dark],
      [alone.norms[0]!, 0, 0],
      [1, 0, 0],
    ],
  ] as const) {
    const identity = await report(bright, ...references)
    t.equal(identity.source, 'references')
    t.same([...identity.norms], norms)
    t.same([...identity.weights], weights)
    t.ok(largestError(identity.anchor!, embedding) < 1e-6, "the anchor is the other one's")
    t.ok(Math.abs(identity.before! - 1) < 1e-6, 'the input is that face, too')
    t.ok(Number.isFinite(identity.after))
  }
  const both = await report(dark, bright, other)
  t.ok(Math.abs(both.weights[0]! + both.weights[1]! - 1) < 1e-6 && both.weights.every((weight) => weight > 0))
  t.equal(both.before, 0, 'a picture without a face resembles nobody')
})

t.test('without any face among the references, the input stands for itself', async (t) => {
  const identity = await report(bright, dark, dark)
  t.match(identity, { source: 'degraded', before: null, after: null })
  t.same([...identity.norms, ...identity.weights], [0, 0, 0, 0])
  t.ok(largestError(identity.anchor!, (await model.embed(bright)).embedding) < 1e-6)
  t.same((await report(bright)).anchor, identity.anchor, 'as without references')
})

t.test('and without a face anywhere, nobody does', async (t) => {
  for (const references of [[], [dark], [dark, dark]])
    t.match(await report(dark, ...references), { source: 'none', anchor: null, before: null, after: null })
  const off = await model.restore(dark, [dark], { ...QUICK, variant: { identity: false } })
  t.ok(Buffer.from(off.data).equals((await model.restore(dark, [dark], QUICK)).data), 'as without the identity pathway')
})
