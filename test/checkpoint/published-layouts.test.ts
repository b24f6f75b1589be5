// The same weights in other people's layouts restore the same pixels.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { describePath } from '../../dist/prepare/describe.js'
import { autoencoderTensors } from '../../dist/checkpoint/expected.js'
import { openCheckpoint } from '../../dist/checkpoint/open.js'
import { PRESETS, synthesizeCheckpoint } from '../../dist/prepare/synthesize.js'
import { IConFace, type ImageInput } from '../../dist/index.js'
import { diffusersAutoencoder, diffusersTransformer } from '../fixtures/diffusers'
import { diffusers, faceIr, kohya, loraDown, musubi, scalar, xlabs } from '../fixtures/lora'
import { numbers } from '../fixtures/mutate'
import { randomWeights } from '../fixtures/random-weights'
import { numbers as seeded } from '../fixtures/tensors'
import { readTensors, type Tensor, writeTensors, zeros } from '../fixtures/weights'

const scratch = t.testdir({})
const native = join(scratch, 'native')
const published = join(scratch, 'published')

/** A picture of noise. */
function picture(seed: number): ImageInput {
  const random = numbers(seed)
  return { data: Uint8Array.from({ length: 64 * 64 * 3 }, () => random(256)), width: 64, height: 64, channels: 3 }
}

async function restoredPixels(folder: string, options = {}): Promise<Uint8Array> {
  await using model = await IConFace.load(folder)
  return (await model.restore(picture(1), [picture(2)], { seed: 5, steps: 2, ...options })).data
}

t.before(async () => {
  await synthesizeCheckpoint('tiny', native)
  cpSync(native, published, { recursive: true })
  const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1)
  const transformer = diffusersTransformer(readTensors(join(native, 'transformer.safetensors')))
  const autoencoder = diffusersAutoencoder(readTensors(join(native, 'autoencoder.safetensors')), 4)
  const face = readTensors(join(native, 'adaface.safetensors')).map((x) => ({ ...x, name: `model.${x.name}` }))
  await writeTensors(join(published, 'transformer.safetensors'), transformer.sort(byName))
  await writeTensors(join(published, 'autoencoder.safetensors'), autoencoder.sort(byName))
  await writeTensors(join(published, 'adaface.safetensors'), [...face, zeros('head.kernel', [3])].sort(byName))
})

t.test('diffusers transformer and autoencoder, AdaFace training checkpoint', async (t) => {
  t.ok(openCheckpoint(published).joins.length > 0, 'rows have to be joined')
  const pixels = await restoredPixels(native)
  t.ok(new Set(pixels).size > 100, 'the picture has structure')
  t.ok(Buffer.from(await restoredPixels(published)).equals(Buffer.from(pixels)))
})

t.test('an autoencoder with a small decoder, by both names', async (t) => {
  const sizes = { ...PRESETS.tiny.autoencoder, decoderChannels: [32, 32, 64, 32] }
  const weights: Tensor[] = [...randomWeights(3, autoencoderTensors(sizes))].map(([name, { shape, v }]) => {
    return { name, dtype: 'F32', shape, data: new Uint8Array(Float32Array.from(v).buffer) }
  })
  const restored: Buffer[] = []
  for (const [name, tensors] of [
    ['bfl', weights],
    ['diffusers', diffusersAutoencoder(weights, 4)],
  ] as const) {
    const folder = join(scratch, `small-decoder-${name}`)
    cpSync(native, folder, { recursive: true })
    await writeTensors(join(folder, 'autoencoder.safetensors'), tensors)
    t.same(openCheckpoint(folder).numbers['vae.decoderChannels'], sizes.decoderChannels)
    t.match(describePath(join(folder, 'autoencoder.safetensors')), { problems: [], parts: [{ sizes }] })
    restored.push(Buffer.from(await restoredPixels(folder)))
  }
  t.ok(restored[0]!.equals(restored[1]!))
  t.ok(new Set(restored[0]).size > 10)
  const half = weights.filter(({ name }) => name.startsWith('decoder.'))
  for (const tensors of [half, half.map((x) => ({ ...x, name: x.name.slice('decoder.'.length) }))]) {
    const file = join(scratch, 'small_decoder.safetensors')
    await writeTensors(file, tensors)
    const message = /decoder alone.*full_encoder_small_decoder\.safetensors/
    t.match(describePath(file), { parts: [{ role: 'autoencoder' }], problems: [{ message }] })
  }
})

t.test('a LoRA of zeros changes nothing, another one does', async (t) => {
  const pixels = Buffer.from(await restoredPixels(published))
  const module = 'double_blocks.0.img_attn.qkv'
  const config = JSON.parse(readFileSync(join(published, 'iconface.json'), 'utf8')) as Record<string, unknown>
  writeFileSync(join(published, 'iconface.json'), JSON.stringify({ ...config, lora: [{ file: 'lora.safetensors' }] }))
  const ones = new Uint8Array(new Float32Array(384 * 4).fill(0.1).buffer)
  const a = { ...zeros(`${module}.lora_A.weight`, [4, 128]), data: ones.subarray(0, 4 * 128 * 4) }
  const b = zeros(`${module}.lora_B.weight`, [384, 4])
  await writeTensors(join(published, 'lora.safetensors'), [a, b])
  t.ok(Buffer.from(await restoredPixels(published)).equals(pixels))
  await writeTensors(join(published, 'lora.safetensors'), [a, { ...b, data: ones }])
  t.notOk(Buffer.from(await restoredPixels(published)).equals(pixels))
})

t.test('the same LoRA in every layout restores the same pixels', async (t) => {
  const folder = join(scratch, 'layouts')
  cpSync(native, folder, { recursive: true })
  const { normal } = seeded(7)
  const matrix = (shape: number[], scale: number): Tensor => {
    const values = Float32Array.from({ length: shape[0]! * shape[1]! }, () => scale * normal())
    return { name: '', dtype: 'F32', shape, data: new Uint8Array(values.buffer) }
  }
  const D = 128
  const sizes: [string, number, number][] = [
    ['double_blocks.0.img_attn.qkv', 3 * D, D],
    ['double_blocks.1.txt_attn.qkv', 3 * D, D],
    ['double_blocks.1.img_attn.proj', D, D],
    ['double_blocks.1.img_mlp.0', 768, D],
    ['single_blocks.0.linear1', 1152, D],
    ['single_blocks.1.linear2', D, 512],
    ['final_layer.adaLN_modulation.1', 2 * D, D],
  ]
  const lora = sizes.map(([module, out, into]) => ({ module, a: matrix([4, into], 0.1), b: matrix([out, 4], 0.1) }))
  const alphas = lora.map(({ module }) => scalar(`${module}.alpha`, 6))
  const peftConfig = { peft_type: 'LORA', r: 4, lora_alpha: 6, target_modules: ['qkv'] }
  const metadata = { lora_adapter_metadata: JSON.stringify({ 'transformer.lora_alpha': 6, 'transformer.r': 4 }) }
  const types = [
    ['I64', []],
    ['I64', [1]],
    ['I32', []],
    ['F16', [1]],
    ['BF16', []],
    ['F64', [1, 1]],
    ['I32', [1]],
  ] as [Tensor['dtype'], number[]][]
  const textEncoder = [
    'text_encoders.qwen3_4b.transformer.model.layers.0.mlp.up_proj.lora_A.weight',
    'te_text_model_x.lora_up.weight',
    'lora_te1_x.dora_scale',
  ].map((name) => zeros(name, [2, 2]))
  const layouts: Record<
    string,
    { file: string; tensors: Tensor[]; config?: object; metadata?: Record<string, string> }
  > = {
    FaceIR: { file: 'lora_weights.safetensors', tensors: faceIr(lora, '', alphas) },
    'FaceIR with adapter_config.json': {
      file: 'lora_weights.safetensors',
      tensors: faceIr(lora),
      config: { lora_alpha: 6, lora_rank: 4 },
    },
    PEFT: { file: 'adapter_model.safetensors', tensors: faceIr(lora, 'base_model.model.'), config: peftConfig },
    'PEFT with another alpha for some': {
      file: 'adapter_model.safetensors',
      tensors: faceIr(lora, 'base_model.model.'),
      config: {
        ...peftConfig,
        lora_alpha: 1,
        alpha_pattern: { qkv: 6, 'img_attn.proj': 6, 'img_mlp.0': 6, linear1: 6, linear2: 6, 'adaLN_modulation.1': 6 },
      },
    },
    'PEFT with the root of the rank': {
      file: 'adapter_model.safetensors',
      tensors: faceIr(lora, 'base_model.model.'),
      config: { ...peftConfig, lora_alpha: 3, use_rslora: true },
    },
    'PEFT with expressions': {
      file: 'adapter_model.safetensors',
      tensors: faceIr(lora, 'base_model.model.'),
      config: {
        ...peftConfig,
        lora_alpha: 1,
        rank_pattern: { '^final_layer.*': 4 },
        alpha_pattern: {
          '^double_blocks\\.\\d+\\.img_attn\\..*': 6,
          '^img_mlp.0': 9,
          '(txt_attn\\.qkv|img_mlp\\.[0-2])': 6,
          'linear[12]': 6,
          '^final_layer.adaLN_modulation.1$': 6,
          '.*': 9,
        },
      },
    },
    diffusers: { file: 'pytorch_lora_weights.safetensors', tensors: diffusers(lora), metadata },
    'diffusers within PEFT': {
      file: 'adapter_model.safetensors',
      tensors: diffusers(lora, 'base_model.model.transformer.'),
      config: peftConfig,
    },
    ComfyUI: { file: 'any.safetensors', tensors: faceIr(lora, 'diffusion_model.', alphas) },
    'ComfyUI and text encoder': {
      file: 'any.sft',
      tensors: [...faceIr(lora, 'diffusion_model.', alphas), ...textEncoder],
    },
    LyCORIS: { file: 'any.safetensors', tensors: kohya(lora, () => scalar('', 6), 'lycoris_') },
    'musubi-tuner': { file: 'any.safetensors', tensors: musubi(lora, alphas) },
    'diffusers of old': { file: 'any.safetensors', tensors: loraDown(lora, alphas) },
    'diffusers of old, processors': {
      file: 'any.safetensors',
      tensors: diffusers(lora).map((x) => ({
        ...x,
        name: x.name
          .replace(/\.attn\.(\w+)\.lora_A/, '.attn.processor.$1_lora.down')
          .replace(/\.attn\.(\w+)\.lora_B/, '.attn.processor.$1_lora.up'),
      })),
      metadata,
    },
    'kohya, alphas of every type': {
      file: 'any.safetensors',
      tensors: kohya(lora, (module) => scalar('', 6, ...types[lora.findIndex((x) => x.module === module)]!)),
    },
    kohya: {
      file: 'any.safetensors',
      tensors: [...kohya(lora, () => scalar('', 6)), zeros('lora_te_text_model.alpha', [])],
    },
  }
  const without = Buffer.from(await restoredPixels(folder))
  let first: Buffer | undefined
  for (const [name, { file, tensors, config, metadata }] of Object.entries(layouts)) {
    const place = join(folder, name)
    mkdirSync(place)
    if (config) writeFileSync(join(place, 'adapter_config.json'), JSON.stringify(config))
    await writeTensors(join(place, file), tensors, metadata)
    const json = JSON.parse(readFileSync(join(native, 'iconface.json'), 'utf8')) as object
    writeFileSync(join(folder, 'iconface.json'), JSON.stringify({ ...json, lora: [{ file: name }] }))
    const pixels = Buffer.from(await restoredPixels(folder))
    t.ok((first ??= pixels).equals(pixels), name)
  }
  t.notOk(first!.equals(without))
})

t.test('XLabs: attention alone, of the fused matrix the rows of q, k and v', async (t) => {
  const folder = join(scratch, 'xlabs')
  cpSync(native, folder, { recursive: true })
  const { normal } = seeded(8)
  const matrix = (rows: number, columns: number, of = rows): Tensor => {
    const values = Float32Array.from({ length: rows * columns }, (_, i) => (i < of * columns ? 0.1 * normal() : 0))
    return { name: '', dtype: 'F32', shape: [rows, columns], data: new Uint8Array(values.buffer) }
  }
  const D = 128
  const sizes: [string, number, number, number?][] = [
    ['double_blocks.0.img_attn.qkv', 3 * D, D],
    ['double_blocks.0.img_attn.proj', D, D],
    ['double_blocks.1.txt_attn.qkv', 3 * D, D],
    ['double_blocks.1.txt_attn.proj', D, D],
    ['single_blocks.0.linear1', 1152, D, 3 * D],
    ['single_blocks.1.linear2', D, 512],
  ]
  const lora = sizes.map(([module, out, into, of]) => ({ module, a: matrix(4, into), b: matrix(out, 4, of) }))
  const json = JSON.parse(readFileSync(join(native, 'iconface.json'), 'utf8')) as object
  writeFileSync(join(folder, 'iconface.json'), JSON.stringify({ ...json, lora: [{ file: 'lora.safetensors' }] }))
  const restored = async (tensors: Tensor[]) => {
    await writeTensors(join(folder, 'lora.safetensors'), tensors)
    return Buffer.from(await restoredPixels(folder))
  }
  const expected = await restored(faceIr(lora))
  t.notOk(expected.equals(Buffer.from(await restoredPixels(native))))
  t.ok((await restored(xlabs(lora))).equals(expected))
})

t.test('a LoRA is merged into weights of half precision too', async (t) => {
  const folder = join(scratch, 'half')
  cpSync(published, folder, { recursive: true }) // with the LoRA of the test before
  const weights = readTensors(join(native, 'transformer.safetensors'))
  // The bits of a small bf16 are those of some finite f16: enough to be loaded and multiplied.
  const half = weights.map((x) => ({ ...x, dtype: 'F16' as const }))
  await writeTensors(join(folder, 'transformer.safetensors'), half)
  await using model = await IConFace.load(folder)
  t.equal(model.info.variant, 'Full')
})

t.test('every part of a synthesized adapter is heard', async (t) => {
  const pixels = Buffer.from(await restoredPixels(native))
  for (const variant of [
    { identity: false },
    { structure: 'residual' },
    { structure: 'one-route' },
    { references: false },
  ]) {
    t.notOk(Buffer.from(await restoredPixels(native, { variant })).equals(pixels), JSON.stringify(variant))
  }
})
