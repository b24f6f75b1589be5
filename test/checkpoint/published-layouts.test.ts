// The same weights in other people's layouts restore the same pixels.
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openCheckpoint } from '../../dist/checkpoint/layout.js'
import { synthesizeCheckpoint } from '../../dist/checkpoint/synthesize.js'
import { IConFace, type ImageInput } from '../../dist/index.js'
import { diffusersAutoencoder, diffusersTransformer } from '../fixtures/diffusers'
import { numbers } from '../fixtures/mutate'
import { readTensors, writeTensors, zeros } from '../fixtures/weights'

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
