// W + s (alpha / r) B A written out in float64, against the weights that are computed with. All numbers are multiples
// of powers of two and small, so that the sum is exact and the networks must give the same bits.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { synthesizeCheckpoint } from '../../dist/prepare/synthesize.js'
import { type Checkpoint, Networks } from '../../dist/networks/index.js'
import { openCheckpoint } from '../../dist/checkpoint/open.js'
import { bf16, type Tensor as Operand } from '../../dist/ops/index.js'
import { diffusers, faceIr, kohya, type LoraMatrices } from '../fixtures/lora'
import { numbers, relativeError, sameBits } from '../fixtures/tensors'
import { readTensors, type Tensor, writeTensors } from '../fixtures/weights'

const D = 128
/** Module, rows, columns, and the rank of its change. */
const MODULES = [
  ['double_blocks.0.img_attn.qkv', 3 * D, D, 4],
  ['double_blocks.1.txt_attn.qkv', 3 * D, D, 2],
  ['double_blocks.1.img_attn.proj', D, D, 8],
  ['double_blocks.1.img_mlp.0', 768, D, 4],
  ['single_blocks.0.linear1', 1152, D, 1],
  ['single_blocks.1.linear2', D, 512, 4],
  ['final_layer.adaLN_modulation.1', 2 * D, D, 4],
] as const

const scratch = t.testdir({})
const base = join(scratch, 'base')
/** Of the base, by module. */
const matrices = new Map<string, Float64Array>()

const bytesOf = (data: Float32Array | Uint16Array) => new Uint8Array(data.buffer)
const valuesOf = ({ data }: Tensor) => new Float32Array(data.slice().buffer)
const scalar = (name: string, value: number): Tensor => ({
  name,
  dtype: 'F32',
  shape: [],
  data: bytesOf(Float32Array.of(value)),
})

t.before(async () => {
  await synthesizeCheckpoint('tiny', base)
  const file = join(base, 'transformer.safetensors')
  const { uniform } = numbers(1)
  const tensors = readTensors(file).map((each) => {
    const module = each.name.replace(/\.weight$/, '')
    if (!MODULES.some(([name]) => name === module)) return each
    const [rows, columns] = each.shape as [number, number]
    const values = Float64Array.from({ length: rows * columns }, () => Math.round((uniform() - 0.5) * 64) / 256)
    matrices.set(module, values)
    return { ...each, data: bytesOf(bf16([values.length], values).data as Uint16Array) }
  })
  await writeTensors(file, tensors)
})

/** One change of every module, each of its own rank; multiples of 1/32. */
function changes(seed: number, only: (module: string) => boolean = () => true): LoraMatrices[] {
  const { uniform } = numbers(seed)
  const matrix = (rows: number, columns: number): Tensor => {
    const values = Float32Array.from({ length: rows * columns }, () => Math.round((uniform() - 0.5) * 16) / 32)
    return { name: '', dtype: 'F32', shape: [rows, columns], data: bytesOf(values) }
  }
  return MODULES.filter(([module]) => only(module)).map(([module, rows, columns, rank]) => {
    return { module, a: matrix(rank, columns), b: matrix(rows, rank) }
  })
}

/** A model of the base and LoRA files. */
async function adapted(
  name: string,
  loras: { tensors: Tensor[]; file?: string; config?: object; metadata?: Record<string, string>; entry?: object }[],
) {
  const folder = join(scratch, name)
  cpSync(base, folder, { recursive: true })
  const entries: object[] = []
  for (const [i, { tensors, file = 'lora.safetensors', config, metadata, entry }] of loras.entries()) {
    mkdirSync(join(folder, `lora-${i}`))
    if (config) writeFileSync(join(folder, `lora-${i}`, 'adapter_config.json'), JSON.stringify(config))
    await writeTensors(join(folder, `lora-${i}`, file), tensors, metadata)
    entries.push({ file: `lora-${i}`, ...entry })
  }
  const json = JSON.parse(readFileSync(join(base, 'iconface.json'), 'utf8')) as object
  writeFileSync(join(folder, 'iconface.json'), JSON.stringify({ ...json, lora: entries }))
  return openCheckpoint(folder)
}

/** A model whose weights are the sums, written out. `factor` is strength times alpha by rank (or by its root). */
async function written(name: string, terms: { lora: LoraMatrices; factor: number }[], precision: 'f32' | 'bf16') {
  const folder = join(scratch, name)
  cpSync(base, folder, { recursive: true })
  const file = join(folder, 'transformer.safetensors')
  const sums = new Map([...matrices].map(([module, values]) => [module, values.slice()]))
  for (const { lora, factor } of terms) {
    const { a, b, module } = lora
    const [[rank, columns], [rows]] = [a.shape, b.shape] as [[number, number], [number, number]]
    const [A, B, W] = [valuesOf(a), valuesOf(b), sums.get(module)!]
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++)
        for (let r = 0; r < rank; r++) W[i * columns + j]! += factor * B[i * rank + r]! * A[r * columns + j]!
  }
  const tensors = readTensors(file).map((each): Tensor => {
    const sum = sums.get(each.name.replace(/\.weight$/, ''))
    if (!sum) return each
    return precision === 'f32'
      ? { ...each, dtype: 'F32', data: bytesOf(Float32Array.from(sum)) }
      : { ...each, data: bytesOf(bf16([sum.length], sum).data as Uint16Array) }
  })
  await writeTensors(file, tensors)
  return openCheckpoint(folder)
}

/** What a transformer predicts, for all image tokens. */
async function predicted(checkpoint: Checkpoint, precision: 'f32' | 'bf16'): Promise<Operand> {
  await using networks = await Networks.load(checkpoint, { precision, threads: 2 })
  const { tensor } = numbers(99)
  const ids = Array.from({ length: 5 + 8 }, (_, i) => [i < 5 ? 0 : i < 9 ? 0 : 2, i % 2, (i >> 1) % 2, i < 5 ? i : 0])
  const { prediction } = await networks.run(
    'transformer',
    {
      latents: tensor([4, 128]),
      condition: tensor([4, 128]),
      text0: tensor([5, 96]),
      ids: tensor([13, 4], (i) => ids.flat()[i]!),
    },
    { timestep: 0.6, sceneGrid: [2, 2], degradedGrid: [2, 2], predictAll: true },
  )
  return prediction
}

const rankOf = ({ a }: LoraMatrices) => a.shape[0]!
const all = changes(2)
const alphas = all.map(({ module }) => scalar(`${module}.alpha`, 6))
const peft = { peft_type: 'LORA', r: 4, lora_alpha: 6, target_modules: ['qkv'] }
const diffusersMetadata = { lora_adapter_metadata: JSON.stringify({ 'transformer.lora_alpha': 6, 'transformer.r': 4 }) }

type Loras = Parameters<typeof adapted>[1]
/** What the files hold, and the factor of each change. Without an alpha it is the rank. */
const CASES: Record<string, { loras: Loras; terms: { lora: LoraMatrices; factor: number }[] }> = {
  'FaceIR, alpha as a tensor': { loras: [{ tensors: faceIr(all, '', alphas) }], terms: six((rank) => rank) },
  'FaceIR, no alpha at all': { loras: [{ tensors: faceIr(all) }], terms: all.map((lora) => ({ lora, factor: 1 })) },
  'FaceIR, alpha in adapter_config.json': {
    loras: [{ tensors: faceIr(all), file: 'lora_weights.safetensors', config: { lora_alpha: 6, lora_rank: 4 } }],
    terms: six((rank) => rank),
  },
  PEFT: {
    loras: [{ tensors: faceIr(all, 'base_model.model.'), file: 'adapter_model.safetensors', config: peft }],
    terms: six((rank) => rank),
  },
  'PEFT with the root of the rank': {
    loras: [
      {
        tensors: faceIr(
          all.filter((lora) => rankOf(lora) === 4),
          'base_model.model.',
        ),
        file: 'adapter_model.safetensors',
        config: { ...peft, use_rslora: true },
      },
    ],
    terms: six((rank) => Math.sqrt(rank)).filter(({ lora }) => rankOf(lora) === 4),
  },
  'PEFT with another alpha for some': {
    loras: [
      {
        tensors: faceIr(all, 'base_model.model.'),
        file: 'adapter_model.safetensors',
        config: { ...peft, alpha_pattern: { 'img_attn.proj': 12, linear2: 2 } },
      },
    ],
    terms: six((rank) => rank).map(({ lora, factor }) => ({
      lora,
      factor: factor * (/img_attn\.proj/.test(lora.module) ? 2 : /linear2/.test(lora.module) ? 1 / 3 : 1),
    })),
  },
  diffusers: {
    loras: [{ tensors: diffusers(all), file: 'pytorch_lora_weights.safetensors', metadata: diffusersMetadata }],
    terms: six((rank) => rank),
  },
  'diffusers within PEFT': {
    loras: [
      { tensors: diffusers(all, 'base_model.model.transformer.'), file: 'adapter_model.safetensors', config: peft },
    ],
    terms: six((rank) => rank),
  },
  ComfyUI: { loras: [{ tensors: faceIr(all, 'diffusion_model.', alphas) }], terms: six((rank) => rank) },
  kohya: { loras: [{ tensors: kohya(all, () => scalar('', 6)) }], terms: six((rank) => rank) },
  'strength 0.25': {
    loras: [{ tensors: faceIr(all, '', alphas), entry: { strength: 0.25 } }],
    terms: six((rank) => 4 * rank),
  },
  'a negative strength': {
    loras: [{ tensors: faceIr(all, '', alphas), entry: { strength: -0.5 } }],
    terms: six((rank) => -2 * rank),
  },
  'alpha in iconface.json': {
    loras: [{ tensors: faceIr(all, '', alphas), entry: { alpha: 3 } }],
    terms: six((rank) => 2 * rank),
  },
  'two on one module': several(),
}

/** All changes with alpha 6, divided by something of the rank. */
function six(divisor: (rank: number) => number) {
  return all.map((lora) => ({ lora, factor: 6 / divisor(rankOf(lora)) }))
}

function several(): (typeof CASES)[string] {
  const [one, two] = [
    changes(3, (module) => /qkv|linear/.test(module)),
    changes(4, (module) => /qkv|proj/.test(module)),
  ]
  return {
    loras: [
      { tensors: faceIr(one), entry: { strength: 0.5 } },
      { tensors: diffusers(two), entry: { strength: 2 } },
    ],
    terms: [...one.map((lora) => ({ lora, factor: 0.5 })), ...two.map((lora) => ({ lora, factor: 2 }))],
  }
}

t.test('W + s (alpha / r) B A', async (t) => {
  const plain = await predicted(openCheckpoint(base), 'f32')
  let count = 0
  for (const [name, { loras, terms }] of Object.entries(CASES)) {
    const checkpoint = await adapted(`case-${count}`, loras)
    for (const precision of ['f32', 'bf16'] as const) {
      const expected = await predicted(await written(`case-${count}-${precision}`, terms, precision), precision)
      const found = await predicted(checkpoint, precision)
      t.ok(sameBits(found, expected), `${name}, ${precision}`)
      t.ok(relativeError(plainValues(expected), plainValues(plain)) > 0.05, `${name}, ${precision}: it is heard`)
    }
    count++
  }
})

const plainValues = ({ data }: Operand) => data as Float32Array

t.test('matrices of any numbers, merged in float32 before they are rounded', async (t) => {
  const { normal } = numbers(8)
  const random = all.map(({ module, a, b }) => {
    const fill = (x: Tensor) => ({
      ...x,
      data: bytesOf(Float32Array.from({ length: x.shape[0]! * x.shape[1]! }, () => 0.1 * normal())),
    })
    return { module, a: fill(a), b: fill(b) }
  })
  const checkpoint = await adapted('any', [{ tensors: faceIr(random, '', alphas), entry: { strength: 0.7 } }])
  const terms = random.map((lora) => ({ lora, factor: (0.7 * 6) / rankOf(lora) }))
  // A sum in float32 is now and then rounded to the other neighbour in bf16, one in some thousands.
  for (const [precision, limit] of [
    ['f32', 2e-6],
    ['bf16', 2e-3],
  ] as const) {
    const expected = await predicted(await written(`any-${precision}`, terms, precision), precision)
    const error = relativeError(plainValues(await predicted(checkpoint, precision)), plainValues(expected))
    t.ok(error < limit, `${precision}: ${error.toExponential(1)}`)
  }
})
