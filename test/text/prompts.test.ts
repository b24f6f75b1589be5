// Prompts of the caller's through a whole model: encoded once, kept, found again; and what is refused.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openSafetensors } from '../../dist/formats/safetensors.js'
import { IConFace, type RestoreOptions } from '../../dist/index.js'
import { Networks, openTextEncoder, PromptTokenizer } from '../../dist/networks/index.js'
import { i32, toFloat32 } from '../../dist/ops/index.js'
import { sameBytes } from '../fixtures/bytes'
import { OUTPUT_LAYERS, SIZES, smallTokenizer, textWeights, writeTextEncoder } from '../fixtures/qwen'
import { textEmbedding } from '../fixtures/reference/qwen3'
import { relativeError } from '../fixtures/tensors'
import { held, picture, QUICK, scratch, tinyModel } from '../fixtures/tiny'
import { readTensors, writeTensors } from '../fixtures/weights'

const PROMPT = 'photo of me'
const weights = textWeights(1)
process.env.XDG_CACHE_HOME = join(scratch, 'cache')

interface Settings {
  layout?: 'shards' | 'file' | 'none'
  textEncoder?: object
  tokenizer?: object | string
}

let models = 0

/** A copy of the tiny model with a text encoder, in a folder of its own. */
async function model({
  layout = 'shards',
  textEncoder = {},
  tokenizer = smallTokenizer(),
}: Settings = {}): Promise<string> {
  const folder = join(scratch, `model-${++models}`)
  mkdirSync(folder)
  const tiny = await tinyModel()
  for (const name of readdirSync(tiny)) if (name !== 'iconface.json') symlinkSync(join(tiny, name), join(folder, name))
  const config = JSON.parse(readFileSync(join(tiny, 'iconface.json'), 'utf8')) as object
  const place = join(folder, 'text_encoder')
  if (layout !== 'none') {
    const file = await writeTextEncoder(place, weights, layout)
    writeFileSync(join(place, 'tokenizer.json'), typeof tokenizer === 'string' ? tokenizer : JSON.stringify(tokenizer))
    Object.assign(config, { textEncoder: { file, outputLayers: OUTPUT_LAYERS, ...textEncoder } })
  }
  writeFileSync(join(folder, 'iconface.json'), JSON.stringify(config))
  return folder
}

/** A restore's pixels, and the stages that it reported. */
async function restore(
  folder: string,
  options: RestoreOptions,
  precision: 'f32' | 'bf16' = 'f32',
  references = [picture(2)],
) {
  await using loaded = await IConFace.load(folder, { precision, threads: 2 })
  const stages = new Set<string>()
  const onProgress = ({ stage }: { stage: string }) => void stages.add(stage)
  const { data } = await loaded.restore(picture(1), references, { ...QUICK, ...options, onProgress })
  return { data: Buffer.from(data), encoded: stages.has('prompt') }
}

const entries = (folder: string) => (existsSync(join(folder, 'prompts')) ? readdirSync(join(folder, 'prompts')) : [])

/** Float64 reference for a prompt. */
function expected(prompt: string, length: number) {
  const { ids, real } = PromptTokenizer.parse(smallTokenizer(), '').encodePrompt(prompt, length)
  return textEmbedding(weights, { ...SIZES, theta: 1e6, outputLayers: OUTPUT_LAYERS }, [...ids], real)
}

t.test('both layouts load by themselves and give the same', async (t) => {
  const folder = await model({ layout: 'file' })
  const shards = await model()
  const { ids, real } = PromptTokenizer.open(join(shards, 'text_encoder', 'tokenizer.json')).encodePrompt(PROMPT, 16)
  for (const place of [
    join(folder, 'text_encoder', 'qwen_3_4b.safetensors'),
    join(shards, 'text_encoder'),
    join(shards, 'text_encoder', 'model.safetensors.index.json'),
  ]) {
    const { checkpoint, width } = openTextEncoder(place, { outputLayers: OUTPUT_LAYERS })
    t.equal(width, 96)
    await using networks = await Networks.load(checkpoint, { precision: 'f32', threads: 2 })
    const { embeddings } = await networks.run('text_embedding', { ids: i32([16], ids) }, { real })
    t.same(embeddings.shape, [16, 96])
    t.ok(relativeError(toFloat32(embeddings), expected(PROMPT, 16).v) < 2e-5, place)
  }
})

t.test('a prompt is encoded once, kept beside the model, and changes the picture', async (t) => {
  const folder = await model()
  const before = held()
  const own = await restore(folder, {})
  const first = await restore(folder, { prompt: PROMPT })
  t.notOk(own.encoded)
  t.ok(first.encoded)
  t.notOk(first.data.equals(own.data))
  t.equal(entries(folder).length, 1)
  const entry = openSafetensors(join(folder, 'prompts', entries(folder)[0]!))
  t.match(entry.metadata, { prompt: PROMPT, encoder: /^[0-9a-f]{64}$/ })
  t.same(
    [...entry.tensors].map(([name, { dtype, shape }]) => [name, dtype, shape]),
    [['embeddings', 'F32', [16, 96]]],
  )
  const second = await restore(folder, { prompt: PROMPT })
  t.notOk(second.encoded, 'found again')
  t.ok(second.data.equals(first.data))

  // A model computing in bf16 takes the f32 entry; one in f32 does not take bf16's.
  t.notOk((await restore(folder, { prompt: PROMPT }, 'bf16')).encoded)
  const half = await restore(folder, { prompt: 'me' }, 'bf16')
  t.ok(half.encoded)
  const again = await restore(folder, { prompt: 'me' }, 'bf16')
  t.notOk(again.encoded)
  t.ok(again.data.equals(half.data), 'the same bytes from the cache')
  t.ok((await restore(folder, { prompt: 'me' }, 'f32')).encoded)
  t.equal(entries(folder).length, 3)
  t.equal(held(), before, 'the encoder is gone')
})

t.test('with and without references it stands in the place of the own prompt', async (t) => {
  const folder = await model()
  await restore(folder, { prompt: PROMPT })
  const [given] = readTensors(join(folder, 'prompts', entries(folder)[0]!))
  const other = await model({ layout: 'none' })
  const file = join(other, 'prompt_embeddings.safetensors')
  const tensors = readTensors(file).map((each) => (each.name === 'prompt' ? { ...given!, name: 'prompt' } : each))
  rmSync(file) // a link to the tiny model's
  await writeTensors(file, tensors)
  for (const references of [[], [picture(2)]]) {
    const own = await restore(folder, {}, 'f32', references)
    const { data } = await restore(folder, { prompt: PROMPT }, 'f32', references)
    t.ok(data.equals((await restore(other, {}, 'f32', references)).data), `${references.length} references`)
    t.notOk(data.equals(own.data), `${references.length} references: it is heard`)
  }
})

t.test("the model's own prompt needs no encoder", async (t) => {
  const folder = await model({ layout: 'none' })
  const { metadata } = openSafetensors(join(folder, 'prompt_embeddings.safetensors'))
  const own = await restore(folder, {})
  t.ok((await restore(folder, { prompt: metadata.prompt })).data.equals(own.data))
  t.notOk((await restore(folder, { prompt: '' })).data.equals(own.data), 'the empty prompt is another')
  t.notOk(existsSync(join(folder, 'prompts')))
})

t.test('without an encoder only kept prompts work', async (t) => {
  const [full, bare] = [await model(), await model({ layout: 'none' })]
  const code = 'ERR_ICONFACE_UNSUPPORTED'
  const message =
    /model-\d+ has no text encoder and no embeddings of the prompt "photo of me"; name Qwen3-4B .*textEncoder\.file/
  await t.rejects(restore(bare, { prompt: PROMPT }), { code, message })
  const first = await restore(full, { prompt: PROMPT })
  cpSync(join(full, 'prompts'), join(bare, 'prompts'), { recursive: true })
  t.ok((await restore(bare, { prompt: PROMPT })).data.equals(first.data))
  await t.rejects(restore(bare, { prompt: 'me' }), { code, message: /"me"/ })
})

t.test('an entry of another encoder, another prompt, or damaged, is made again', async (t) => {
  const folder = await model()
  const first = await restore(folder, { prompt: PROMPT })
  const file = join(folder, 'prompts', entries(folder)[0]!)
  const good = readFileSync(file)
  const spoil = async (name: string, bytes: Buffer | string) => {
    writeFileSync(file, bytes)
    const { encoded, data } = await restore(folder, { prompt: PROMPT })
    t.ok(encoded && data.equals(first.data) && readFileSync(file).equals(good), name)
  }
  await spoil('cut', good.subarray(0, 100))
  await spoil('no file of its kind', 'nonsense')
  const encoder = openSafetensors(file).metadata.encoder!
  await spoil('another encoder', Buffer.from(good.toString('latin1').replace(encoder, '0'.repeat(64)), 'latin1'))
  await spoil('another prompt', Buffer.from(good.toString('latin1').replace(PROMPT, 'photo of Me'), 'latin1'))
  const changed = JSON.stringify(smallTokenizer(['user', 'assistant', 'ĊĊ', 'photo', 'Ġme', 'Ġof']))
  writeFileSync(join(folder, 'text_encoder', 'tokenizer.json'), changed)
  t.ok((await restore(folder, { prompt: PROMPT })).encoded, 'another tokenizer')
})

t.test("where the model's folder cannot be written, the user's cache is used; then it warns", async (t) => {
  const folder = await model()
  writeFileSync(join(folder, 'prompts'), 'a file, so no folder')
  t.ok((await restore(folder, { prompt: PROMPT })).encoded)
  t.notOk((await restore(folder, { prompt: PROMPT })).encoded)
  const cache = join(scratch, 'cache')
  t.ok(existsSync(join(cache, 'iconface', 'prompts')))
  rmSync(cache, { recursive: true })
  writeFileSync(cache, 'a file, too')
  const warned = new Promise<Error>((resolve) => process.once('warning', resolve))
  t.ok((await restore(folder, { prompt: PROMPT })).encoded)
  t.match(await warned, { name: 'IConFaceWarning', message: /embeddings cannot be kept: / })
  rmSync(cache)
})

t.test('what is wrong with a text encoder is said when a prompt needs it', async (t) => {
  const bad = 'ERR_ICONFACE_INVALID_CHECKPOINT'
  const rejects = async (
    t: Test,
    settings: Settings,
    error: { code: string; message: RegExp },
    spoil: (place: string) => void = () => {},
  ) => {
    const folder = await model(settings)
    spoil(join(folder, 'text_encoder'))
    t.notOk((await restore(folder, {})).encoded, 'other restores go on')
    await t.rejects(restore(folder, { prompt: PROMPT }), error)
    t.notOk(existsSync(join(folder, 'prompts')))
  }
  await rejects(t, { tokenizer: '{"model":' }, { code: bad, message: /tokenizer\.json is no valid JSON/ })
  await rejects(t, { tokenizer: {} }, { code: bad, message: /is no tokenizer for Qwen3/ })
  await rejects(t, { textEncoder: { outputLayers: [1, 2] } }, { code: bad, message: /embeddings 64 wide, .* takes 96/ })
  await rejects(
    t,
    { textEncoder: { outputLayers: [1, 2, 5] } },
    { code: bad, message: /layer 5 is wanted, and it has 4/ },
  )
  await rejects(t, {}, { code: 'ERR_ICONFACE_FILE_NOT_FOUND', message: /has no tokenizer: .* do not exist/ }, (place) =>
    rmSync(join(place, 'tokenizer.json')),
  )
  await rejects(t, {}, { code: 'ERR_ICONFACE_FILE_NOT_FOUND', message: /model-00002-of-00002/ }, (place) =>
    rmSync(join(place, 'model-00002-of-00002.safetensors')),
  )
  for (const [config, message] of [
    [{ model_type: 'llama' }, /expected "qwen3" for model_type but received "llama"/],
    [{ rms_norm_eps: 1e-5 }, /rms_norm_eps/],
    [{ rope_scaling: { type: 'yarn' } }, /rope_scaling/],
  ] as const)
    await rejects(t, {}, { code: 'ERR_ICONFACE_UNSUPPORTED', message }, (place) =>
      writeFileSync(join(place, 'config.json'), JSON.stringify(config)),
    )
  await rejects(t, {}, { code: bad, message: /rope_theta/ }, (place) =>
    writeFileSync(join(place, 'config.json'), '{"rope_theta":"large"}'),
  )
})

t.test('options', async (t) => {
  const folder = await model()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  await using loaded = await IConFace.load(folder, { precision: 'f32', threads: 2 })
  t.equal(loaded.info.textEncoder, true)
  const run = (prompt: unknown, signal?: AbortSignal) =>
    loaded.restore(picture(1), [], { ...QUICK, prompt: prompt as string, signal })
  for (const wrong of [7, null, {}, ['a']]) await t.rejects(run(wrong), { code, message: /a text for prompt/ })
  await t.rejects(run('x'.repeat(10_001)), { code, message: /10000 characters/ })
  await t.rejects(run('\ud800'), { code, message: /well-formed/ })
  await t.rejects(run('me '.repeat(40)), { code, message: /at most 4 tokens/ })
  const stop = new AbortController()
  const encoding = loaded.restore(picture(1), [], {
    ...QUICK,
    prompt: 'of me',
    signal: stop.signal,
    onProgress: ({ stage }) => {
      if (stage === 'prompt') stop.abort()
    },
  })
  await t.rejects(encoding, { code: 'ERR_ICONFACE_ABORTED' })
  t.notOk(existsSync(join(folder, 'prompts')), 'nothing is kept of it')
  const both = await Promise.all([run(PROMPT), run(PROMPT)])
  t.ok(sameBytes(both[0].data, both[1].data))
  const refused = t.rejects(run('of'), { code: 'ERR_ICONFACE_DISPOSED' })
  await loaded.dispose()
  await refused
})
