// Published names -> canonical names, against files that hold the same weights under both.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { canonicalNames } from '../../dist/checkpoint/canonical-names.js'
import { type NamedTensor } from '../../dist/formats/named-tensors.js'
import { loraName } from '../../dist/checkpoint/lora-names.js'
import { openSafetensors } from '../../dist/formats/safetensors.js'
import { synthesizeCheckpoint } from '../../dist/prepare/synthesize.js'
import { diffusersTransformer } from '../fixtures/diffusers'
import { referenceFiles } from '../fixtures/golden'
import { readTensors, type Tensor, writeTensors } from '../fixtures/weights'

const folder = t.testdir({})
const tiny = join(folder, 'tiny')
t.before(() => synthesizeCheckpoint('tiny', tiny, { seed: 1 }))

/** The bytes that a canonical tensor stands for. */
function bytesOf(file: string, { parts }: NamedTensor): Buffer {
  const all = readFileSync(file)
  return Buffer.concat(parts.map(({ offset, bytes }) => all.subarray(offset, offset + bytes)))
}

t.test("diffusers' autoencoder names, against the same weights under Black Forest Labs'", async (t) => {
  for (const published of referenceFiles('flux/vae_diffusers_keys.safetensors')) {
    const native = readTensors(join(dirname(published), 'vae.safetensors'), 'weight.')
    const counters = native.filter(({ name }) => name === 'bn.num_batches_tracked').map(({ name }) => name)
    const { tensors, naming, ignored, problems } = canonicalNames('autoencoder', openSafetensors(published), 0)
    t.equal(naming, 'diffusers')
    t.same(ignored, counters)
    t.same(problems, [])
    t.equal(tensors.size, native.length - counters.length)
    for (const { name, data } of native) {
      if (counters.includes(name)) continue
      const tensor = tensors.get(name)
      t.ok(tensor && bytesOf(published, tensor).equals(data), name)
    }
  }
})

t.test('decoder levels are counted, not assumed to be four', async (t) => {
  const names = [0, 1, 2].map((i) => `decoder.up_blocks.${i}.resnets.0.conv1.bias`)
  const file = join(folder, 'levels.safetensors')
  await writeTensors(
    file,
    names.map((name, i) => ({ name, dtype: 'F32', shape: [1], data: new Uint8Array([i, 0, 0, 0]) })),
  )
  const { tensors } = canonicalNames('autoencoder', openSafetensors(file), 0)
  t.same(
    [...tensors.keys()],
    [2, 1, 0].map((i) => `decoder.up.${i}.block.0.conv1.bias`),
  )
})

t.test("diffusers' transformer: q, k, v joined, the last modulation's halves swapped", async (t) => {
  const native = readTensors(join(tiny, 'transformer.safetensors'))
  const file = join(folder, 'diffusers.safetensors')
  // Sorted by name, as safetensors' own writer does: q, k and v do not lie next to each other.
  await writeTensors(
    file,
    diffusersTransformer(native).sort((a, b) => (a.name < b.name ? -1 : 1)),
  )
  const { tensors, naming, problems } = canonicalNames('transformer', openSafetensors(file), 3)
  t.equal(naming, 'diffusers')
  t.same(problems, [])
  t.same([...tensors.keys()].sort(), native.map(({ name }) => name).sort())
  for (const { name, shape, data } of native) {
    const tensor = tensors.get(name)!
    t.same(tensor.shape, shape, name)
    t.ok(bytesOf(file, tensor).equals(data), name)
    t.ok(tensor.parts.every((part) => part.file === 3))
  }
})

t.test('a q, k, v that cannot be joined is a problem, not a crash', async (t) => {
  const native = readTensors(join(tiny, 'transformer.safetensors'))
  const file = join(folder, 'broken.safetensors')
  const broken = diffusersTransformer(native).flatMap((tensor): Tensor[] => {
    if (tensor.name === 'transformer_blocks.0.attn.to_k.weight')
      return [{ ...tensor, shape: [tensor.shape[0]! * tensor.shape[1]!] }]
    return tensor.name === 'transformer_blocks.1.attn.add_v_proj.weight' ? [] : [tensor]
  })
  await writeTensors(file, broken)
  const { tensors, problems } = canonicalNames('transformer', openSafetensors(file), 0)
  t.match(problems, [/transformer_blocks\.0\.attn\.to_q.*cannot be joined/])
  t.ok(
    tensors.has('transformer_blocks.1.attn.add_q_proj.weight'),
    'an incomplete one is left for the contract to report',
  )
})

t.test("prefixes of other tools' transformer files", async (t) => {
  const native = readTensors(join(tiny, 'transformer.safetensors'))
  for (const prefix of ['model.diffusion_model.', 'diffusion_model.']) {
    const file = join(folder, 'prefixed.safetensors')
    await writeTensors(
      file,
      native.map((tensor) => ({ ...tensor, name: prefix + tensor.name })),
    )
    const { tensors } = canonicalNames('transformer', openSafetensors(file), 0)
    t.same(
      [...tensors.keys()],
      native.map(({ name }) => name),
    )
  }
})

t.test("AdaFace's checkpoint: prefix, classification head and counters", async (t) => {
  const native = readTensors(join(tiny, 'adaface.safetensors'))
  const counter: Tensor = {
    name: 'input_layer.1.num_batches_tracked',
    dtype: 'I64',
    shape: [],
    data: new Uint8Array(8),
  }
  const head: Tensor = { name: 'head.kernel', dtype: 'F32', shape: [2], data: new Uint8Array(8) }
  const file = join(folder, 'lightning.safetensors')
  const published = [...native, counter].map((tensor) => ({ ...tensor, name: `model.${tensor.name}` }))
  await writeTensors(file, [...published, head])
  const { tensors, ignored } = canonicalNames('face', openSafetensors(file), 0)
  t.same([...tensors.keys()].sort(), native.map(({ name }) => name).sort())
  t.same([...ignored].sort(), ['head.kernel', 'model.input_layer.1.num_batches_tracked'])
})

t.test('LoRA names', async (t) => {
  const module = 'double_blocks.0.img_attn.qkv'
  const whole = { name: module, rows: undefined }
  const diffusers = 'transformer_blocks.12.attn.to_k'
  const cases: [string, object][] = [
    [`${module}.lora_A.weight`, { ...whole, part: 'A' }],
    [`base_model.model.${module}.lora_B.weight`, { ...whole, part: 'B' }],
    [`base_model.model.${module}.lora_A.default.weight`, { ...whole, part: 'A' }],
    [`transformer.${module}.alpha`, { ...whole, part: 'alpha' }],
    [`diffusion_model.${module}.lora_down.weight`, { ...whole, part: 'A' }],
    ['lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight', { ...whole, part: 'B' }],
    ['lora_unet_single_blocks_19_linear1.alpha', { name: 'single_blocks.19.linear1', part: 'alpha' }],
    [
      'lora_unet_final_layer_adaLN_modulation_1.lora_up.weight',
      { name: 'final_layer.adaLN_modulation.1', rows: undefined },
    ],
    [`transformer.${diffusers}.lora_A.weight`, { name: 'double_blocks.12.img_attn.qkv', rows: { pieces: [1], of: 3 } }],
    [
      'lora_unet_transformer_blocks_12_attn_to_k.lora_down.weight',
      { name: 'double_blocks.12.img_attn.qkv', rows: { pieces: [1], of: 3 } },
    ],
    [
      'transformer.norm_out.linear.lora_B.weight',
      { name: 'final_layer.adaLN_modulation.1', rows: { pieces: [1, 0], of: 2 } },
    ],
    [
      'transformer.single_transformer_blocks.3.attn.to_out.lora_B.weight',
      { name: 'single_blocks.3.linear2', part: 'B' },
    ],
  ]
  for (const [name, expected] of cases) t.match(loraName(name), expected, name)
  t.equal(loraName('lora_unet_double_blocks_0_img_attn_other.lora_up.weight'), undefined)
  for (const name of [`${module}.weight`, 'lora_A.weight', '.alpha', '']) t.equal(loraName(name), undefined)
})
