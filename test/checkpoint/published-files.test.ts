// Layouts of files: a transformer in shards, the fp8 values that Black Forest Labs publish, an adapter under other
// names.
import t from 'tap'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { prepareModel } from '../../dist/prepare/prepare.js'
import { openCheckpoint } from '../../dist/checkpoint/open.js'
import { openSafetensors, readTensorBytes } from '../../dist/formats/safetensors.js'
import { IConFace } from '../../dist/index.js'
import { diffusersTransformer } from '../fixtures/diffusers'
import { picture, QUICK, scratch, tinyModel } from '../fixtures/tiny'
import { readTensors, rows, type Tensor, writeTensors } from '../fixtures/weights'

let tiny: string
let others: string[]
const file = (name: string) => join(tiny, `${name}.safetensors`)

t.before(async () => {
  tiny = await tinyModel()
  others = ['autoencoder', 'prompt_embeddings', 'adapter', 'adaface'].map(file)
})

async function pixels(folder: string): Promise<Buffer> {
  await using model = await IConFace.load(folder, { precision: 'f32', threads: 2 })
  return Buffer.from((await model.restore(picture(1), [picture(2)], QUICK)).data)
}

/** Writes shards as Hugging Face libraries do. */
async function writeShards(folder: string, tensors: readonly Tensor[], count: number, index: boolean) {
  mkdirSync(folder, { recursive: true })
  const name = (i: number) => `diffusion_pytorch_model-0000${i + 1}-of-0000${count}.safetensors`
  const weight_map: Record<string, string> = {}
  for (let i = 0; i < count; i++) {
    const part = tensors.filter((_, at) => at % count === i)
    await writeTensors(join(folder, name(i)), part)
    for (const tensor of part) weight_map[tensor.name] = name(i)
  }
  const text = JSON.stringify({ metadata: { total_size: 1 }, weight_map })
  if (index) writeFileSync(join(folder, 'diffusion_pytorch_model.safetensors.index.json'), text)
}

t.test('a transformer in shards, with and without an index, is the one in a file', async (t) => {
  const tensors = readTensors(file('transformer'))
  const expected = await pixels(tiny)
  for (const [name, layout, index] of [
    ['bfl', tensors, true],
    ['diffusers', diffusersTransformer(tensors), true],
    ['numbered', diffusersTransformer(tensors), false],
  ] as const) {
    const folder = join(scratch, `shards-${name}`)
    await writeShards(folder, layout, 3, index)
    const out = join(scratch, `model-${name}`)
    await prepareModel([folder, ...others], out)
    t.equal(openCheckpoint(out).files.length, 3 + 4)
    t.ok((await pixels(out)).equals(expected), name)
    const second = join(folder, 'diffusion_pytorch_model-00002-of-00003.safetensors')
    rmSync(second)
    const missing = { code: 'ERR_ICONFACE_FILE_NOT_FOUND', message: /00002-of-00003\.safetensors/ }
    t.throws(() => openCheckpoint(out), missing)
    await t.rejects(prepareModel([folder, ...others], `${out}-2`), missing)
  }
})

/** Value of an E4M3 byte, by its definition: 4 bits of exponent with bias 7, 3 of fraction, no infinity. */
function e4m3(bits: number): number {
  const [exponent, fraction] = [(bits >> 3) & 15, bits & 7]
  const size = exponent === 0 ? fraction * 2 ** -9 : (1 + fraction / 8) * 2 ** (exponent - 7)
  return bits & 128 ? -size : size
}

t.test('fp8 as it is published: values, scales by matrix and by row, what goes with them', async (t) => {
  const tensors = readTensors(file('transformer'))
  const f32 = (name: string, values: number[], shape: number[]): Tensor => ({
    name,
    dtype: 'F32',
    shape,
    data: new Uint8Array(Float32Array.from(values).buffer),
  })
  const [whole, byRow, plain] = [
    'double_blocks.0.img_attn.proj',
    'single_blocks.1.linear1',
    'double_blocks.1.txt_mlp.0',
  ]
  const rowScales = Array.from({ length: 1152 }, (_, row) => 2 ** -(7 + (row % 3)))
  let at = 0
  const fp8 = tensors.map((tensor): Tensor => {
    if (![whole, byRow, plain].some((module) => tensor.name === `${module}.weight`)) return tensor
    // All bytes but the two that are no number, in turn; small ones where no scale makes them so.
    const next = () => (tensor.name.startsWith(plain!) ? at++ % 40 : at++ % 255 === 127 ? 0 : at % 127)
    return { ...tensor, dtype: 'F8_E4M3', data: Uint8Array.from({ length: tensor.data.length / 2 }, next) }
  })
  const source = join(scratch, 'flux-2-klein-base-4b-fp8.safetensors')
  await writeTensors(source, [
    ...fp8,
    f32(`${whole}.weight_scale`, [2 ** -9], []),
    f32(`${whole}.input_scale`, [1], []),
    f32(`${byRow}.weight_scale`, rowScales, [1152, 1]),
  ])
  const out = join(scratch, 'model-fp8')
  const { parts } = await prepareModel([source, ...others], out)
  t.match(parts[0], { converted: 'from fp8', file: join(out, 'flux-2-klein-base-4b-bf16.safetensors') })
  const converted = openSafetensors(parts[0]!.file)
  t.same([...converted.tensors.keys()].sort(), tensors.map(({ name }) => name).sort())
  for (const [module, scale] of [
    [whole, () => 2 ** -9],
    [byRow, (row: number) => rowScales[row]!],
    [plain, () => 1],
  ] as const) {
    const { data, shape } = fp8.find(({ name }) => name === `${module}.weight`)!
    const halves = new Uint16Array(readTensorBytes(converted, `${module}.weight`).buffer)
    const value = (bits: number) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!
    const wrong = halves.findIndex((bits, i) => value(bits) !== e4m3(data[i]!) * scale(Math.floor(i / shape[1]!)))
    t.equal(wrong, -1, module)
  }
  const others16 = tensors.filter(({ name }) => ![whole, byRow, plain].some((module) => name === `${module}.weight`))
  t.ok(
    others16.every(({ name, data }) => Buffer.from(data).equals(readTensorBytes(converted, name))),
    'the others as they were',
  )
  await using model = await IConFace.load(out)
  t.equal(model.info.variant, 'Full')

  await writeTensors(source, [...fp8, f32(`${whole}.weight_scale`, [1, 2, 3], [3])])
  await t.rejects(prepareModel([source, ...others], `${out}-2`), {
    code: 'ERR_ICONFACE_INVALID_CHECKPOINT',
    message: /weight_scale is F32 \[3\], expected one F32 number/,
  })
})

t.test('an adapter under other names, by a file that says which', async (t) => {
  const tensors = readTensors(file('adapter'))
  const key = (name: string) => /^structure\.blocks\.(\d+)\.(key|value)\.up\.weight$/.exec(name)
  const theirs = tensors.flatMap((tensor): Tensor[] => {
    const [, block, which] = key(tensor.name) ?? []
    if (which === 'value') return []
    if (which === 'key') {
      const value = tensors.find(({ name }) => name === `structure.blocks.${block}.value.up.weight`)!
      const data = Buffer.concat([tensor.data, value.data])
      return [{ ...tensor, name: `net.layer${block}.kv_up`, shape: [2 * tensor.shape[0]!, tensor.shape[1]!], data }]
    }
    if (tensor.name === 'structure.base.queries')
      return [{ ...tensor, name: 'net.tokens', shape: [1, ...tensor.shape] }]
    if (tensor.name === 'structure.base.key.weight') {
      const half = tensor.shape[0]! / 2
      return [rows(tensor, 'net.k.0', 0, half), rows(tensor, 'net.k.1', half, 2 * half)]
    }
    return [{ ...tensor, name: tensor.name.replace(/^identity\.global\.in/, 'net.id.fc1') }]
  })
  const adapter = join(scratch, 'their-adapter.safetensors')
  await writeTensors(adapter, [...theirs, { ...theirs[0]!, name: 'ema.decay' }])
  const names = join(scratch, 'names.json')
  const map = {
    rules: [
      {
        from: 'net.layer{i}.kv_up',
        to: ['structure.blocks.{i}.key.up.weight', 'structure.blocks.{i}.value.up.weight'],
      },
      { from: 'net.tokens', to: 'structure.base.queries' },
      { from: ['net.k.0', 'net.k.1'], to: 'structure.base.key.weight' },
      { from: 'net.id.fc1.{x}', to: 'identity.global.in.{x}' },
    ],
    ignore: ['ema.{x}'],
  }
  writeFileSync(names, JSON.stringify(map))
  const out = join(scratch, 'model-names')
  const sources = ['transformer', 'autoencoder', 'prompt_embeddings', 'adaface'].map(file)
  await prepareModel(sources, out, { adapter, names })
  t.ok((await pixels(out)).equals(await pixels(tiny)))
  writeFileSync(names, JSON.stringify({ ...map, rules: map.rules.slice(1) }))
  const code = 'ERR_ICONFACE_INVALID_CHECKPOINT'
  t.throws(() => openCheckpoint(out), { code, message: /structure\.blocks\.0\.key\.up\.weight .*is missing/ })
  writeFileSync(names, JSON.stringify({ rules: [{ from: 'a.{x}.{y}', to: 'b' }] }))
  t.throws(() => openCheckpoint(out), { code, message: /names\.json: .*rules\[0\]\.from/ })
  await t.rejects(prepareModel(sources, `${out}-2`, { names }), { code: 'ERR_ICONFACE_INVALID_ARGUMENT' })
})

t.test("fp8 marks with ComfyUI's prefix are those without it", async (t) => {
  const tensors = readTensors(file('transformer'))
  const scaled = 'double_blocks.0.img_attn.proj'
  const number = (name: string): Tensor => ({
    name,
    dtype: 'F32',
    shape: [],
    data: new Uint8Array(Float32Array.of(2 ** -9).buffer),
  })
  const fp8 = tensors.map((tensor): Tensor => {
    if (tensor.name !== `${scaled}.weight`) return tensor
    return { ...tensor, dtype: 'F8_E4M3', data: Uint8Array.from({ length: tensor.data.length / 2 }, (_, i) => i % 120) }
  })
  const mark = (name: string): Tensor => ({ name, dtype: 'F8_E4M3', shape: [2], data: new Uint8Array(2) })
  const json: Tensor = { name: `${scaled}.comfy_quant`, dtype: 'U8', shape: [3], data: Buffer.from('{ }') }
  const scales: Tensor[][] = [
    [number(`${scaled}.weight_scale`), number(`${scaled}.input_scale`), json],
    [number(`${scaled}.scale_weight`), number(`${scaled}.scale_input`), mark('scaled_fp8')],
  ]
  let first: Buffer | undefined
  for (const [i, marks] of scales.entries()) {
    for (const prefix of ['', 'model.diffusion_model.', 'diffusion_model.']) {
      const source = join(scratch, `marks-${i}-${prefix}.sft`)
      await writeTensors(
        source,
        [...fp8, ...marks].map((x) => ({ ...x, name: prefix + x.name })),
      )
      const out = join(scratch, `model-marks-${i}-${prefix}`)
      const { parts } = await prepareModel([source, ...others], out)
      t.match(parts[0], { converted: 'from fp8' })
      const { tensors: placed, files } = openCheckpoint(out)
      const { file: at, offset, bytes } = placed[`transformer.${scaled}.weight`]!
      const values = readFileSync(files[at]!.path).subarray(offset, offset + bytes)
      t.ok((first ??= values).equals(values), `${prefix}${marks[0]!.name}`)
    }
  }
  t.notOk(first!.every((byte) => byte === 0))
})
