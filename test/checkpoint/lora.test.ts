// LoRA files: modules, ranks, and where alpha comes from.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { PRESETS, synthesizeCheckpoint } from '../../dist/prepare/synthesize.js'
import { transformerTensors } from '../../dist/checkpoint/expected.js'
import { openCheckpoint } from '../../dist/checkpoint/open.js'
import { openLora } from '../../dist/checkpoint/lora.js'
import { golden, needsGolden } from '../fixtures/golden'
import { type Tensor, writeTensors, zeros } from '../fixtures/weights'

const scratch = t.testdir({})
const QKV = 'double_blocks.0.img_attn.qkv'
const expected = transformerTensors(PRESETS.tiny.transformer)

const real = (name: string, value: number): Tensor => ({
  name,
  dtype: 'F32',
  shape: [],
  data: new Uint8Array(new Float32Array([value]).buffer),
})
const pair = (module: string, rank: number, out: number, into: number) => [
  zeros(`${module}.lora_A.weight`, [rank, into]),
  zeros(`${module}.lora_B.weight`, [out, rank]),
]

let count = 0
async function lora(tensors: Tensor[], config?: object | string, alpha?: number, strength = 1) {
  const folder = join(scratch, `lora-${count++}`)
  mkdirSync(folder)
  await writeTensors(join(folder, 'lora_weights.safetensors'), tensors)
  if (config)
    writeFileSync(join(folder, 'adapter_config.json'), typeof config === 'string' ? config : JSON.stringify(config))
  return openLora({ file: folder, strength, alpha }, expected)
}

t.test("the authors' folders", needsGolden, async (t) => {
  for (const [name, rank, alpha] of [
    ['lora_r4', 4, 8],
    ['lora_r16', 16, 16],
  ] as const) {
    const { modules, problems } = openLora({ file: golden(`flux/${name}`), strength: 1, alpha: undefined })
    t.same(problems, [])
    t.equal(modules.length, 4)
    for (const module of modules) t.match(module, { rank, alpha, alphaSource: 'tensor' })
  }
})

t.test('alpha: iconface.json, then the tensor, then adapter_config.json, then the rank', async (t) => {
  const tensors = pair(QKV, 4, 384, 128)
  const alpha = real(`${QKV}.alpha`, 8)
  const config = { lora_alpha: 2, lora_rank: 4 }
  t.match((await lora([...tensors, alpha], config, 3)).modules[0], { alpha: 3, alphaSource: 'iconface.json' })
  t.match((await lora([...tensors, alpha], config)).modules[0], { alpha: 8, alphaSource: 'tensor' })
  t.match((await lora(tensors, config)).modules[0], { alpha: 2, alphaSource: 'adapter_config.json' })
  t.match((await lora(tensors, {})).modules[0], { alpha: 4, alphaSource: 'rank' })
  t.match((await lora(tensors)).modules[0], { alpha: 4, alphaSource: 'rank', rank: 4, module: QKV })
})

t.test('what is wrong with a LoRA file', async (t) => {
  const cases: [Tensor[], RegExp][] = [
    [[], /holds no <module>\.lora_A\.weight/],
    [pair(QKV, 4, 384, 128).slice(0, 1), /double_blocks\.0\.img_attn\.qkv: B \(lora_B, lora_up\) is missing/],
    [pair(QKV, 4, 384, 128).slice(1), /qkv: A \(lora_A, lora_down\) is missing/],
    [pair(QKV, 4, 383, 128), /B A is \[383, 128\], the matrix is \[384, 128\]/],
    [pair('double_blocks.7.img_attn.qkv', 4, 384, 128), /is no matrix of the transformer/],
    [pair('double_blocks.0.img_attn.norm.query_norm', 4, 64, 1), /is no matrix of the transformer/],
    [[...pair(QKV, 4, 384, 128), zeros('other', [1])], /other is no LoRA tensor/],
    [[...pair(QKV, 4, 384, 128), ...pair(`transformer.${QKV}`, 4, 384, 128)], /are both A of/],
    [[...pair(QKV, 4, 384, 128), zeros(`${QKV}.alpha`, [2])], /alpha is F32 \[2\], expected a single real number/],
    [
      [zeros(`${QKV}.lora_A.weight`, [4, 128]), zeros(`${QKV}.lora_B.weight`, [384, 5])],
      /expected \[r, in\] and \[out, r\]/,
    ],
    [
      [zeros(`${QKV}.lora_A.weight`, [0, 128]), zeros(`${QKV}.lora_B.weight`, [384, 0])],
      /expected \[r, in\] and \[out, r\]/,
    ],
    [
      [zeros(`${QKV}.lora_A.weight`, [4, 128], 'I64'), zeros(`${QKV}.lora_B.weight`, [384, 4])],
      /qkv: A is stored as I64/,
    ],
  ]
  for (const [tensors, message] of cases) {
    t.match((await lora(tensors)).problems.map((problem) => problem.message).join('\n'), message)
  }
  const code = 'ERR_ICONFACE_INVALID_CHECKPOINT'
  const tensors = pair(QKV, 4, 384, 128)
  await t.rejects(lora([...tensors, real(`${QKV}.alpha`, NaN)]), { code, message: /alpha .* is NaN/ })
  await t.rejects(lora(tensors, { lora_alpha: '2' }), {
    code,
    message: /finite number for "lora_alpha" but received "2"/,
  })
  await t.rejects(lora(tensors, '{'), { code, message: /adapter_config\.json is no valid JSON/ })
})

t.test('a model with two LoRAs', async (t) => {
  const folder = join(scratch, 'model')
  await synthesizeCheckpoint('tiny', folder)
  await writeTensors(join(folder, 'one.safetensors'), pair(QKV, 4, 384, 128))
  await writeTensors(join(folder, 'two.safetensors'), [
    ...pair(QKV, 2, 384, 128),
    ...pair('single_blocks.1.linear2', 2, 128, 512),
  ])
  const { readFileSync } = await import('node:fs')
  const config = JSON.parse(readFileSync(join(folder, 'iconface.json'), 'utf8')) as Record<string, unknown>
  config.lora = [
    { file: 'one.safetensors', strength: 0.5 },
    { file: 'two.safetensors', alpha: 6 },
  ]
  writeFileSync(join(folder, 'iconface.json'), JSON.stringify(config))
  const { loras, tensors, files } = openCheckpoint(folder)
  t.match(loras, [
    { module: QKV, a: `lora.0.${QKV}.A`, b: `lora.0.${QKV}.B`, factor: 0.5, rank: 4 },
    { module: QKV, factor: 3, alpha: 6, alphaSource: 'iconface.json' },
    { module: 'single_blocks.1.linear2', b: 'lora.1.single_blocks.1.linear2.B', factor: 3 },
  ])
  t.same(tensors[`lora.1.${QKV}.A`]?.shape, [2, 128])
  t.match(files[tensors[`lora.1.${QKV}.A`]!.file]!.path, /two\.safetensors$/)
})
