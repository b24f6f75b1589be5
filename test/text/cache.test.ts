// Kept embeddings of prompts: an entry serves the model, prompt, encoder, shape and precision that it is of, and no
// other; one that is damaged serves nobody.
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { DType } from '../../dist/formats/dtype.js'
import { type CacheKey, PromptCache } from '../../dist/text/cache.js'
import { fingerprint, openTextEncoder } from '../../dist/text/encoder.js'
import { scratchFolder } from '../fixtures/fake'
import { OUTPUT_LAYERS, SIZES, smallTokenizer, textWeights, writeTextEncoder } from '../fixtures/qwen'
import { writeTensors } from '../fixtures/weights'

const scratch = scratchFolder()
const cacheHome = join(scratch, 'cache')
process.env.XDG_CACHE_HOME = cacheHome

const newModel = () => mkdtempSync(join(scratch, 'model-'))
const SHAPE = [3, 4] as const
const key: CacheKey & { encoder: string } = {
  prompt: 'photo of me',
  precision: 'f32',
  shape: SHAPE,
  encoder: 'a'.repeat(64),
}
const values = (seed: number) => Float32Array.from({ length: 12 }, (_, i) => Math.fround(seed + i / 7))
const embeddings = (seed: number) => ({ dtype: 'f32' as const, shape: [...SHAPE], data: values(seed) })
/** The entry of the prompt beside a model. */
const entryOf = (model: string, precision = 'f32') =>
  join(model, 'prompts', `${createHash('sha256').update(key.prompt).digest('hex')}.${precision}.safetensors`)

t.test('an entry is found again by whoever asks for the same', async (t) => {
  const model = newModel()
  const cache = new PromptCache(model)
  t.equal(cache.read(key), undefined)
  t.same((await cache.write(key, embeddings(1))).data, values(1))
  t.ok(existsSync(entryOf(model)), 'named by the prompt and the precision')
  t.same(cache.read(key), embeddings(1))
  t.same(new PromptCache(model).read(key), embeddings(1))
  t.same(cache.read({ ...key, encoder: undefined }), embeddings(1), 'where there is no encoder, the entry is its own')
  t.same(cache.read({ ...key, precision: 'bf16' }), embeddings(1), 'f32 is precise enough for bf16')
})

t.test('and by nobody else', async (t) => {
  const cache = new PromptCache(newModel())
  await cache.write(key, embeddings(1))
  for (const [what, other] of Object.entries({
    'another prompt': { prompt: 'photo of Me' },
    'another encoder': { encoder: 'b'.repeat(64) },
    'more tokens': { shape: [4, 4] },
    wider: { shape: [3, 5] },
    'as many values, in another shape': { shape: [4, 3] },
  } as Record<string, Partial<CacheKey>>))
    t.equal(cache.read({ ...key, ...other }), undefined, what)
})

t.test('bf16 is kept beside f32, rounded, and does not serve f32', async (t) => {
  const model = newModel()
  const cache = new PromptCache(model)
  const half = { ...key, precision: 'bf16' } as const
  const written = await cache.write(half, embeddings(0.5))
  t.equal(written.dtype, 'bf16')
  const bits = new Uint32Array(values(0.5).buffer)
  t.same(
    written.data,
    Uint16Array.from(bits, (b) => (b + 0x7fff + ((b >>> 16) & 1)) >>> 16),
    'to the nearest, ties to even',
  )
  t.same(cache.read(half), written)
  t.equal(cache.read(key), undefined)
  await cache.write(key, embeddings(2))
  t.same(cache.read(key), embeddings(2))
  t.same(cache.read(half), written, 'its own precision first')
  t.equal(readdirSync(join(model, 'prompts')).length, 2)
})

t.test('two models with the same prompt keep an entry each, also in the folder of the user', async (t) => {
  for (const writable of [true, false]) {
    const [first, second] = [newModel(), newModel()]
    // A file where the folder would be: even root cannot write beside the model then.
    if (!writable) for (const model of [first, second]) writeFileSync(join(model, 'prompts'), '')
    await new PromptCache(first).write(key, embeddings(1))
    t.equal(new PromptCache(second).read(key), undefined)
    await new PromptCache(second).write(key, embeddings(2))
    t.same(new PromptCache(first).read(key), embeddings(1))
    t.same(new PromptCache(second).read(key), embeddings(2))
    t.equal(existsSync(join(cacheHome, 'iconface', 'prompts')), !writable)
    const link = `${first}-link`
    symlinkSync(first, link)
    t.same(new PromptCache(link).read(key), embeddings(1), 'the same model by another name')
  }
})

t.test('two models that share a folder: the encoder decides whose an entry is', async (t) => {
  const folder = newModel()
  const [mine, theirs] = [key, { ...key, encoder: 'c'.repeat(64) }]
  const cache = new PromptCache(folder)
  await cache.write(mine, embeddings(1))
  t.equal(cache.read(theirs), undefined)
  await cache.write(theirs, embeddings(2))
  t.same(cache.read(theirs), embeddings(2))
  t.equal(cache.read(mine), undefined, 'the last one is kept, and the other is made again')
})

t.test('damaged entries are as if they were not there', async (t) => {
  const model = newModel()
  const cache = new PromptCache(model)
  await cache.write(key, embeddings(1))
  const file = entryOf(model)
  const good = readFileSync(file)
  for (let length = 0; length < good.length; length += 9) {
    writeFileSync(file, good)
    truncateSync(file, length)
    t.equal(cache.read(key), undefined, `${length} of ${good.length} bytes`)
  }
  const metadata = { prompt: key.prompt, encoder: key.encoder }
  const tensor = (dtype: DType, shape: number[], name = 'embeddings') => ({
    name,
    dtype,
    shape,
    data: new Uint8Array(shape.reduce((a, b) => a * b, dtype === 'F32' ? 4 : 2)),
  })
  for (const [what, tensors, words] of [
    ['another type', [tensor('F16', [3, 4])], metadata],
    ['bf16 under the name of f32', [tensor('BF16', [3, 4])], metadata],
    ['another shape', [tensor('F32', [12])], metadata],
    ['another name', [tensor('F32', [3, 4], 'prompt')], metadata],
    ['no tensor', [], metadata],
    ['no words', [tensor('F32', [3, 4])], {}],
    ['no prompt', [tensor('F32', [3, 4])], { encoder: key.encoder }],
    ['no encoder', [tensor('F32', [3, 4])], { prompt: key.prompt }],
  ] as const) {
    await writeTensors(file, tensors as never, words)
    t.equal(cache.read(key), undefined, what)
  }
  await writeTensors(file, [tensor('F32', [3, 4])], metadata)
  t.same(cache.read(key)?.data, new Float32Array(12), 'the same, put right')
  await cache.write(key, embeddings(3))
  t.same(cache.read(key), embeddings(3), 'a new one takes its place')
})

t.test('an encoder is known by its weights, its tokenizer and its settings', async (t) => {
  const known = async (seed: number, words?: string[], layers = OUTPUT_LAYERS, change?: (bytes: Buffer) => void) => {
    const folder = mkdtempSync(join(scratch, 'encoder-'))
    const file = await writeTextEncoder(folder, textWeights(seed, SIZES), 'file')
    if (change) {
      const bytes = readFileSync(file)
      change(bytes)
      writeFileSync(file, bytes)
    }
    const tokenizer = join(folder, 'tokenizer.json')
    writeFileSync(tokenizer, JSON.stringify(smallTokenizer(words)))
    return fingerprint(openTextEncoder(file, { outputLayers: layers }), tokenizer)
  }
  const first = await known(1)
  t.match(first, /^[0-9a-f]{64}$/)
  t.equal(await known(1), first, 'wherever it lies')
  const others = [
    await known(2),
    await known(1, ['user']),
    await known(1, undefined, [1, 2, 4]),
    await known(1, undefined, undefined, (bytes) => (bytes[bytes.length - 100]! ^= 1)), // within the last sample
  ]
  t.equal(new Set([first, ...others]).size, 5)
})
