// `iconface synthesize` and `iconface inspect` as processes: what they print and how they exit.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'
import type { Description } from '../../dist/prepare/describe.js'
import { golden, needsGolden } from '../fixtures/golden'
import { readTensors, writeTensors, zeros } from '../fixtures/weights'

const MAIN = resolve(__dirname, '../../dist/cli/main.js')
const scratch = t.testdir({})
const tiny = join(scratch, 'tiny')

const iconface = (...args: string[]) => spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' })
const inspect = (path: string) => JSON.parse(iconface('inspect', path, '--json').stdout) as Description

t.test('synthesize writes a model and says how much', async (t) => {
  const { status, stdout, stderr } = iconface('synthesize', '--out', tiny)
  t.equal(status, 0)
  t.match(stdout, /tiny: \d+ random weights, 8\.3 MiB in .*\/s\)\n$/)
  t.match(stderr, /^write /)
})

t.test('synthesize refuses wrong usage with exit code 2', async (t) => {
  t.match(iconface('synthesize'), { status: 2, stderr: /expected a folder for --out/ })
  t.match(iconface('synthesize', '--out', tiny), { status: 2, stderr: /is not empty.*--force/ })
  t.match(iconface('synthesize', '--out', 'x', '--preset', 'big'), { status: 2, stderr: /--preset/ })
  t.match(iconface('synthesize', '--out', 'x', '--dtype', 'fp8'), { status: 2, stderr: /--dtype/ })
  t.match(iconface('synthesize', '--out', 'x', '--seed', 'one'), { status: 2, stderr: /--seed/ })
  t.match(iconface('synthesize', '--out', 'x', 'y'), { status: 2, stderr: /options only/ })
})

t.test('inspect describes a model', async (t) => {
  const { status, stdout } = iconface('inspect', tiny)
  t.equal(status, 0)
  for (const text of [
    'tiny (random weights)',
    'variant  Full',
    'FLUX.2 transformer',
    'FLUX.2 autoencoder',
    'IConFace adapter',
    'AdaFace face encoder',
    'prompt embeddings',
    'names         Black Forest Labs',
    'no problems',
  ])
    t.ok(stdout.includes(text), text)
  const description = inspect(tiny)
  t.match(description, { kind: 'model', variant: 'Full', problems: [] })
  t.same(
    description.parts.map(({ role }) => role),
    ['transformer', 'autoencoder', 'adapter', 'face', 'prompt'],
  )
  t.match(description.parts[0], { tensors: 41, dtypes: { BF16: 41 }, sizes: { hidden: 128, doubleBlocks: 2 } })
})

t.test('inspect describes single files', async (t) => {
  for (const [name, role] of [
    ['transformer', 'transformer'],
    ['autoencoder', 'autoencoder'],
    ['adapter', 'adapter'],
    ['adaface', 'face'],
    ['prompt_embeddings', 'prompt'],
  ] as const) {
    const { kind, parts, problems, variant } = inspect(join(tiny, `${name}.safetensors`))
    t.match({ kind, parts, problems }, { kind: 'file', parts: [{ role, prefix: '' }], problems: [] }, name)
    t.equal(variant, role === 'adapter' ? 'Full' : undefined)
  }
})

t.test('inspect lists problems and exits with 1', async (t) => {
  const file = join(scratch, 'damaged.safetensors')
  const tensors = readTensors(join(tiny, 'transformer.safetensors'))
  await writeTensors(file, [
    ...tensors.filter(({ name }) => !name.includes('blocks.1.')),
    zeros('double_blocks.1.x', [1]),
  ])
  const { status, stdout } = iconface('inspect', file)
  t.equal(status, 1)
  t.match(stdout, /\n13 problems\n {2}transformer: double_blocks\.1\.img_attn\.qkv\.weight \[384, 128\] is missing\n/)
  t.match(stdout, /double_blocks\.1\.x is not part of this network/)
  await writeTensors(file, [zeros('whatever', [2])])
  t.match(iconface('inspect', file), { status: 1, stdout: /of no network known here/ })
})

t.test('inspect of what is not there or no weights', async (t) => {
  t.match(iconface('inspect', join(scratch, 'gone')), {
    status: 1,
    stderr: /ERR_ICONFACE_FILE_NOT_FOUND: .*gone does not exist/,
  })
  const empty = join(scratch, 'empty')
  mkdirSync(empty)
  t.match(iconface('inspect', empty), { status: 1, stderr: /holds no iconface\.json and no weights/ })
  t.match(iconface('inspect', MAIN), {
    status: 1,
    stderr: /ERR_ICONFACE_INVALID_CHECKPOINT: .*no valid safetensors file/,
  })
  t.match(iconface('inspect', tiny, tiny), { status: 2, stderr: /one path/ })
})

t.test('inspect of reference tensors and LoRAs', needsGolden, async (t) => {
  const adapter = inspect(golden('iconface/iconface_adapter.safetensors'))
  t.match(adapter, { variant: 'Full', problems: [] })
  t.same(adapter.parts.map(({ role, prefix }) => `${role} ${prefix}`).sort(), [
    'adapter adapter.',
    'test data input.',
    'test data intermediate.',
    'test data output.',
    'transformer weight.',
  ])
  t.match(inspect(golden('flux/lora_r4')), {
    problems: [],
    parts: [{ role: 'lora', sizes: { rank: [4], modules: 4 } }],
  })
  t.match(inspect(golden('flux/vae_diffusers_keys.safetensors')), { problems: [], parts: [{ naming: 'diffusers' }] })
  t.match(inspect(golden('face/adaface_ir.safetensors')).problems, [])
})

t.test('help names both commands', async (t) => {
  const help = execFileSync(process.execPath, [MAIN, '--help'], { encoding: 'utf8' })
  t.match(help, /inspect .*\n.*synthesize /)
  t.match(iconface('inspect', '--help').stdout, /^Usage: iconface inspect/)
  t.match(iconface('synthesize', '--help').stdout, /^Usage: iconface synthesize/)
})
