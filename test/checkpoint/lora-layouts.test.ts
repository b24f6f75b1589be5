// What trainers put into LoRA files beside A and B: alphas, patterns, text encoders, other kinds of adapters.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { describePath } from '../../dist/prepare/describe.js'
import { transformerTensors } from '../../dist/checkpoint/expected.js'
import { openCheckpoint } from '../../dist/checkpoint/open.js'
import { openLora } from '../../dist/checkpoint/lora.js'
import { prepareModel } from '../../dist/prepare/prepare.js'
import { PRESETS } from '../../dist/prepare/synthesize.js'
import { IConFace } from '../../dist/index.js'
import { changes, faceIr, scalar } from '../fixtures/lora'
import { checkpoint, dict, pickle, storage, tensor, text } from '../fixtures/pickle'
import { numbers } from '../fixtures/tensors'
import { scratch, tinyModel } from '../fixtures/tiny'
import { type Tensor, writeTensors, zeros } from '../fixtures/weights'

const expected = transformerTensors(PRESETS.tiny.transformer)
const D = 128
const { normal } = numbers(11)
const matrix = (name: string, shape: number[]): Tensor => {
  const values = Float32Array.from({ length: shape[0]! * shape[1]! }, normal)
  return { name, dtype: 'F32', shape, data: new Uint8Array(values.buffer) }
}
const pair = (module: string, rank: number, out = D, into = D) => [
  matrix(`${module}.lora_A.weight`, [rank, into]),
  matrix(`${module}.lora_B.weight`, [out, rank]),
]

let count = 0
/** A folder with a LoRA; with `adapter_config.json` where there is a config. */
async function folderOf(tensors: readonly Tensor[], config?: object, name = 'adapter_model.safetensors') {
  const folder = join(scratch, `layout-${count++}`)
  mkdirSync(folder)
  await writeTensors(join(folder, name), tensors)
  if (config) writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify(config))
  return folder
}
const open = (file: string) => openLora({ file, strength: 1, alpha: undefined }, expected)
const problemsOf = async (tensors: readonly Tensor[]) => open(await folderOf(tensors)).problems

t.test('q, k and v of different ranks, with alphas of their own', async (t) => {
  const place = 'transformer.transformer_blocks.1.attn.'
  const [q, k, v] = [pair(`${place}to_q`, 2), pair(`${place}to_k`, 5), pair(`${place}to_v`, 3)]
  const alphas = [scalar(`${place}to_q.alpha`, 4, 'I64'), scalar(`${place}to_v.alpha`, 6, 'BF16', [1])]
  const lora = open(await folderOf([...q, ...k, ...v, ...alphas]))
  t.same(lora.problems, [])
  const parts = [
    [q, 4 / 2],
    [k, 1],
    [v, 6 / 3],
  ] as const
  const found = changes(lora).get('double_blocks.1.img_attn.qkv')!
  t.equal(found.size, 3 * D)
  for (const [i, [tensors, scale]] of parts.entries()) {
    const module = 'double_blocks.1.img_attn.proj' // of the same size
    const [a, b] = tensors.map((x, at) => ({ ...x, name: `${module}.lora_${'AB'[at]}.weight` }))
    const alone = changes(open(await folderOf([a!, b!, scalar(`${module}.alpha`, scale * a!.shape[0]!)]))).get(module)!
    t.ok(
      [...alone].every(([row, values]) => values.every((x, j) => x === found.get(i * D + row)![j])),
      `part ${i}`,
    )
  }
})

t.test("alpha_pattern and rank_pattern as PEFT reads them: the first that matches the name's end", async (t) => {
  const modules = ['double_blocks.0.img_attn.proj', 'double_blocks.1.img_attn.proj', 'double_blocks.0.txt_attn.proj']
  const tensors = modules.flatMap((module) => pair(`base_model.model.${module}`, 4))
  const alphas = async (alpha_pattern: object, more = {}) => {
    const config = { peft_type: 'LORA', lora_alpha: 1, alpha_pattern, ...more }
    return open(await folderOf(tensors, config)).modules.map(({ alpha }) => alpha)
  }
  t.same(await alphas({}), [1, 1, 1])
  t.same(await alphas({ 'img_attn.proj': 8 }), [8, 8, 1], 'the end of a name, at a dot')
  t.same(await alphas({ 'attn.proj': 8 }), [1, 1, 1], 'not in the midst of a word')
  t.same(await alphas({ '^double_blocks.0.img_attn.proj': 8 }), [8, 1, 1])
  t.same(await alphas({ '^img_attn.proj': 8 }), [1, 1, 1], 'from the beginning')
  t.same(await alphas({ '.*img.*': 8, '.*0.*': 9 }), [8, 8, 9], 'the first')
  t.same(await alphas({ '.*0.*': 9, '.*img.*': 8 }), [9, 8, 9])
  t.same(await alphas({ 'double_blocks\\.\\d+\\.(img|txt)_attn\\.proj': 2.5 }), [2.5, 2.5, 2.5])
  t.same(await alphas({ img_attn: 8, 'proj.': 9 }), [1, 1, 1], 'to the end')
  t.same(await alphas({ '(?P<block>double_blocks).[1-9].+': 8 }), [1, 8, 1])
  t.same(await alphas({ '^double.*': 3 }, { rank_pattern: { '^double.*': 4 } }), [3, 3, 3])
  const contradiction = open(await folderOf(tensors, { rank_pattern: { '.*txt.*': 8 } }))
  t.match(contradiction.problems, [{ message: /txt_attn\.proj: its rank is 4, but adapter_config\.json says 8/ }])
  t.equal(contradiction.problems.length, 1)
  t.match(open(await folderOf(tensors, { lora_alpha: 3, use_rslora: true, alpha_pattern: { '.*txt.*': 5 } })).modules, [
    { scale: 3 / 2 },
    { scale: 3 / 2 },
    { scale: 5 / 2 },
  ])
})

t.test('patterns take no time that grows faster than their length, and what is none is refused', async (t) => {
  const long = `base_model.model.double_blocks.0.img_attn.proj`
  const tensors = pair(long, 4)
  const every = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`double_blocks.${i}.img_attn.proj`, i + 2]))
  t.equal(open(await folderOf(tensors, { alpha_pattern: every })).modules[0]!.alpha, 2, 'a name for every module')
  for (const text of ['(a+)+$', '(.*.*.*.*.*.*.*.*.*.*.*.*)*x', '((([a-z_.0-9]*)*)*)*!', '(.|[a-z]|_|.)*!']) {
    const [module] = open(await folderOf(tensors, { lora_alpha: 1, alpha_pattern: { [text]: 8 } })).modules
    t.equal(module!.alpha, 1, text)
  }
  const code = 'ERR_ICONFACE_INVALID_CHECKPOINT'
  const cases: [object, RegExp][] = [
    [{ alpha_pattern: { '(': 1 } }, /regular expressions.*"alpha_pattern" but received "\("/],
    [{ alpha_pattern: { '(?!txt).*': 1 } }, /without looking around/],
    [{ alpha_pattern: { '(a)\\1': 1 } }, /references back/],
    [{ alpha_pattern: { ['x'.repeat(2000)]: 1 } }, /at most 1024 characters/],
    [{ alpha_pattern: { [`(${'a?'.repeat(500)}){1000}`]: 1 } }, /a pattern that repeats less/],
    [{ alpha_pattern: { '(a{100}){100}': 1 } }, /a pattern that repeats less/],
    [
      { alpha_pattern: Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`${'.*'.repeat(30)}${i}`, 1])) },
      /simpler patterns, or fewer/,
    ],
    [{ alpha_pattern: { '(a{1000}){1000}': 1 } }, /"alpha_pattern"/],
    [{ alpha_pattern: Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`m${i}`, 1])) }, /at most 4096/],
    [{ alpha_pattern: { a: '1' } }, /finite numbers/],
    [{ rank_pattern: [1] }, /"rank_pattern"/],
    [{ lora_alpha: 'x' }, /"lora_alpha"/],
  ]
  for (const [config, message] of cases) {
    const folder = await folderOf(tensors, config)
    t.throws(() => open(folder), { code, message }, JSON.stringify(config).slice(0, 60))
  }
  for (const config of [{ use_dora: true }, { peft_type: 'LOKR' }, { fan_in_fan_out: true }]) {
    const folder = await folderOf(tensors, config)
    t.throws(() => open(folder), { code: 'ERR_ICONFACE_UNSUPPORTED', message: /cannot be merged as a LoRA/ })
  }
})

t.test('other adapters are refused by name', async (t) => {
  const module = 'lora_unet_double_blocks_0_img_attn_proj'
  const good = faceIr([{ module: 'double_blocks.1.img_attn.proj', a: matrix('', [4, D]), b: matrix('', [D, 4]) }])
  const cases: [string, RegExp][] = [
    [`${module}.lokr_w1`, /tensor of a LoKr/],
    [`${module}.lokr_w2_a`, /tensor of a LoKr/],
    [`${module}.hada_w1_a`, /tensor of a LoHa/],
    [`${module}.dora_scale`, /tensor of a DoRA/],
    ['base_model.model.double_blocks.0.img_attn.proj.lora_magnitude_vector.weight', /tensor of a DoRA/],
    [`${module}.oft_blocks`, /tensor of an OFT/],
    [`${module}.oft_diag`, /tensor of an OFT/],
    [`${module}.a1.weight`, /tensor of a GLoRA/],
    [`${module}.on_input`, /tensor of an IA3/],
    [`${module}.lora_mid.weight`, /Tucker/],
    [`${module}.diff`, /difference of whole weights/],
    [`${module}.diff_b`, /difference of whole weights/],
    ['base_model.model.double_blocks.0.img_attn.proj.lora_B.bias', /LoRA with biases/],
    ['base_model.model.double_blocks.0.img_attn.proj.lora_B.default.bias', /LoRA with biases/],
    [`${module}.lora_up.bias`, /LoRA with biases/],
    ['base_model.model.img_in.lora_E.default', /AdaLoRA/],
    [
      'lora_unet_single_blocks_0_modulation_lin.lora_up.weight',
      /no matrix of the transformer: this LoRA is for FLUX\.1/,
    ],
    ['transformer.single_transformer_blocks.0.proj_mlp.lora_A.weight', /this LoRA is for FLUX\.1/],
    ['lora_unet_input_blocks_4_1_proj_in.lora_up.weight', /this LoRA is for Stable Diffusion/],
    ['guidance_in.in_layer.lora_A.weight', /this LoRA is for FLUX\.2 \[dev\]/],
    ['lora_unet_something_else.lora_up.weight', /no matrix of the transformer/],
  ]
  for (const [name, message] of cases) {
    for (const tensors of [[zeros(name, [4, 4])], [...good, zeros(name, [4, 4])]]) {
      const folder = await folderOf(tensors)
      t.ok(
        open(folder).problems.some((problem) => message.test(problem.message)),
        name,
      )
      const inspected = describePath(folder)
      t.match(inspected.parts, [{ role: 'lora' }], name)
      t.ok(
        inspected.problems.some((problem) => message.test(problem.message)),
        `inspect: ${name}`,
      )
    }
  }
  t.match(await problemsOf([...good, zeros('base_model.model.img_in.weight', [4, 4])]), [
    { message: /img_in\.weight is no LoRA tensor/ },
  ])
  const many = Array.from({ length: 30 }, (_, i) => zeros(`lora_unet_single_blocks_${i}_linear1.lokr_w1`, [1]))
  t.match(await problemsOf(many), [
    { message: /^lora_unet_single_blocks_0_linear1\.lokr_w1 .* LoKr.* \(and 29 more like it\)$/ },
  ])
})

t.test('without a transformer, matrices are compared with each other', async (t) => {
  const file = await folderOf([
    ...pair('double_blocks.0.img_attn.qkv', 4, 3 * D, D),
    ...pair('single_blocks.1.linear2', 4, D, 999),
  ])
  t.same(describePath(file).problems, [])
  for (const wrong of [
    pair('double_blocks.0.img_attn.proj', 4, D, 2 * D),
    pair('double_blocks.0.img_attn.qkv', 4, D, D),
    pair('single_blocks.0.linear2', 4, 64, 9),
  ]) {
    const folder = await folderOf([...pair('double_stream_modulation_img.lin', 4, 6 * D, D), ...wrong])
    t.match(describePath(folder).problems, [{ kind: 'shape', message: /hidden size/ }])
  }
})

t.test('tensors for a text encoder are left out, and everybody says so', async (t) => {
  const tiny = await tinyModel()
  const module = 'double_blocks.0.img_attn.proj'
  const names = [
    'text_encoders.qwen3_4b.transformer.model.layers.0.mlp.up_proj.lora_A.weight',
    'te_model_layers_0.lora_up.weight',
    'lora_te_text_model_encoder.lora_down.weight',
    'lora_te2_text_model_encoder.alpha',
    'text_encoder_2.layer.lora_B.weight',
    'base_model.model.text_encoder.layer.lora_B.weight',
    'model.layers.3.self_attn.q_proj.lora_A.weight',
    'lora_te1_x.dora_scale',
    'bundle_emb.word.string_to_param',
  ]
  const plain = faceIr([{ module, a: matrix('', [4, D]), b: matrix('', [D, 4]) }], 'diffusion_model.')
  const extra = names.map((name) => zeros(name, [2, 2]))
  const [without, withThem] = [await folderOf(plain), await folderOf([...plain, ...extra])]
  t.same(changes(open(withThem)), changes(open(without)))
  t.same([...open(withThem).ignored].sort(), [...names].sort())
  const warning = { code: 'WARN_ICONFACE_LEFT_OUT', message: /without 9 tensors for the text encoder.*text_encoder/s }
  t.match(describePath(withThem), { problems: [], warnings: [warning] })
  t.same(describePath(without).warnings, [])
  const out = join(scratch, 'with-text-encoder')
  const { notes } = await prepareModel([tiny, withThem], out)
  t.equal(notes.filter((note) => warning.message.test(note)).length, 1)
  t.match(openCheckpoint(out).warnings, [warning])
  await using model = await IConFace.load(out)
  t.match(
    model.info.warnings.filter(({ code }) => code === warning.code),
    [warning],
  )

  t.match(await problemsOf(extra), [{ message: /changes the text encoder only/ }])
})

t.test("a LoRA in PyTorch's form keeps what its adapter_config.json says", async (t) => {
  const tiny = await tinyModel()
  const module = 'double_blocks.0.img_attn.proj'
  const [a, b] = pair(`base_model.model.${module}`, 4)
  const config = { peft_type: 'LORA', lora_alpha: 1, alpha_pattern: { '^double_blocks.*': 6 } }
  const same = await folderOf([a!, b!], config)
  const folder = join(scratch, 'pytorch-lora')
  mkdirSync(folder)
  const stored = [a!, b!].flatMap(({ name, shape }, i) => [
    text(name),
    tensor(storage(shape[0]! * shape[1]!, String(i)), [...shape], [shape[1]!, 1]),
  ])
  const file = checkpoint(pickle(dict(...stored)), [Buffer.from(a!.data), Buffer.from(b!.data)])
  writeFileSync(join(folder, 'adapter_model.bin'), file)
  writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify(config))
  t.match(describePath(folder).parts, [{ role: 'lora', sizes: { alpha: ['6 (adapter_config.json)'] } }])
  const out = join(scratch, 'from-pytorch-lora')
  const { parts } = await prepareModel([tiny, folder], out)
  const converted = parts.find(({ role }) => role === 'lora')!
  t.match(converted, { converted: 'from PyTorch', file: join(out, 'adapter_model.safetensors') })
  t.same(changes(open(converted.file)), changes(open(same)))
  t.match(openCheckpoint(out).loras, [{ module, alpha: 6, alphaSource: 'metadata', factor: 1.5 }])
  const json = JSON.parse(readFileSync(join(out, 'iconface.json'), 'utf8')) as object
  writeFileSync(join(out, 'iconface.json'), JSON.stringify({ ...json, lora: [{ file: '../pytorch-lora' }] }))
  t.throws(() => openCheckpoint(out), {
    code: 'ERR_ICONFACE_INVALID_CHECKPOINT',
    message: /adapter_model\.bin is a PyTorch file/,
  })
})
