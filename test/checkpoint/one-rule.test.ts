// `inspect` and `prepare` follow one rule: what one finds wrong with, the other refuses, in the same words.
import { cpSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { describePath } from '../../dist/prepare/describe.js'
import { autoencoderTensors } from '../../dist/checkpoint/expected.js'
import { prepareModel } from '../../dist/prepare/prepare.js'
import { PRESETS } from '../../dist/prepare/synthesize.js'
import { isIConFaceError } from '../../dist/index.js'
import { diffusersAutoencoder, diffusersTransformer } from '../fixtures/diffusers'
import { diffusers, faceIr, kohya, loraDown, musubi, scalar, xlabs } from '../fixtures/lora'
import { smallTokenizer, textWeights, writeTextEncoder } from '../fixtures/qwen'
import { scratch, tinyModel } from '../fixtures/tiny'
import { readTensors, type Tensor, writeTensors, zeros } from '../fixtures/weights'

const NAMES = {
  transformer: 'transformer',
  autoencoder: 'autoencoder',
  prompt: 'prompt_embeddings',
  adapter: 'adapter',
  face: 'adaface',
}
const PARTS = Object.keys(NAMES) as (keyof typeof NAMES)[]
const tensors = {} as Record<keyof typeof NAMES, Tensor[]>
let tiny: string
const file = (part: keyof typeof NAMES) => join(tiny, `${NAMES[part]}.safetensors`)

t.before(async () => {
  tiny = await tinyModel()
  for (const part of PARTS) tensors[part] = readTensors(file(part))
})

interface Verdict {
  ok: boolean
  words: readonly string[]
}

function inspected(path: string): Verdict {
  try {
    const { problems, missing } = describePath(path)
    const lacking = missing.filter(({ required }) => required).map(({ title }) => title)
    const isFolder = describePath(path).kind === 'folder'
    const words = problems.map(({ message }) => message)
    return {
      ok: words.length === 0 && !(isFolder && lacking.length > 0),
      words: isFolder ? [...words, ...lacking] : words,
    }
  } catch (error) {
    if (!isIConFaceError(error)) throw error
    return { ok: false, words: [error.message] }
  }
}

let count = 0
async function prepared(paths: readonly string[]): Promise<Verdict> {
  try {
    await prepareModel(paths, join(scratch, `one-rule-${count++}`))
    return { ok: true, words: [] }
  } catch (error) {
    if (!isIConFaceError(error)) throw error
    t.not(error.code, 'ERR_ICONFACE_INTERNAL')
    return { ok: false, words: [error.message] }
  }
}

async function agree(t: Test, name: string, path: string, others: readonly string[], expected: boolean) {
  const [one, other] = [inspected(path), await prepared([path, ...others])]
  t.equal(one.ok, expected, `inspect: ${name}: ${one.words.join('; ')}`)
  t.equal(other.ok, expected, `prepare: ${name}: ${other.words.join('; ')}`)
  const said = other.words.join('\n')
  // Long lists are cut, and of several kinds of faults the first is the error.
  if (!expected)
    t.ok(
      one.words.some((word) => said.includes(word)),
      `the same words: ${one.words.join('; ')} | ${said}`,
    )
}

/** Everything that may be a file, by what it takes the place of; and whether it can be used. */
function files(): [name: string, part: keyof typeof NAMES | 'lora', tensors: Tensor[], usable: boolean][] {
  const prefixed = (all: readonly Tensor[], prefix: string) => all.map((x) => ({ ...x, name: prefix + x.name }))
  const without = (all: readonly Tensor[], name: RegExp) => all.filter((x) => !name.test(x.name))
  const swap = (all: readonly Tensor[], name: string, change: Partial<Tensor>) =>
    all.map((x) => (x.name === name ? { ...x, ...change } : x))
  const { transformer, autoencoder, adapter, face, prompt } = tensors
  const proj = 'double_blocks.0.img_attn.proj'
  const fp8 = (all: readonly Tensor[]) =>
    swap(all, `${proj}.weight`, { dtype: 'F8_E4M3', data: new Uint8Array(128 * 128) })
  const scale = zeros(`${proj}.weight_scale`, [])
  const lora = [
    { module: 'double_blocks.0.img_attn.qkv', a: zeros('', [4, 128]), b: zeros('', [384, 4]) },
    { module: 'single_blocks.1.linear2', a: zeros('', [4, 512]), b: zeros('', [128, 4]) },
  ]
  const alphas = lora.map(({ module }) => scalar(`${module}.alpha`, 4, 'I64'))
  const good = faceIr(lora)
  return [
    ['as it is', 'transformer', transformer, true],
    ['diffusers', 'transformer', diffusersTransformer(transformer), true],
    ['ComfyUI', 'transformer', prefixed(transformer, 'model.diffusion_model.'), true],
    ['fp8', 'transformer', [...fp8(transformer), scale], true],
    ['fp8, a scale of another shape', 'transformer', [...fp8(transformer), zeros(`${proj}.weight_scale`, [3])], false],
    ['a tensor missing', 'transformer', without(transformer, /linear1/), false],
    ['a tensor more', 'transformer', [...transformer, zeros('double_blocks.0.more', [1])], false],
    ['another type', 'transformer', swap(transformer, `${proj}.weight`, { dtype: 'I16' }), false],
    ['NVFP4', 'transformer', [...transformer, zeros(`${proj}.weight_scale_2`, [])], false],
    ['[dev]', 'transformer', [...transformer, zeros('guidance_in.in_layer.weight', [128, 256])], false],
    ['as it is', 'autoencoder', autoencoder, true],
    ['diffusers', 'autoencoder', diffusersAutoencoder(autoencoder, 4), true],
    ['prefixed', 'autoencoder', prefixed(autoencoder, 'first_stage_model.'), true],
    ['decoder alone', 'autoencoder', without(autoencoder, /^encoder/), false],
    [
      'another shape',
      'autoencoder',
      [...without(autoencoder, /^bn\.running_var/), zeros('bn.running_var', [5])],
      false,
    ],
    ['as it is', 'adapter', adapter, true],
    ['without a block', 'adapter', without(adapter, /^structure\.blocks\.1\.gate/), false],
    ['AdaFace', 'face', prefixed(face, 'model.'), true],
    ['AdaFace, cut', 'face', without(face, /^output_layer\.3\.bias/), false],
    ['as it is', 'prompt', prompt, true],
    ['without the empty one', 'prompt', [...without(prompt, /^empty/), zeros('empty', [1, 2])], false],
    ['FaceIR', 'lora', good, true],
    ['PEFT', 'lora', faceIr(lora, 'base_model.model.'), true],
    ['ComfyUI', 'lora', faceIr(lora, 'diffusion_model.', alphas), true],
    ['diffusers', 'lora', diffusers(lora), true],
    ['diffusers of old', 'lora', loraDown(lora), true],
    ['kohya', 'lora', kohya(lora, () => scalar('', 4, 'I32', [1])), true],
    ['musubi-tuner', 'lora', musubi(lora, alphas), true],
    ['XLabs', 'lora', xlabs(lora), true],
    ['with a text encoder', 'lora', [...good, zeros('lora_te_x.lora_up.weight', [1])], true],
    ['only a text encoder', 'lora', [zeros('lora_te_x.lora_up.weight', [1])], false],
    ['LoKr', 'lora', [zeros('lora_unet_double_blocks_0_img_attn_qkv.lokr_w1', [1])], false],
    ['LoHa', 'lora', [zeros('lora_unet_double_blocks_0_img_attn_qkv.hada_w1_a', [1])], false],
    ['DoRA', 'lora', [...good, zeros(`${lora[0]!.module}.dora_scale`, [1])], false],
    ['biases', 'lora', [...good, zeros(`${lora[0]!.module}.lora_B.bias`, [384])], false],
    ['FLUX.1', 'lora', [zeros('lora_unet_single_blocks_0_modulation_lin.lora_up.weight', [4, 4])], false],
    ['another model', 'lora', [zeros('lora_unet_input_blocks_1_0.lora_up.weight', [4, 4])], false],
    ['half', 'lora', good.slice(1), false],
    ['alpha of two', 'lora', [...good, zeros(`${lora[0]!.module}.alpha`, [2])], false],
    ['alpha that is no number', 'lora', [...good, scalar(`${lora[0]!.module}.alpha`, NaN)], false],
    ['whole numbers', 'lora', faceIr(lora.map((x) => ({ ...x, a: zeros('', x.a.shape, 'I64') }))), false],
    ['of nothing known', 'lora', [zeros('whatever', [2])], false],
  ]
}

t.test('files', async (t) => {
  for (const [i, [name, part, content, usable]] of files().entries()) {
    const path = join(scratch, `case-${i}.safetensors`)
    await writeTensors(path, content)
    const others = PARTS.filter((one) => one !== part).map(file)
    await agree(t, `${part}, ${name}`, path, others, usable)
  }
  const damaged = join(scratch, 'damaged.safetensors')
  cpSync(file('transformer'), damaged)
  truncateSync(damaged, 100_000)
  await agree(t, 'cut short', damaged, PARTS.slice(1).map(file), false)
  const config = { _class_name: 'Flux2Transformer2DModel', axes_dims_rope: [16, 16, 16, 16], eps: 1e-6 }
  for (const [change, usable] of [
    [{}, true],
    [{ axes_dims_rope: [8, 8, 8, 8] }, false],
    [{ eps: 1e-5 }, false],
    [{ axes_dims_rope: 'x' }, false],
  ] as const) {
    const folder = join(scratch, `configured-${count++}`)
    mkdirSync(folder)
    const path = join(folder, 'diffusion_pytorch_model.safetensors')
    await writeTensors(path, diffusersTransformer(tensors.transformer))
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, ...change }))
    await agree(t, JSON.stringify(change), path, PARTS.slice(1).map(file), usable)
  }
})

t.test('folders', async (t) => {
  const folder = (files: Record<string, string | Buffer>, without: readonly string[] = []) => {
    const path = join(scratch, `folder-${count++}`)
    mkdirSync(path)
    for (const part of PARTS) if (!without.includes(part)) cpSync(file(part), join(path, `${part}.safetensors`))
    for (const [name, content] of Object.entries(files)) {
      if (typeof content === 'string') cpSync(content, join(path, name), { recursive: true })
      else writeFileSync(join(path, name), content)
    }
    return path
  }
  const write = async (content: readonly Tensor[]) => {
    const path = join(scratch, `loose-${count++}.safetensors`)
    await writeTensors(path, content)
    return path
  }
  const pair = (module: string, rank: number, out: number, into: number) =>
    faceIr([{ module, a: zeros('', [rank, into]), b: zeros('', [out, rank]) }])
  const wide = await write(pair('double_blocks.0.img_attn.qkv', 4, 3 * 256, 256))
  const deep = await write(pair('double_blocks.7.img_attn.qkv', 4, 384, 128))
  const latents = { ...PRESETS.tiny.autoencoder, latentChannels: 8 }
  const other = await write([...autoencoderTensors(latents)].map(([name, shape]) => zeros(name, [...shape])))
  const adapter = await write(tensors.adapter.filter(({ name }) => !name.startsWith('structure.blocks.3.')))
  const cases: [string, string, boolean][] = [
    ['complete', folder({}), true],
    ['a LoRA that fits', folder({ 'lora.sft': await write(pair('single_blocks.0.linear2', 4, 128, 512)) }), true],
    ['a LoRA for a wider model', folder({ 'lora.safetensors': wide }), false],
    ['a LoRA for a deeper model', folder({ 'lora.safetensors': deep }), false],
    ['an autoencoder of another model', folder({ 'vae.safetensors': other }, ['autoencoder']), false],
    ['an adapter for fewer blocks', folder({ 'a.safetensors': adapter }, ['adapter']), false],
    ['two transformers', folder({ 'again.safetensors': file('transformer') }), false],
    ['no transformer', folder({}, ['transformer']), false],
    ['a GGUF file beside', folder({ 'x.gguf': Buffer.from('GGUF') }), true],
    ['a GGUF file instead', folder({ 'x.gguf': Buffer.from('GGUF') }, ['transformer']), false],
    ['something unknown beside', folder({ 'x.safetensors': await write([zeros('what', [1])]) }), true],
    ['half a download beside', folder({ 'x.safetensors.part': Buffer.from('x') }), true],
  ]
  for (const [name, path, usable] of cases) await agree(t, name, path, [], usable)

  const text = folder({}, ['prompt'])
  await writeTextEncoder(join(text, 'text_encoder'), textWeights(3), 'file')
  await agree(t, 'a text encoder without a tokenizer', text, [], false)
  mkdirSync(join(text, 'tokenizer'))
  writeFileSync(join(text, 'tokenizer', 'tokenizer.json'), JSON.stringify(smallTokenizer()))
  await agree(t, 'a text encoder that is not deep enough', text, [], false)
  const unused = describePath(
    folder({ 'x.gguf': Buffer.from('GGUF'), 'what.safetensors': await write([zeros('what', [1])]) }),
  ).unused
  t.ok(unused.some(({ file, reason }) => /x\.gguf$/.test(file) && /GGUF file/.test(reason)))
  t.ok(unused.some(({ file, reason }) => /what\.safetensors$/.test(file) && /no network known/.test(reason)))
})
