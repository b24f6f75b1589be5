// `iconface prepare` with a text encoder: published files alone become a model that restores, by the prompt or by
// another.
import t from 'tap'
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { readModelConfig } from '../../dist/checkpoint/config.js'
import { describePath } from '../../dist/prepare/describe.js'
import { prepareModel } from '../../dist/prepare/prepare.js'
import { openSafetensors, readTensorBytes } from '../../dist/formats/safetensors.js'
import { isIConFaceError } from '../../dist/index.js'
import { PromptTokenizer } from '../../dist/networks/index.js'
import { diffusersAutoencoder, diffusersTransformer } from '../fixtures/diffusers'
import { DEEP, smallTokenizer, textWeights, writeTextEncoder } from '../fixtures/qwen'
import { textEmbedding } from '../fixtures/reference/qwen3'
import { relativeError } from '../fixtures/tensors'
import { scratch, tinyModel } from '../fixtures/tiny'
import { readTensors, writeTensors } from '../fixtures/weights'

const MAIN = resolve(__dirname, '../../dist/cli/main.js')
const DEFAULT =
  'reference-guided face restoration of a high quality portrait photo of a person, natural skin, detailed face'
const weights = textWeights(3, DEEP)
const published = join(scratch, 'FLUX.2-klein-base-4B')
const encoder = join(published, 'text_encoder')
const tokenizer = join(published, 'tokenizer', 'tokenizer.json')

const iconface = (...args: string[]) => spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' })

/** The command within this process, which is quicker: what it says, and whether it encoded. */
async function prepare(...args: string[]) {
  const { positionals, values } = parseArgs({
    args,
    allowPositionals: true,
    options: { out: { type: 'string' }, prompt: { type: 'string' }, force: { type: 'boolean' } },
  })
  let encoded = 0
  try {
    const { out, ...options } = values
    const preparation = await prepareModel(positionals, out!, { ...options, onEncode: () => encoded++ })
    return { code: 'none', text: JSON.stringify(preparation), encoded }
  } catch (error) {
    if (!isIConFaceError(error)) throw error
    return { code: error.code, text: error.message, encoded }
  }
}

/**
 * A repository as the Hub has it: a folder for each part, with its config.json, and the transformer once more as a
 * file.
 */
t.before(async () => {
  const tiny = await tinyModel()
  const part = async (name: string, tensors: Parameters<typeof writeTensors>[1], config: object) => {
    mkdirSync(join(published, name), { recursive: true })
    await writeTensors(join(published, name, 'diffusion_pytorch_model.safetensors'), tensors)
    writeFileSync(join(published, name, 'config.json'), JSON.stringify(config))
  }
  const transformer = readTensors(join(tiny, 'transformer.safetensors'))
  await part('transformer', diffusersTransformer(transformer), {
    _class_name: 'Flux2Transformer2DModel',
    axes_dims_rope: [16, 16, 16, 16],
    rope_theta: 2000,
    eps: 1e-6,
  })
  await part('vae', diffusersAutoencoder(readTensors(join(tiny, 'autoencoder.safetensors')), 4), {
    _class_name: 'AutoencoderKLFlux2',
    norm_num_groups: 16,
    batch_norm_eps: 1e-4,
  })
  await writeTextEncoder(encoder, weights, 'shards')
  mkdirSync(dirname(tokenizer))
  writeFileSync(tokenizer, JSON.stringify(smallTokenizer()))
  writeFileSync(join(published, 'model_index.json'), '{}')
  await writeTensors(join(published, 'flux-2-klein-base-4b.safetensors'), transformer)
})

/** Values of a tensor of prompt_embeddings.safetensors. */
function embeddings(folder: string, name: string): Float32Array {
  const file = openSafetensors(join(folder, 'prompt_embeddings.safetensors'))
  t.same(file.tensors.get(name)!.shape, [512, 96])
  return new Float32Array(readTensorBytes(file, name).buffer)
}

/** Float64 reference; seconds for a prompt. */
function expected(prompt: string) {
  const known = references.get(prompt)
  if (known) return known
  const { ids, real } = PromptTokenizer.parse(smallTokenizer(), '').encodePrompt(prompt, 512)
  const { v } = textEmbedding(weights, { ...DEEP, theta: 1e6, outputLayers: [9, 18, 27] }, [...ids], real)
  references.set(prompt, v)
  return v
}
const references = new Map<string, ReturnType<typeof textEmbedding>['v']>()

t.test('published files alone make a model, and the model a face', async (t) => {
  const out = join(scratch, 'model')
  const { status, stdout, stderr } = iconface('prepare', published, '--out', out)
  t.equal(status, 0, stderr)
  t.match(stdout, /prompt embeddings +.*converted from a text to prompt_embeddings\.safetensors/)
  t.match(stdout, /Qwen3 text encoder +.*model\.safetensors\.index\.json/)
  t.match(stdout, /not used\n +.*flux-2-klein-base-4b\.safetensors +FLUX\.2 transformer: another one is used/)
  t.match(stderr, /encode/)
  const config = readModelConfig(out)
  t.same(config.transformer.ropeAxes, [16, 16, 16, 16])
  t.equal(config.autoencoder.groups, 16)
  t.match(config.textEncoder, { tokenizer, outputLayers: [9, 18, 27], ropeTheta: 1e6 })
  t.match(openSafetensors(join(out, 'prompt_embeddings.safetensors')).metadata, {
    prompt: DEFAULT,
    empty: '',
    encoder: /^[0-9a-f]{64}$/,
  })
  t.ok(relativeError(embeddings(out, 'prompt'), expected(DEFAULT)) < 1e-4)
  t.ok(relativeError(embeddings(out, 'empty'), expected('')) < 1e-4)

  const photo = join(scratch, 'photo.png')
  const { allocateImage } = await import('../../dist/index.js')
  const image = allocateImage(32, 32)
  image.data.fill(90)
  const { default: sharp } = await import('sharp')
  await sharp(image.data, { raw: { width: 32, height: 32, channels: 3 } }).toFile(photo)
  const restore = (file: string, ...more: string[]) =>
    iconface(
      'restore',
      photo,
      '--model',
      out,
      '-o',
      file,
      '--steps',
      '2',
      '--size',
      '32',
      '--precision',
      'f32',
      ...more,
    )
  const [own, other, same] = ['own.png', 'other.png', 'same.png'].map((name) => join(scratch, name)) as [
    string,
    string,
    string,
  ]
  t.match(restore(own), { status: 0 })
  t.match(restore(other, '--prompt', 'photo of me'), { status: 0 })
  t.match(restore(same, '--prompt', DEFAULT), { status: 0 })
  t.notOk(readFileSync(other).equals(readFileSync(own)), 'another prompt, another picture')
  t.ok(readFileSync(same).equals(readFileSync(own)), "the model's own prompt")
  t.match(restore(same, '--prompt', 'me '.repeat(600)), { status: 2, stderr: /INVALID_ARGUMENT.*at most \d+ tokens/ })
  t.match(restore(same, '--prompt'), { status: 2, stderr: /--prompt/ })

  const described = iconface('inspect', out)
  t.match(described, { status: 0, stdout: /parts\n.*Qwen3 text encoder/s })
  rmSync(join(out, 'prompts'), { recursive: true })
})

t.test('--prompt chooses what the model is told; a second time nothing is encoded', async (t) => {
  const out = join(scratch, 'other')
  const run = (...more: string[]) => prepare(published, '--out', out, ...more)
  t.match(await run('--prompt', 'photo of me'), { code: 'none', encoded: 2 })
  t.ok(relativeError(embeddings(out, 'prompt'), expected('photo of me')) < 1e-4)
  rmSync(join(out, 'iconface.json'))
  t.match(await run('--prompt', 'photo of me'), { code: 'none', encoded: 0 })
  rmSync(join(out, 'iconface.json'))
  t.match(await run('--prompt', 'me'), {
    code: 'ERR_ICONFACE_INVALID_ARGUMENT',
    text: /other prompt_embeddings\.safetensors \(--force/,
  })
  t.notOk(existsSync(join(out, 'iconface.json')))
  t.match(await run('--prompt', 'me', '--force'), { code: 'none', encoded: 2 })
  t.match(openSafetensors(join(out, 'prompt_embeddings.safetensors')).metadata, { prompt: 'me' })

  const nothing = join(scratch, 'nothing')
  const long = await prepare(published, '--out', nothing, '--prompt', 'me '.repeat(600))
  t.match(long, { code: 'ERR_ICONFACE_INVALID_ARGUMENT', text: /a text of at most \d+ tokens/ })
  t.notOk(existsSync(nothing))
})

t.test('embeddings that are given are used as they are', async (t) => {
  const out = join(scratch, 'given')
  const file = join(scratch, 'model', 'prompt_embeddings.safetensors')
  const run = (...more: string[]) => prepare(published, file, '--out', out, '--force', ...more)
  t.match(await run(), { code: 'none', encoded: 0 })
  t.equal(readModelConfig(out).prompt.file, file)
  t.ok(readModelConfig(out).textEncoder)
  t.match(await run('--prompt', DEFAULT), { code: 'none', encoded: 0 })
  t.equal(readModelConfig(out).prompt.file, file)
  t.match(await run('--prompt', 'me'), { code: 'none', encoded: 2, text: /prompt embeddings: another one is used/ })
  t.equal(readModelConfig(out).prompt.file, join(out, 'prompt_embeddings.safetensors'))
  const bare = [join(published, 'transformer'), join(published, 'vae'), file, '--out', out, '--force']
  t.match(await prepare(...bare, '--prompt', 'me'), {
    code: 'ERR_ICONFACE_INVALID_ARGUMENT',
    text: /or a text encoder for another one for --prompt/,
  })
})

t.test('one file, with its tokenizer somewhere else', async (t) => {
  const place = join(scratch, 'comfy', 'text_encoders')
  const file = await writeTextEncoder(place, weights, 'file')
  const others = [join(published, 'transformer'), join(published, 'vae')]
  const out = join(scratch, 'comfy-model')
  t.match(await prepare(...others, file, '--out', out), {
    code: 'ERR_ICONFACE_FILE_NOT_FOUND',
    text: /qwen_3_4b\.safetensors has no tokenizer: .* name Qwen3's/,
  })
  t.notOk(existsSync(out))
  const copy = join(scratch, 'qwen-tokenizer.json')
  cpSync(tokenizer, copy)
  t.match(await prepare(...others, file, copy, '--out', out), { code: 'none' })
  t.match(readModelConfig(out).textEncoder, { file, tokenizer: copy })
  t.ok(relativeError(embeddings(out, 'prompt'), expected(DEFAULT)) < 1e-4)
  t.match(await prepare(...others, file, copy, tokenizer, '--out', out, '--force'), {
    code: 'ERR_ICONFACE_INVALID_ARGUMENT',
    text: /one tokenizer\.json/,
  })
  const bare = await prepare(
    ...others,
    file,
    join(out, 'prompt_embeddings.safetensors'),
    '--out',
    join(scratch, 'left-out'),
  )
  t.match(bare, { code: 'none', text: /is left out: it has no tokenizer\.json/ })
  t.equal(readModelConfig(join(scratch, 'left-out')).textEncoder, undefined)
})

t.test('a text encoder in fp8 is written once more, and keeps its tokenizer', async (t) => {
  const plain = join(scratch, 'comfy', 'text_encoders', 'qwen_3_4b.safetensors')
  const place = join(scratch, 'fp8')
  mkdirSync(place)
  cpSync(tokenizer, join(place, 'tokenizer.json'))
  const matrix = 'model.layers.0.mlp.up_proj'
  const scale = {
    name: `${matrix}.weight_scale`,
    dtype: 'F32' as const,
    shape: [],
    data: new Uint8Array(Float32Array.of(0.5).buffer),
  }
  const half = readTensors(plain).map((tensor) => {
    if (tensor.name !== `${matrix}.weight`) return tensor
    const data = Uint8Array.from({ length: tensor.data.length / 4 }, (_, i) => 24 + (i % 24) + 128 * (i & 1))
    return { ...tensor, dtype: 'F8_E4M3' as const, data }
  })
  const file = join(place, 'qwen_3_4b_fp8_scaled.safetensors')
  await writeTensors(file, [...half, scale])
  const out = join(scratch, 'fp8-model')
  const result = await prepare(join(published, 'transformer'), join(published, 'vae'), file, '--out', out)
  t.match(result, { code: 'none', encoded: 2 }, result.text)
  const converted = join(out, 'qwen_3_4b-bf16.safetensors')
  t.match(readModelConfig(out).textEncoder, { file: converted, tokenizer: join(place, 'tokenizer.json') })
  t.match(describePath(out).problems, [])
})

t.test('a text encoder that cannot serve is refused before anything is written', async (t) => {
  const out = join(scratch, 'refused')
  const others = [join(published, 'transformer'), join(published, 'vae'), tokenizer, '--out', out]
  const refused = async (file: string, message: RegExp) => {
    const { code, text } = await prepare(file, ...others)
    t.match(text, message)
    t.match(code, /ERR_ICONFACE_(INVALID_CHECKPOINT|UNSUPPORTED|FILE_NOT_FOUND)/)
    t.notOk(existsSync(out))
  }
  const place = (name: string) => join(scratch, 'refused-encoders', name)
  await refused(
    await writeTextEncoder(place('shallow'), textWeights(1), 'file'),
    /has 4 layers, and what layer 27 gives/,
  )
  const wide = textWeights(1, { ...DEEP, hidden: 48 })
  await refused(
    await writeTextEncoder(place('wide'), wide, 'file'),
    /makes embeddings 144 wide, but the transformer takes 96/,
  )
  const shards = await writeTextEncoder(place('half'), weights, 'shards')
  const second = join(shards, 'model-00002-of-00002.safetensors')
  renameSync(second, `${second}.incomplete`)
  await refused(shards, /model-00002-of-00002\.safetensors/)
  const llama = await writeTextEncoder(place('llama'), weights, 'shards')
  writeFileSync(join(llama, 'config.json'), JSON.stringify({ model_type: 'llama' }))
  await refused(llama, /expected "qwen3" for model_type/)
})

t.test('values that shapes do not tell go with the weights', async (t) => {
  const source = resolve(__dirname, '../../models/tiny')
  const out = join(scratch, 'from-tiny')
  t.match(await prepare(source, '--out', out), { code: 'none' })
  const strip = ({ folder: _, name: __, ...rest }: ReturnType<typeof readModelConfig>) => rest
  t.same(strip(readModelConfig(out)), strip(readModelConfig(source)))

  const copy = join(scratch, 'odd')
  cpSync(published, copy, { recursive: true })
  const config = join(copy, 'vae', 'config.json')
  const change = (more: object) =>
    writeFileSync(config, JSON.stringify({ ...(JSON.parse(readFileSync(config, 'utf8')) as object), ...more }))
  change({ batch_norm_eps: 1e-3 })
  t.match(await prepare(copy, '--out', join(scratch, 'none')), {
    code: 'ERR_ICONFACE_FILE_NOT_FOUND',
    text: /expected 0\.0001 for batch_norm_eps/,
  })
  change({ batch_norm_eps: 1e-4, norm_num_groups: 'many' })
  t.match(await prepare(copy, '--out', join(scratch, 'none')), {
    code: 'ERR_ICONFACE_INVALID_CHECKPOINT',
    text: /a whole number from 1 for autoencoder\.groups/,
  })
})

t.test('inspect knows a text encoder, as a folder and as a file, and what is wrong with it', async (t) => {
  const folder = iconface('inspect', encoder)
  t.match(folder, { status: 0, stdout: /parts\n +Qwen3 text encoder .*index\.json \(Hugging Face/ })
  t.match(folder.stdout, /layers +27\n/)
  t.match(folder.stdout, /missing\n +FLUX\.2 transformer/)
  t.notMatch(folder.stdout, /prompt embeddings +required/)
  const file = join(scratch, 'comfy', 'text_encoders', 'qwen_3_4b.safetensors')
  const part = { role: 'text encoder', sizes: { ...DEEP }, ignored: ['lm_head.weight'], tensors: 300 }
  t.match(describePath(file), { kind: 'file', parts: [part], problems: [] })
  const whole = iconface('inspect', published)
  t.match(whole, { status: 0, stdout: /parts\n.*transformer .*autoencoder .*Qwen3 text encoder.*missing\n.*AdaFace/s })
  const broken = join(scratch, 'broken.safetensors')
  const tensors = readTensors(file).filter(({ name }) => !name.includes('layers.3.mlp.up_proj'))
  await writeTensors(broken, tensors)
  t.match(describePath(broken).problems, [{ message: /layers\.3\.mlp\.up_proj\.weight \[40, 32\] is missing/ }])

  const model = join(scratch, 'model')
  const moved = `${tokenizer}.moved`
  renameSync(tokenizer, moved)
  t.throws(() => describePath(model), {
    code: 'ERR_ICONFACE_FILE_NOT_FOUND',
    message: /tokenizer\.json does not exist/,
  })
  renameSync(moved, tokenizer)
  const second = join(encoder, 'model-00002-of-00002.safetensors')
  renameSync(second, moved)
  t.match(describePath(model).problems, [{ part: 'text encoder', message: /model-00002-of-00002/ }])
  renameSync(moved, second)
  t.ok(statSync(tokenizer).isFile())
})
