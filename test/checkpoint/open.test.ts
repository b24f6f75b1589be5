// Model folders: what the native side is given, and all that can be wrong with the tensors.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { formatProblems } from '../../dist/checkpoint/contract.js'
import { toFloat32 } from '../../dist/formats/dtype.js'
import { examineCheckpoint, openCheckpoint } from '../../dist/checkpoint/open.js'
import { synthesizeCheckpoint } from '../../dist/prepare/synthesize.js'
import { golden, needsGolden } from '../fixtures/golden'
import { readTensors, type Tensor, writeTensors, zeros } from '../fixtures/weights'

const scratch = t.testdir({})
const tiny = join(scratch, 'tiny')
t.before(() => synthesizeCheckpoint('tiny', tiny))

let count = 0
/** A copy of the tiny model with a changed file and a changed config. */
async function variation(
  file: string | undefined,
  change: (tensors: Tensor[]) => Tensor[],
  config: (json: any) => void = () => undefined,
): Promise<string> {
  const folder = join(scratch, `variation-${count++}`)
  cpSync(tiny, folder, { recursive: true })
  if (file) await writeTensors(join(folder, file), change(readTensors(join(tiny, file))))
  const json = JSON.parse(readFileSync(join(tiny, 'iconface.json'), 'utf8')) as object
  config(json)
  writeFileSync(join(folder, 'iconface.json'), JSON.stringify(json))
  return folder
}

/** A change of the autoencoder's entry in `iconface.json`. */
const groups = (count: number) => (json: any) => {
  json.autoencoder.groups = count
}
const same = (tensors: Tensor[]) => tensors
const without = (pattern: RegExp) => (tensors: Tensor[]) => tensors.filter(({ name }) => !pattern.test(name))
const messages = (folder: string) =>
  examineCheckpoint(folder).problems.map(({ part, message }) => `${part}: ${message}`)

t.test('a complete model', async (t) => {
  const spec = openCheckpoint(tiny)
  t.equal(spec.folder, tiny)
  t.equal(spec.synthesized, true)
  t.equal(spec.variant, 'Full')
  t.same(spec.defaults, { size: 64, steps: 4, guidance: 4, seed: 42, rng: 'torch-cuda' })
  t.same(spec.texts, { 'identity.crop': 'template', 'defaults.rng': 'torch-cuda' })
  t.match(spec.numbers, {
    'transformer.hidden': [128],
    'transformer.heads': [2],
    'transformer.headDim': [64],
    'transformer.ropeAxes': [16, 16, 16, 16],
    'transformer.ropeTheta': [2000],
    'vae.latentChannels': [32],
    'vae.levelChannels': [32, 64, 64, 64],
    'vae.groups': [32],
    'adapter.rank': [16],
    'adapter.baseTokens': [32],
    'adapter.identity': [1],
    'adapter.residualStrength': [1],
    'adapter.temperature': [1],
    'face.stageUnits': [1, 1, 1, 1],
    'prompt.length': [16],
  })
  t.equal(spec.files.length, 5)
  t.same(spec.joins, [])
  for (const { file, offset, bytes, shape } of Object.values(spec.tensors)) {
    const fits = offset + bytes <= spec.files[file]!.size && bytes === shape.reduce((a, b) => a * b, 2)
    if (!fits) t.fail('a byte range does not fit', { file, offset, bytes, shape })
  }
  for (const name of [
    'transformer.img_in.weight',
    'vae.bn.running_mean',
    'adapter.structure.blocks.3.gate',
    'face.body.0.res_layer.0.bias',
    'prompt.prompt',
    'prompt.empty',
  ])
    t.ok(spec.tensors[name], name)
  t.notOk(spec.tensors['prompt.prompt_without_references'])
})

t.test("GroupNorm's groups, which shapes do not tell", async (t) => {
  t.match(openCheckpoint(await variation(undefined, same, groups(4))).numbers, { 'vae.groups': [4] })
  t.match(messages(await variation(undefined, same, groups(5))), [
    /autoencoder: 32 channels do not divide into the 5 groups/,
  ])
})

t.test('the bytes of a tensor are those the range names', async (t) => {
  const spec = openCheckpoint(tiny)
  const { file, offset, bytes, dtype } = spec.tensors['adapter.structure.blocks.2.gate']!
  const [gate] = toFloat32(readFileSync(spec.files[file]!.path).subarray(offset, offset + bytes), dtype)
  t.ok(gate! > 0.05 && gate! < 0.45, `a gate is near 0.25: ${gate}`)
})

t.test('the reference tensors make complete models', needsGolden, async (t) => {
  const folder = join(scratch, 'golden')
  mkdirSync(folder)
  const source = golden('iconface/iconface_adapter.safetensors')
  await writeTensors(join(folder, 't'), readTensors(source, 'weight.'))
  await writeTensors(join(folder, 'a'), readTensors(source, 'adapter.'))
  await writeTensors(join(folder, 'f'), readTensors(golden('face/adaface_ir.safetensors'), 'weight.'))
  await writeTensors(join(folder, 'p'), [
    zeros('prompt', [9, 96]),
    zeros('empty', [9, 96]),
    zeros('prompt_without_references', [9, 96]),
  ])
  const config = {
    format: 1,
    transformer: { file: 't', ropeAxes: [16, 16, 16, 16], heads: 2 },
    autoencoder: { file: golden('flux/vae_diffusers_keys.safetensors') },
    adapter: { file: 'a' },
    identity: { file: 'f' },
    prompt: { file: 'p' },
  }
  writeFileSync(join(folder, 'iconface.json'), JSON.stringify(config))
  const spec = openCheckpoint(folder)
  t.equal(spec.variant, 'Full')
  t.match(spec.numbers, {
    'adapter.baseTokens': [12],
    'adapter.detailTokens': [20],
    'face.stageChannels': [8, 16, 24, 40],
  })
  t.match(spec.numbers, { 'vae.levelChannels': [32, 64, 32, 32], 'vae.resBlocks': [2] })
  t.same(spec.tensors['vae.decoder.mid.attn_1.q.weight']?.shape, [32, 32, 1, 1], 'matrices became 1x1 convolutions')
  t.ok(spec.tensors['prompt.prompt_without_references'])
})

t.test('all problems at once: the first 20 and the number of the rest', async (t) => {
  const folder = await variation('transformer.safetensors', without(/^double_blocks\.1\.|^single_blocks\.1\.linear/))
  const problems = messages(folder)
  t.match(problems, [/single_blocks\.1\.linear1\.weight \[1152, 128\] is missing/])
  const error = t.throws(() => openCheckpoint(folder), { code: 'ERR_ICONFACE_INVALID_CHECKPOINT' }) as unknown
  t.match(error, { message: new RegExp(`^the model .* has ${problems.length} problems:\n  transformer: `) })
  const many = Array.from({ length: 25 }, (_, i) => ({ kind: 'missing' as const, part: 'x', message: `${i}` }))
  t.match(formatProblems(many), /^ {2}x: 0\n[^]*\n {2}x: 19\n {2}… and 5 more$/)
})

t.test('missing, unknown, wrongly shaped and wrongly typed tensors', async (t) => {
  const cases: [string, (tensors: Tensor[]) => Tensor[], RegExp][] = [
    ['transformer', without(/^img_in/), /transformer: img_in\.weight is missing, and with it the sizes it tells/],
    ['transformer', (all) => [...all, zeros('extra', [1])], /transformer: extra is not part of this network/],
    ['transformer', (all) => [...all, zeros('guidance_in.in_layer.weight', [1])], /FLUX\.2 \[dev\].*\[klein\]/],
    [
      'transformer',
      (all) => all.map((x) => (x.name === 'final_layer.linear.weight' ? zeros(x.name, [64, 128]) : x)),
      /final_layer\.linear\.weight is \[64, 128\], expected \[128, 128\]/,
    ],
    [
      'transformer',
      (all) => all.map((x) => (x.name === 'single_blocks.0.linear1.weight' ? zeros(x.name, x.shape, 'F8_E4M3') : x)),
      /is stored as F8_E4M3, expected F32, BF16, F16/,
    ],
    [
      'transformer',
      (all) => all.map((x) => (x.name === 'img_in.weight' ? zeros(x.name, [16384]) : x)),
      /img_in\.weight is \[16384\], expected 2 sizes above 0/,
    ],
    ['autoencoder', without(/^encoder\.down/), /autoencoder: encoder\.down\.0\.block\.0\.conv1\.weight is missing/],
    ['autoencoder', without(/^bn\.running_var/), /autoencoder: bn\.running_var \[128\] is missing/],
    ['adaface', without(/^body/), /identity: body\.0\.res_layer\.1\.weight is missing/],
    [
      'adaface',
      without(/^output_layer\.4\.running_mean/),
      /identity: output_layer\.4\.running_mean \[512\] is missing/,
    ],
    ['adapter', without(/^structure\.base/), /adapter: structure\.detail needs structure\.base/],
    ['adapter', without(/^structure\.blocks/), /adapter: structure\.base makes a memory/],
    ['adapter', without(/^structure\.(base|detail)/), /adapter: structure\.blocks attend to a memory/],
    ['adapter', without(/^structure\.residual\.up/), /adapter: structure\.residual\.up\.weight \[128, 16\] is missing/],
    [
      'adapter',
      without(/^structure\.blocks\.3/),
      /adapter: structure\.blocks\.3\.query\.down\.weight \[16, 128\] is missing/,
    ],
    ['adapter', without(/^identity\.single\.bias/), /adapter: identity\.single\.bias \[384\] is missing/],
    ['prompt_embeddings', without(/^empty/), /prompt: empty \[16, 96\] is missing/],
    [
      'prompt_embeddings',
      (all) => [...all, zeros('prompt_without_references', [15, 96])],
      /prompt_without_references is \[15, 96\], expected \[16, 96\]/,
    ],
  ]
  for (const [file, change, message] of cases) {
    const folder = await variation(`${file}.safetensors`, change)
    t.match(messages(folder).join('\n'), message, String(message))
    t.throws(() => openCheckpoint(folder), { code: 'ERR_ICONFACE_INVALID_CHECKPOINT', message })
    rmSync(folder, { recursive: true })
  }
})

t.test('parts that do not fit together', async (t) => {
  const cases: [string | undefined, (tensors: Tensor[]) => Tensor[], (json: any) => void, RegExp][] = [
    [
      undefined,
      same,
      (json) => (json.transformer.ropeAxes = [8, 8, 8, 8]),
      /ropeAxes \[8, 8, 8, 8\] sum to 32, but the head size is 64/,
    ],
    [undefined, same, (json) => (json.transformer.heads = 3), /heads is 3, but hidden size \/ head size is 2/],
    [
      undefined,
      same,
      (json) => delete json.identity,
      /the adapter has an identity pathway, but iconface\.json names no face encoder/,
    ],
    [
      'prompt_embeddings.safetensors',
      () => [zeros('prompt', [4, 95]), zeros('empty', [4, 95])],
      () => undefined,
      /embeddings are 95 wide, but the transformer takes 96/,
    ],
    [
      'adapter.safetensors',
      (all) => all.map((x) => (x.name === 'identity.global.in.weight' ? zeros(x.name, [128, 256]) : x)),
      () => undefined,
      /embeddings have 512 values, but the adapter takes 256/,
    ],
    [
      'adapter.safetensors',
      (all) => all.map((x) => (x.name === 'structure.base.key.weight' ? zeros(x.name, [64, 64]) : x)),
      () => undefined,
      /structure\.base\.key\.weight is \[64, 64\], expected \[128, 128\]/,
    ],
  ]
  for (const [file, change, config, message] of cases) {
    t.match(messages(await variation(file, change, config)).join('\n'), message)
  }
})

t.test("the variants of the paper's Table 3", async (t) => {
  const cases: [string, RegExp][] = [
    ['Full', /^$/],
    ['1-Route', /^structure\.detail/],
    ['ID', /^structure/],
    ['Struct', /^identity/],
    ['Struct', /^identity|^structure\.(base|detail|blocks)/],
    ['Struct', /^identity|^structure\.residual/],
    ['Other', /^structure\.residual/],
  ]
  for (const [variant, absent] of cases) {
    const folder = await variation('adapter.safetensors', without(absent))
    t.equal(openCheckpoint(folder).variant, variant, `without ${absent}`)
  }
  const bare = openCheckpoint(await variation(undefined, same, (json) => (delete json.adapter, delete json.identity)))
  t.equal(bare.variant, 'Concat')
  t.notOk(Object.keys(bare.tensors).some((name) => /^(adapter|face)\./.test(name)))
})

t.test('prompt tensors by other names', async (t) => {
  const change = () => [
    zeros('with', [16, 96]),
    zeros('without', [16, 96]),
    zeros('none', [16, 96]),
    zeros('unused', [1]),
  ]
  const names = { withReferences: 'with', withoutReferences: 'without', empty: 'none' }
  const spec = openCheckpoint(
    await variation('prompt_embeddings.safetensors', change, (json) => Object.assign(json.prompt, names)),
  )
  const prompts = Object.keys(spec.tensors).filter((name) => name.startsWith('prompt.'))
  t.same(prompts, ['prompt.prompt', 'prompt.empty', 'prompt.prompt_without_references'])
})

t.test('a file that is no safetensors file names itself', async (t) => {
  const folder = await variation(undefined, same)
  writeFileSync(join(folder, 'adapter.safetensors'), 'nonsense, but long enough')
  t.throws(() => openCheckpoint(folder), {
    code: 'ERR_ICONFACE_INVALID_CHECKPOINT',
    message: /adapter\.safetensors is no valid/,
  })
})
