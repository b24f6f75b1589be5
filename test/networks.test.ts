// Every network on small random weights against float64 references (fixtures/reference), without any stored tensor.
import { join } from 'node:path'
import t from 'tap'
import { adapterTensors, autoencoderTensors, faceTensors, transformerTensors } from '../dist/checkpoint/expected.js'
import { loadAddon } from '../dist/native.js'
import { type Checkpoint, Networks, type NetworksOptions } from '../dist/networks/index.js'
import { f32, i32, type Tensor, toFloat32 } from '../dist/ops/index.js'
import { OUTPUT_LAYERS, SIZES as TEXT_SIZES, textWeights } from './fixtures/qwen'
import { asMaps, asTokens, decode, encode, faceEmbedding, maps } from './fixtures/reference/convolutional'
import { matrix, type Matrix, rowsOf, type Weights } from './fixtures/reference/matrix'
import { textEmbedding } from './fixtures/reference/qwen3'
import { detect, detectorShapes, type DetectorSizes } from './fixtures/reference/retinaface'
import {
  doubleBlock,
  rotation,
  sample,
  schedule,
  singleBlock,
  transformer,
  type TransformerInputs,
} from './fixtures/reference/transformer'
import { randomWeights, writeCheckpoint } from './fixtures/random-weights'
import { casesOn } from './fixtures/tier'
import { comparedDevices, numbers, relativeError, sameBits } from './fixtures/tensors'

const LIMIT = { f32: 2e-5, bf16: 1.5e-2 }
const PRECISIONS = ['f32', 'bf16'] as const
const folder = t.testdir({})
/** Every instruction set of the CPU, and every other device. */
const targets: NetworksOptions[] = [
  ...loadAddon()
    .info()
    .isas.map((isa) => ({ isa })),
  ...comparedDevices().map((device) => ({ device })),
]

type Outputs = Record<string, Tensor>

/** What a network gives, on the library and in float64. */
interface Case {
  name: string
  checkpoint: Checkpoint
  run(networks: Networks): Promise<Outputs>
  expected: Record<string, ArrayLike<number>>
  precisions: readonly ('f32' | 'bf16')[]
}

const prefixed = (prefix: string, shapes: Map<string, readonly number[]>) =>
  [...shapes].map(([name, shape]) => [prefix + name, shape] as const)
const tensorOf = ({ rows, columns, v }: Matrix): Tensor => f32([rows, columns], v)

/** Values that are the same float32 numbers on both sides. */
function random(seed: number) {
  const { normal } = numbers(seed)
  return (rows: number, columns: number, size = 1): Matrix =>
    matrix(
      rows,
      columns,
      Float32Array.from({ length: rows * columns }, () => size * normal()),
    )
}

// Cases ---------------------------------------------------------------------------------------------------------------

const HEADS = 3
const AXES = [4, 12, 12, 4]
const SIZES = {
  inChannels: 20,
  hidden: 96,
  headDim: 32,
  doubleBlocks: 2,
  singleBlocks: 2,
  doubleMlp: 80,
  singleMlp: 112,
  timeChannels: 256,
  contextDim: 44,
}
const OPTIONS = { heads: HEADS, axes: AXES, theta: 2000, doubleBlocks: 2, singleBlocks: 2, residualStrength: 0.7 }
const SCENE: [number, number] = [3, 5]
const DEGRADED: [number, number] = [2, 4]
const TEXT = 7

function transformerWeights(seed: number): Weights {
  const adapter = {
    hidden: SIZES.hidden,
    embedding: 512,
    rank: 5,
    baseTokens: 3,
    detailTokens: 6,
    blocks: 4,
    identity: true,
    residual: true,
  }
  return randomWeights(seed, [
    ...prefixed('transformer.', transformerTensors(SIZES)),
    ...prefixed('adapter.', adapterTensors(adapter)),
  ])
}

/** Scene, degraded picture on a smaller grid, and one reference. */
function transformerInputs(seed: number) {
  const make = random(seed)
  const [scene, degraded] = [SCENE[0] * SCENE[1], DEGRADED[0] * DEGRADED[1]]
  const grid = (time: number, [rows, columns]: [number, number]) =>
    Array.from({ length: rows * columns }, (_, i) => [time, Math.floor(i / columns), i % columns, 0])
  const text = Array.from({ length: TEXT }, (_, l) => [0, 0, 0, l])
  const ids = [...text, ...grid(0, SCENE), ...grid(2, DEGRADED), ...grid(10, SCENE)]
  const anchor = make(1, 512)
  const length = Math.hypot(...anchor.v)
  return {
    scene: make(scene, SIZES.inChannels),
    condition: make(degraded + scene, SIZES.inChannels),
    empty: make(TEXT, SIZES.contextDim),
    prompt: make(TEXT, SIZES.contextDim),
    ids: matrix(ids.length, 4, ids.flat()),
    anchor: matrix(
      1,
      512,
      anchor.v.map((x) => Math.fround(x / length)),
    ),
  }
}

const VARIANTS: Record<string, Pick<TransformerInputs, 'residual' | 'memory' | 'detail'> & { identity: boolean }> = {
  full: { residual: true, memory: true, detail: true, identity: true },
  'one route': { residual: true, memory: true, detail: false, identity: true },
  'residual only': { residual: true, memory: false, detail: true, identity: false },
  'identity only': { residual: false, memory: false, detail: true, identity: true },
  concatenation: { residual: false, memory: false, detail: true, identity: false },
}

async function transformerCase(): Promise<Case> {
  const weights = transformerWeights(1)
  const { empty, prompt, anchor, ...common } = transformerInputs(2)
  const numbersOfModel = {
    'transformer.ropeAxes': AXES,
    'transformer.ropeTheta': [2000],
    'adapter.residualStrength': [0.7],
  }
  const checkpoint = await writeCheckpoint(join(folder, 'transformer.safetensors'), weights, numbersOfModel)
  const timestep = 0.62
  const tokens = SCENE[0] * SCENE[1]
  const expected: Case['expected'] = {}
  for (const [name, { identity, ...parts }] of Object.entries(VARIANTS)) {
    const inputs = {
      ...common,
      ...parts,
      sceneGrid: SCENE,
      degradedGrid: DEGRADED,
      timestep,
      anchor: identity ? anchor : undefined,
    }
    const both = [empty, prompt].map((text) => transformer(weights, OPTIONS, { ...inputs, text }))
    expected[name] = both.flatMap(({ v }) => [...v])
    expected[`${name}, scene tokens`] = rowsOf(both[1]!, 0, tokens).v
  }
  const run = async (networks: Networks) => {
    const outputs: Outputs = {}
    for (const [name, { identity, ...parts }] of Object.entries(VARIANTS)) {
      const tensors = {
        latents: tensorOf(common.scene),
        condition: tensorOf(common.condition),
        ids: tensorOf(common.ids),
        ...(identity ? { anchor: f32([512], anchor.v) } : {}),
      }
      const params = { timestep, sceneGrid: SCENE, degradedGrid: DEGRADED, ...parts }
      const both = { ...tensors, text0: tensorOf(empty), text1: tensorOf(prompt) }
      outputs[name] = (await networks.run('transformer', both, { ...params, predictAll: true })).prediction
      const one = { ...tensors, text0: tensorOf(prompt) }
      outputs[`${name}, scene tokens`] = (await networks.run('transformer', one, params)).prediction
    }
    return outputs
  }
  return { name: 'transformer', checkpoint, run, expected, precisions: PRECISIONS }
}

async function samplerCase(): Promise<Case> {
  const weights = transformerWeights(3)
  const { empty, prompt, anchor, ...common } = transformerInputs(4)
  const numbersOfModel = {
    'transformer.ropeAxes': AXES,
    'transformer.ropeTheta': [2000],
    'adapter.residualStrength': [0.7],
  }
  const checkpoint = await writeCheckpoint(join(folder, 'sampler.safetensors'), weights, numbersOfModel)
  const sigmas = schedule(2, SCENE[0] * SCENE[1])
  const parts = { residual: true, memory: true, detail: true, sceneGrid: SCENE, degradedGrid: DEGRADED }
  const inputs = { ...common, ...parts, anchor }
  const expected = {
    guided: sample(weights, OPTIONS, { ...inputs, texts: [empty, prompt] }, sigmas, 2.5).v,
    'prompt alone': sample(weights, OPTIONS, { ...inputs, texts: [prompt] }, sigmas, 1).v,
  }
  const run = async (networks: Networks) => {
    const tensors = {
      latents: tensorOf(common.scene),
      condition: tensorOf(common.condition),
      ids: tensorOf(common.ids),
      anchor: f32([512], anchor.v),
    }
    const guided = { ...tensors, text0: tensorOf(empty), text1: tensorOf(prompt) }
    const alone = { ...tensors, text0: tensorOf(prompt) }
    return {
      guided: (await networks.run('sample', guided, { ...parts, sigmas, guidance: 2.5 })).latents,
      'prompt alone': (await networks.run('sample', alone, { ...parts, sigmas, guidance: 1 })).latents,
    }
  }
  return { name: 'sampler', checkpoint, run, expected, precisions: PRECISIONS }
}

async function blockCase(): Promise<Case> {
  const D = SIZES.hidden
  const weights = transformerWeights(5)
  const make = random(6)
  const { ids } = transformerInputs(6)
  const image = ids.rows - TEXT
  const [img, txt, x] = [make(image, D), make(TEXT, D), make(ids.rows, D)]
  const [image6, text6, both3] = [make(1, 6 * D, 0.5), make(1, 6 * D, 0.5), make(1, 3 * D, 0.5)]
  const rope = rotation(ids, OPTIONS)
  const [expectedImg, expectedTxt] = doubleBlock(
    weights,
    'transformer.double_blocks.1.',
    OPTIONS,
    rope,
    img,
    txt,
    image6,
    text6,
  )
  const expectedX = singleBlock(weights, 'transformer.single_blocks.1.', OPTIONS, rope, x, TEXT, both3, both3)
  const rotary = { ropeAxes: AXES, ropeTheta: 2000 }
  const run = async (networks: Networks) => {
    const vector = ({ v }: Matrix) => f32([v.length], v)
    const double = await networks.run(
      'double_block',
      { img: tensorOf(img), txt: tensorOf(txt), modImg: vector(image6), modTxt: vector(text6), ids: tensorOf(ids) },
      { ...rotary, prefix: 'transformer.double_blocks.1.' },
    )
    const single = await networks.run(
      'single_block',
      { x: tensorOf(x), mod: vector(both3), ids: tensorOf(ids) },
      { ...rotary, text: TEXT, prefix: 'transformer.single_blocks.1.' },
    )
    return { 'double, image': double.imgOut, 'double, text': double.txtOut, single: single.out }
  }
  const checkpoint = await writeCheckpoint(join(folder, 'blocks.safetensors'), weights, {
    'transformer.ropeAxes': AXES,
  })
  const expected = { 'double, image': expectedImg.v, 'double, text': expectedTxt.v, single: expectedX.v }
  return { name: 'blocks', checkpoint, run, expected, precisions: PRECISIONS }
}

async function autoencoderCase(decoderChannels?: readonly number[]): Promise<Case> {
  const both = { imageChannels: 3, latentChannels: 5, baseChannels: 32, levelChannels: [32, 64, 96], resBlocks: 1 }
  const sizes = { ...both, ...(decoderChannels && { decoderChannels }) }
  const weights = randomWeights(7, prefixed('vae.', autoencoderTensors(sizes)))
  const options = { levels: 3, resBlocks: 1, groups: 32 }
  const make = random(8)
  const [rows, columns] = [1, 3]
  const picture = asMaps(make(8 * rows * 8 * columns, 3, 0.5), 8 * rows, 8 * columns)
  const tokens = make(rows * columns, 20)
  const expected = {
    encode: encode(weights, options, picture).v,
    decode: asTokens(decode(weights, options, tokens, rows, columns)).v,
  }
  const run = async (networks: Networks) => ({
    encode: (await networks.run('encode', { image: f32([8 * rows, 8 * columns, 3], asTokens(picture).v) })).tokens,
    decode: (await networks.run('decode', { tokens: tensorOf(tokens) }, { rows, columns })).image,
  })
  const name = decoderChannels ? 'autoencoder with a small decoder' : 'autoencoder'
  const checkpoint = await writeCheckpoint(join(folder, `${name}.safetensors`), weights, {})
  return { name, checkpoint, run, expected, precisions: PRECISIONS }
}

/** Made once: its reference takes a second. */
let autoencoder: Promise<Case> | undefined

async function faceCase(): Promise<Case> {
  // The third stage keeps its width, so its stride cannot be told from the shapes.
  const stageUnits = [1, 2, 1, 2]
  const sizes = { baseChannels: 4, stageChannels: [4, 7, 7, 10], stageUnits, embedding: 512 }
  const weights = randomWeights(9, prefixed('face.', faceTensors(sizes)))
  const { uniform } = numbers(10)
  const face = maps(
    3,
    112,
    112,
    Float32Array.from({ length: 3 * 112 * 112 }, () => 2 * uniform() - 1),
  )
  const expected = { embedding: faceEmbedding(weights, stageUnits, face).v }
  const run = async (networks: Networks) => ({
    embedding: (await networks.run('face_embedding', { face: f32([112, 112, 3], asTokens(face).v) })).embedding,
  })
  const checkpoint = await writeCheckpoint(join(folder, 'face.safetensors'), weights, { 'face.stageUnits': stageUnits })
  return { name: 'face encoder', checkpoint, run, expected, precisions: ['f32'] }
}

/** Either backbone, at sizes that the strides do not divide; one pyramid leaks and the other does not. */
function detectorCase(sizes: DetectorSizes, seed: number) {
  return async function detectorCase(): Promise<Case> {
    const weights = randomWeights(seed, detectorShapes(sizes))
    const [height, width] = [45, 70]
    const pixels = numbers(seed + 1).picture(height, width, 3)
    const values = Float64Array.from(pixels.data as Uint8Array)
    const means = [104, 117, 123]
    const image = maps(3, height, width)
    for (let c = 0; c < 3; c++)
      for (let p = 0; p < height * width; p++) image.v[c * height * width + p] = values[3 * p + 2 - c]! - means[c]!
    const { boxes, logits, landmarks } = detect(weights, sizes, image)
    const run = async (networks: Networks) => {
      const result = await networks.run('face_detection', { pixels })
      return { boxes: result.boxes, logits: result.logits, landmarks: result.landmarks }
    }
    const named: Weights = new Map([...weights].map(([name, weight]) => [`detector.${name}`, weight]))
    const file = join(folder, `detector-${sizes.backbone}.safetensors`)
    return {
      name: `face detector, ${sizes.backbone}`,
      checkpoint: await writeCheckpoint(file, named, {}),
      run,
      expected: { boxes: boxes.v, logits: logits.v, landmarks: landmarks.v },
      precisions: ['f32'],
    }
  }
}

async function textCase(): Promise<Case> {
  const weights = textWeights(11)
  const options = { ...TEXT_SIZES, theta: 1e6, outputLayers: OUTPUT_LAYERS }
  const { uniform } = numbers(12)
  const ids = Array.from({ length: 37 }, () => Math.floor(uniform() * TEXT_SIZES.vocabulary))
  const expected = {
    'all of it text': textEmbedding(weights, options, ids, 37).v,
    padded: textEmbedding(weights, options, ids, 9).v,
    'one token': textEmbedding(weights, options, ids.slice(0, 1), 1).v,
  }
  const run = async (networks: Networks) => ({
    'all of it text': (await networks.run('text_embedding', { ids: i32([37], ids) })).embeddings,
    padded: (await networks.run('text_embedding', { ids: i32([37], ids) }, { real: 9 })).embeddings,
    'one token': (await networks.run('text_embedding', { ids: i32([1], [ids[0]!]) })).embeddings,
  })
  const settings = { 'text.outputLayers': OUTPUT_LAYERS, 'text.ropeTheta': [1e6] }
  const checkpoint = await writeCheckpoint(join(folder, 'text.safetensors'), weights, settings)
  return { name: 'text encoder', checkpoint, run, expected, precisions: PRECISIONS }
}

// Tests ---------------------------------------------------------------------------------------------------------------

async function outputs({ checkpoint, run }: Case, options: NetworksOptions): Promise<Outputs> {
  await using networks = await Networks.load(checkpoint, options)
  return await run(networks)
}

const DETECTORS: DetectorSizes[] = [
  { backbone: 'mobilenet', stem: 4, stages: [[6, 8, 8, 10, 12], [14, 13], [18]], pyramid: 12 },
  { backbone: 'resnet', stem: 5, stages: [[6, 6], [7], [9, 9], [11]], pyramid: 68 },
]
const smallDecoderCase = () => autoencoderCase([32, 32, 64])
const wholeAutoencoderCase = () => (autoencoder ??= autoencoderCase())
const makers = [transformerCase, samplerCase, blockCase, wholeAutoencoderCase, smallDecoderCase, faceCase, textCase]

for (const make of [...makers, ...DETECTORS.map((sizes, i) => detectorCase(sizes, 21 + 2 * i))]) {
  void t.test(make.name.replace('Case', ''), async (t) => {
    const each = await make()
    for (const precision of each.precisions) {
      for (const target of targets) {
        // Of networks that are there in both, the quick tier runs the one on the emulated GPU that real ones run.
        if (!casesOn(target.device ?? 'cpu', each.precisions, [each.precisions.length - 1]).includes(precision))
          continue
        const found = await outputs(each, { precision, ...target, threads: 2 })
        for (const [name, expected] of Object.entries(each.expected)) {
          const error = relativeError(toFloat32(found[name]!), expected)
          t.ok(
            error <= LIMIT[precision],
            `${name}, ${precision}, ${target.device ?? target.isa}: ${error.toExponential(1)}`,
          )
        }
      }
      const one = await outputs(each, { precision, threads: 1 })
      for (const threads of [2, 5]) {
        const more = await outputs(each, { precision, threads })
        const same = Object.keys(one).every((name) => sameBits(one[name]!, more[name]!))
        t.ok(same, `${precision}: the same bytes with 1 and ${threads} threads`)
      }
    }
  })
}

void t.test('schedule', async (t) => {
  await using networks = await Networks.load({ files: [], tensors: {} })
  for (const [steps, tokens] of [
    [1, 1],
    [3, 77],
    [12, 1024],
    [50, 4300],
    [12, 4301],
    [7, 9999],
  ] as const) {
    const { sigmas } = await networks.run('schedule', {}, { steps, tokens })
    const expected = schedule(steps, tokens)
    const worst = Math.max(...expected.map((sigma, i) => Math.abs(sigma - (sigmas.data as Float64Array)[i]!)))
    t.ok(worst < 1e-12 && sigmas.data.length === steps + 1, `${steps} steps, ${tokens} tokens`)
    t.equal((sigmas.data as Float64Array)[steps], 0, 'ends at 0 exactly')
  }
})

void t.test('the text encoder says what it cannot take', async (t) => {
  const { checkpoint } = await textCase()
  await using networks = await Networks.load(checkpoint)
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const ids = i32([3], [1, TEXT_SIZES.vocabulary, 2])
  await t.rejects(networks.run('text_embedding', { ids }), {
    code,
    message: /ids\[1\] is none of the table's 320 rows/,
  })
  const run = (real: number) => networks.run('text_embedding', { ids: i32([3], [1, 2, 3]) }, { real })
  await t.rejects(run(4), { code, message: /1 to 3 tokens, not 4/ })
  await t.rejects(run(0), { code, message: /real/ })
  for (const outputLayers of [[], [0], [5], [1.5]])
    await t.rejects(Networks.load({ ...checkpoint, numbers: { 'text.outputLayers': outputLayers } }), {
      code: 'ERR_ICONFACE_INVALID_CHECKPOINT',
      message: /output layers/,
    })
  const { 'text.norm.weight': norm, ...tensors } = checkpoint.tensors
  t.ok(norm)
  await t.rejects(Networks.load({ ...checkpoint, tensors }), { message: /text\.norm\.weight is missing/ })
})

void t.test('traces are named, and off unless asked for', async (t) => {
  const { checkpoint } = await wholeAutoencoderCase()
  await using networks = await Networks.load(checkpoint, { precision: 'f32' })
  const image = f32([16, 16, 3], new Float32Array(16 * 16 * 3))
  const traced = await networks.run('encode', { image }, { trace: true })
  t.same(traced['trace.enc.down.0.blocks']?.shape, [1, 16, 16, 32])
  const plain = await networks.run('encode', { image }, { repeat: 3 })
  t.notOk(Object.keys(plain).some((name) => name.startsWith('trace.')))
  t.equal(plain.seconds.data.length, 3)
})

void t.test('what cannot be run says why', async (t) => {
  const { checkpoint } = await wholeAutoencoderCase()
  await using networks = await Networks.load(checkpoint, { precision: 'f32' })
  const image = f32([15, 16, 3], new Float32Array(15 * 16 * 3))
  await t.rejects(networks.run('encode', { image }), {
    code: 'ERR_ICONFACE_INVALID_ARGUMENT',
    message: /multiples of 8/,
  })
  const tokens = f32([4, 7], new Float32Array(28))
  await t.rejects(networks.run('decode', { tokens }, { rows: 2, columns: 2 }), {
    code: 'ERR_ICONFACE_INVALID_ARGUMENT',
    message: /20/,
  })
  const face = f32([112, 112, 3], new Float32Array(112 * 112 * 3))
  await t.rejects(networks.run('face_embedding', { face }), {
    code: 'ERR_ICONFACE_INVALID_CHECKPOINT',
    message: /no face encoder/,
  })
  const { 'vae.decoder.conv_in.weight': missing, ...tensors } = checkpoint.tensors
  await t.rejects(Networks.load({ ...checkpoint, tensors }), {
    code: 'ERR_ICONFACE_INVALID_CHECKPOINT',
    message: /vae\.decoder\.conv_in/,
  })
  const wrong = { ...checkpoint.tensors, 'vae.bn.running_var': missing! }
  await t.rejects(Networks.load({ ...checkpoint, tensors: wrong }), {
    code: 'ERR_ICONFACE_INVALID_CHECKPOINT',
    message: /running_var/,
  })
  await t.rejects(Networks.load('/nowhere'), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
  await networks.dispose()
  await t.rejects(networks.run('encode', { image }), { code: 'ERR_ICONFACE_DISPOSED' })
})
