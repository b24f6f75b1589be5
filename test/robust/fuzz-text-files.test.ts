// Mutated JSON files beside weights: indexes of shards, name maps, adapter_config.json, iconface.json, config.json,
// tokenizer.json. Each ends in a result or in an IConFaceError that names the file. ICONFACE_FUZZ_CASES sets the number
// for each; a thousand in all.
import t from 'tap'
import { cpSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describePath } from '../../dist/prepare/describe.js'
import { describeWeights } from '../../dist/prepare/findings.js'
import { openCheckpoint } from '../../dist/checkpoint/open.js'
import { openLora } from '../../dist/checkpoint/lora.js'
import { readNameMap } from '../../dist/checkpoint/name-map.js'
import { openWeights } from '../../dist/formats/shards.js'
import { isIConFaceError } from '../../dist/index.js'
import { openTextEncoder, PromptTokenizer } from '../../dist/networks/index.js'
import { mutatedText, numbers } from '../fixtures/mutate'
import { OUTPUT_LAYERS, smallTokenizer, textWeights, writeTextEncoder } from '../fixtures/qwen'
import { faceIr } from '../fixtures/lora'
import { scratch, tinyModel } from '../fixtures/tiny'
import { readTensors, writeTensors, zeros } from '../fixtures/weights'

const CASES = Number(process.env.ICONFACE_FUZZ_CASES ?? 150)
const encoder = join(scratch, 'encoder')
const lora = join(scratch, 'lora')
const model = join(scratch, 'model')

interface Target {
  /** The file that is altered. */
  file: string
  /** What reads it. */
  read(): unknown
}

const targets: Target[] = []

t.before(async () => {
  const tiny = await tinyModel()
  cpSync(tiny, model, { recursive: true })
  await writeTextEncoder(encoder, textWeights(1), 'shards')
  writeFileSync(join(encoder, 'tokenizer.json'), JSON.stringify(smallTokenizer(['user', 'assistant'])))
  mkdirSync(lora)
  const [a, b] = [zeros('a', [4, 128]), zeros('b', [384, 4])]
  const module = 'double_blocks.0.img_attn.qkv'
  await writeTensors(join(lora, 'adapter_model.safetensors'), faceIr([{ module, a, b }], 'base_model.model.'))
  const adapterConfig = join(lora, 'adapter_config.json')
  writeFileSync(
    adapterConfig,
    JSON.stringify({
      peft_type: 'LORA',
      r: 4,
      lora_alpha: 6,
      use_rslora: false,
      alpha_pattern: { qkv: 6 },
      rank_pattern: {},
    }),
  )
  const adapter = join(scratch, 'adapter.safetensors')
  const renamed = readTensors(join(tiny, 'adapter.safetensors')).map((x) => ({
    ...x,
    name: x.name.replace('structure', 'theirs'),
  }))
  await writeTensors(adapter, renamed)
  const names = join(scratch, 'names.json')
  writeFileSync(
    names,
    JSON.stringify({
      rules: [
        { from: 'theirs.blocks.{i}.{x}', to: 'structure.blocks.{i}.{x}' },
        { from: 'theirs.{x}', to: 'structure.{x}' },
      ],
      ignore: ['step', 'ema.{x}'],
    }),
  )
  const vae = join(scratch, 'vae')
  mkdirSync(vae)
  cpSync(join(tiny, 'autoencoder.safetensors'), join(vae, 'diffusion_pytorch_model.safetensors'))
  const vaeConfig = join(vae, 'config.json')
  writeFileSync(
    vaeConfig,
    JSON.stringify({ _class_name: 'AutoencoderKLFlux2', norm_num_groups: 32, batch_norm_eps: 1e-4 }),
  )
  const index = join(encoder, 'model.safetensors.index.json')
  targets.push(
    { file: index, read: () => openWeights(index) },
    { file: names, read: () => describeWeights(adapter, readNameMap(names)) },
    { file: adapterConfig, read: () => openLora({ file: lora, strength: 1, alpha: undefined }) },
    { file: join(model, 'iconface.json'), read: () => [openCheckpoint(model), describePath(model)] },
    { file: vaeConfig, read: () => describeWeights(join(vae, 'diffusion_pytorch_model.safetensors')) },
    {
      file: join(encoder, 'config.json'),
      read: () => openTextEncoder(encoder, { outputLayers: OUTPUT_LAYERS }),
    },
    {
      file: join(encoder, 'tokenizer.json'),
      read: () => PromptTokenizer.open(join(encoder, 'tokenizer.json')).encodePrompt('photo of me', 64),
    },
  )
})

/** What went wrong; `undefined` for a result or a clear error that names a file. */
function failure({ read }: Target): string | undefined {
  try {
    read()
    return 'accepted'
  } catch (error) {
    if (isIConFaceError(error) && error.message.includes(scratch)) return undefined
    return error instanceof Error ? `${error.message}\n${error.stack}` : String(error)
  }
}

t.test(`${CASES} mutations of each file`, async (t) => {
  for (const target of targets) {
    const original = readFileSync(target.file)
    t.equal(failure(target), 'accepted', target.file)
    let accepted = 0
    for (let i = 0; i < CASES; i++) {
      writeFileSync(target.file, mutatedText(original, numbers(i)))
      const complaint = failure(target)
      if (complaint === 'accepted') accepted++
      else if (complaint !== undefined) t.fail(`${target.file}, mutation ${i}: ${complaint}`)
    }
    writeFileSync(target.file, original)
    t.ok(accepted < CASES, `${target.file}: ${accepted} of ${CASES} accepted`)
  }
})

t.test('cut short, each is named', async (t) => {
  for (const target of targets) {
    const original = readFileSync(target.file)
    for (const length of [0, 1, Math.floor(original.length / 2), original.length - 3]) {
      truncateSync(target.file, length)
      t.throws(target.read, {
        code: 'ERR_ICONFACE_INVALID_CHECKPOINT',
        message: new RegExp(target.file.replaceAll('.', '\\.')),
      })
      writeFileSync(target.file, original)
    }
  }
})
