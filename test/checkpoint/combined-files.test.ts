// Files that hold several networks, as ComfyUI's SaveCheckpoint writes them: used for all their parts.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readModelConfig } from '../../dist/checkpoint/config.js'
import { describePath } from '../../dist/prepare/describe.js'
import { openCheckpoint } from '../../dist/checkpoint/open.js'
import { prepareModel } from '../../dist/prepare/prepare.js'
import { IConFace } from '../../dist/index.js'
import { diffusersAutoencoder } from '../fixtures/diffusers'
import { checkpoint, dict, pickle, storage, tensor, text } from '../fixtures/pickle'
import { DEEP, smallTokenizer, textWeights, writeTextEncoder } from '../fixtures/qwen'
import { picture, QUICK, scratch, tinyModel } from '../fixtures/tiny'
import { readTensors, type Tensor, writeTensors, zeros } from '../fixtures/weights'

let tiny: string
let transformer: Tensor[]
let autoencoder: Tensor[]
const file = (name: string) => join(tiny, `${name}.safetensors`)
const prefixed = (tensors: readonly Tensor[], prefix: string) => tensors.map((x) => ({ ...x, name: prefix + x.name }))

t.before(async () => {
  tiny = await tinyModel()
  transformer = readTensors(file('transformer'))
  autoencoder = readTensors(file('autoencoder'))
})

async function pixels(folder: string): Promise<Buffer> {
  await using model = await IConFace.load(folder, { precision: 'f32', threads: 2 })
  return Buffer.from((await model.restore(picture(1), [picture(2)], QUICK)).data)
}

/** The bytes of a tensor of a loadable model. */
function bytesOf(folder: string, name: string): Buffer {
  const { tensors, files } = openCheckpoint(folder)
  const { file, offset, bytes } = tensors[name]!
  return readFileSync(files[file]!.path).subarray(offset, offset + bytes)
}

t.test('transformer and autoencoder of one file restore what they do apart', async (t) => {
  const expected = await pixels(tiny)
  const others = ['prompt_embeddings', 'adapter', 'adaface'].map(file)
  for (const [name, transformerPrefix, autoencoderPrefix, vae] of [
    ['comfy', 'model.diffusion_model.', 'vae.', autoencoder],
    ['first-stage', 'model.diffusion_model.', 'first_stage_model.', diffusersAutoencoder(autoencoder, 4)],
    ['bare', '', 'vae.', autoencoder],
  ] as const) {
    const source = join(scratch, `${name}.safetensors`)
    const strangers = [zeros('text_encoders.clip_l.logit_scale', []), zeros('model_ema.decay', [])]
    const more = name === 'comfy' ? strangers : []
    await writeTensors(source, [
      ...prefixed(transformer, transformerPrefix),
      ...prefixed(vae, autoencoderPrefix),
      ...more,
    ])
    const { parts, problems } = describePath(source)
    t.same(problems, [])
    t.same(parts.map(({ role, prefix }) => [role, prefix]).slice(0, 2), [
      ['transformer', transformerPrefix],
      ['autoencoder', autoencoderPrefix],
    ])
    const out = join(scratch, `model-${name}`)
    await prepareModel([source, ...others], out)
    const config = readModelConfig(out)
    t.same([config.transformer.file, config.autoencoder.file], [source, source])
    t.ok((await pixels(out)).equals(expected), name)
  }
})

t.test('one part alone, after its prefix', async (t) => {
  const source = join(scratch, 'vae-alone.safetensors')
  await writeTensors(source, prefixed(autoencoder, 'vae.'))
  t.match(describePath(source), { problems: [], parts: [{ role: 'autoencoder', prefix: 'vae.' }] })
  for (const prefix of ['transformer.', 'model.', 'module.', 'net.']) {
    const path = join(scratch, `${prefix}safetensors`)
    await writeTensors(path, prefixed(transformer, prefix))
    t.match(describePath(path), { problems: [], parts: [{ role: 'transformer', prefix }] })
  }
  const out = join(scratch, 'model-vae-alone')
  await prepareModel([source, ...['transformer', 'prompt_embeddings'].map(file)], out)
  t.ok(bytesOf(out, 'vae.encoder.conv_in.weight').equals(bytesOf(tiny, 'vae.encoder.conv_in.weight')))
})

t.test('its text encoder makes the embeddings, with a tokenizer beside it', async (t) => {
  const folder = join(scratch, 'with-text')
  const encoder = readTensors(await writeTextEncoder(join(folder, 'apart'), textWeights(3, DEEP), 'file'))
  mkdirSync(join(folder, 'one'))
  const source = join(folder, 'one', 'klein.safetensors')
  const wanted = encoder.filter(({ name }) => name !== 'lm_head.weight')
  const all = [...prefixed(transformer, 'model.diffusion_model.'), ...prefixed(autoencoder, 'vae.')]
  await writeTensors(source, [...all, ...prefixed(wanted, 'text_encoders.qwen3_4b.transformer.')])
  t.match(describePath(source), {
    problems: [],
    parts: [{ role: 'transformer' }, { role: 'autoencoder' }, { role: 'text encoder' }],
  })
  const missing = { code: 'ERR_ICONFACE_FILE_NOT_FOUND', message: /has no tokenizer/ }
  await t.rejects(prepareModel([source], join(folder, 'never')), missing)
  for (const place of ['apart', 'one'])
    writeFileSync(join(folder, place, 'tokenizer.json'), JSON.stringify(smallTokenizer()))
  const [whole, apart] = [join(folder, 'model-whole'), join(folder, 'model-apart')]
  await prepareModel([source], whole)
  await prepareModel([join(folder, 'apart'), file('transformer'), file('autoencoder')], apart)
  t.ok(bytesOf(whole, 'prompt.prompt').equals(bytesOf(apart, 'prompt.prompt')))
  t.match(describePath(whole), { kind: 'model', problems: [] })
  t.ok((await pixels(whole)).equals(await pixels(apart)))
})

t.test('what has to be converted of it gets a file by itself, the rest is named where it lies', async (t) => {
  const scaled = 'double_blocks.0.img_attn.proj.weight'
  const fp8 = transformer.map((x): Tensor => {
    if (x.name !== scaled) return x
    return { ...x, dtype: 'F8_E4M3', data: Uint8Array.from({ length: x.data.length / 2 }, (_, i) => i % 120) }
  })
  const source = join(scratch, 'bundle_fp8.safetensors')
  const mark: Tensor = { name: 'scaled_fp8', dtype: 'F8_E4M3', shape: [2], data: new Uint8Array(2) }
  await writeTensors(source, [...prefixed([...fp8, mark], 'model.diffusion_model.'), ...prefixed(autoencoder, 'vae.')])
  t.match(describePath(source), { problems: [], parts: [{ conversion: 'from fp8' }, { conversion: undefined }] })
  const out = join(scratch, 'model-bundle-fp8')
  const { parts } = await prepareModel([source, file('prompt_embeddings')], out)
  t.match(parts[0], { converted: 'from fp8', file: join(out, 'bundle-transformer-bf16.safetensors') })
  t.match(parts[1], { converted: undefined, file: source })
  t.ok(bytesOf(out, 'vae.encoder.conv_in.weight').equals(bytesOf(tiny, 'vae.encoder.conv_in.weight')))
  t.ok(bytesOf(out, 'transformer.img_in.weight').equals(bytesOf(tiny, 'transformer.img_in.weight')))
})

t.test("in PyTorch's form, each part is converted by itself", async (t) => {
  const all = [...prefixed(transformer, 'model.diffusion_model.'), ...prefixed(autoencoder, 'vae.')]
  const shorts = all.map((x) => ({ ...x, data: Buffer.from(x.data) }))
  const strides = (shape: readonly number[]) => shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1))
  const items = shorts.flatMap(({ name, shape, dtype }, i) => {
    const type = Buffer.from(`ctorch\n${dtype === 'BF16' ? 'BFloat16Storage' : 'FloatStorage'}\n`)
    const count = shape.reduce((a, b) => a * b, 1)
    return [text(name), tensor(storage(count, String(i), type), [...shape], strides(shape))]
  })
  const source = join(scratch, 'bundle.ckpt')
  writeFileSync(
    source,
    checkpoint(
      pickle(dict(...items)),
      shorts.map(({ data }) => data),
    ),
  )
  const out = join(scratch, 'model-bundle-pytorch')
  const { parts } = await prepareModel([source, ...['prompt_embeddings', 'adapter', 'adaface'].map(file)], out)
  t.match(parts.slice(0, 2), [{ converted: 'from PyTorch' }, { converted: 'from PyTorch' }])
  t.ok((await pixels(out)).equals(await pixels(tiny)))
})

t.test('a model folder may name it by hand', async (t) => {
  const folder = join(scratch, 'by-hand')
  cpSync(tiny, folder, { recursive: true })
  const source = join(folder, 'all.safetensors')
  await writeTensors(source, [...prefixed(transformer, 'model.diffusion_model.'), ...prefixed(autoencoder, 'vae.')])
  const json = JSON.parse(readFileSync(join(folder, 'iconface.json'), 'utf8')) as Record<string, object>
  for (const part of ['transformer', 'autoencoder']) json[part] = { ...json[part], file: 'all.safetensors' }
  writeFileSync(join(folder, 'iconface.json'), JSON.stringify(json))
  t.match(describePath(folder), { problems: [] })
  t.ok((await pixels(folder)).equals(await pixels(tiny)))
})
