// restore() against a restore that is written out in the test (fixtures/reference/restore.ts): ids, order, prompts,
// noise, schedule, anchor, guidance and steps.
import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openCheckpoint } from '../dist/checkpoint/open.js'
import { IConFace, type RestoreOptions } from '../dist/index.js'
import { Networks } from '../dist/networks/index.js'
import { f32, OpContext, toFloat32 } from '../dist/ops/index.js'
import { matrix } from './fixtures/reference/matrix'
import { type Predict, restored, type RestoreInputs } from './fixtures/reference/restore'
import { transformer } from './fixtures/reference/transformer'
import { readCheckpoint } from './fixtures/random-weights'
import { elements, numbers, relativeError } from './fixtures/tensors'
import { full } from './fixtures/tier'
import { picture, SANITIZED, scratch, tinyModel } from './fixtures/tiny'
import { readTensors, writeTensors } from './fixtures/weights'

const MODELS = join(__dirname, '..', 'models')

/** A copy of the small model's file in which `change` gives some tensors other values. */
async function changeTensors(file: string, change: (name: string, elements: number) => Float32Array | undefined) {
  const tensors = readTensors(file).map((each) => {
    const values = change(each.name, elements([...each.shape]))
    return values ? { ...each, dtype: 'F32' as const, data: new Uint8Array(values.buffer) } : each
  })
  await writeTensors(file, tensors)
}

/**
 * The small model with settings that are nobody's default, two prompts, gates that can be told apart, and variances so
 * small that the epsilon beside them is seen.
 */
async function distinctModel(): Promise<string> {
  const folder = join(scratch, 'distinct')
  await cp(await tinyModel(), folder, { recursive: true })
  const config = join(folder, 'iconface.json')
  const settings = JSON.parse(await readFile(config, 'utf8')) as { adapter: object; identity: object }
  settings.adapter = { ...settings.adapter, temperature: 0.4, residualStrength: 0.6 }
  settings.identity = { ...settings.identity, crop: 'resize' }
  await writeFile(config, JSON.stringify(settings))
  await changeTensors(join(folder, 'adapter.safetensors'), (name) => {
    const block = /blocks\.(\d+)\.gate$/.exec(name)?.[1]
    return block === undefined ? undefined : Float32Array.of([1.1, -0.6, 0.35, 0.8][Number(block)]!)
  })
  await changeTensors(join(folder, 'autoencoder.safetensors'), (name, count) =>
    name === 'bn.running_var' ? Float32Array.from({ length: count }, (_, i) => [3e-4, 0.7, 1.3][i % 3]!) : undefined,
  )
  const { tensor } = numbers(7)
  const prompts = ['prompt', 'empty', 'prompt_without_references'].map((name) => {
    const { shape, data } = tensor([16, 96])
    return { name, dtype: 'F32' as const, shape, data: new Uint8Array(data.buffer) }
  })
  await writeTensors(join(folder, 'prompt_embeddings.safetensors'), prompts)
  return folder
}

/** Everything that is needed to restore with a folder, and to write out what that must give. */
async function open(folder: string) {
  const options = { precision: 'f32', threads: 2, device: 'cpu' } as const
  const spec = openCheckpoint(folder)
  const networks = await Networks.load(folder, options)
  return {
    spec,
    networks,
    weights: readCheckpoint(spec),
    ops: new OpContext({ threads: 2 }),
    model: await IConFace.load(folder, options),
  }
}

async function close({ model, networks, ops }: Awaited<ReturnType<typeof open>>): Promise<void> {
  for (const each of [model, networks, ops]) await each.dispose()
}

/** Predictions by the package's transformer: the same numbers to the last bits. */
const byNetworks =
  (networks: Networks): Predict =>
  async ({ latents, condition, text, ids, grid, timestep, anchor, parts: { residual, memory, detail } }) => {
    const tensor = ({ rows, columns, v }: { rows: number; columns: number; v: Float64Array }) => f32([rows, columns], v)
    const { prediction } = await networks.run(
      'transformer',
      {
        latents: tensor(latents),
        condition: tensor(condition),
        text0: tensor(text),
        ids: tensor(ids),
        ...(anchor ? { anchor: f32([512], anchor) } : {}),
      },
      { timestep, sceneGrid: grid, degradedGrid: grid, residual, memory, detail },
    )
    return matrix(latents.rows, latents.columns, toFloat32(prediction))
  }

/** Predictions in float64: nothing of the package. */
const inFloat64 =
  ({ weights, spec }: Pick<Awaited<ReturnType<typeof open>>, 'weights' | 'spec'>): Predict =>
  async ({ latents, condition, text, ids, grid, timestep, anchor, parts: { residual, memory, detail } }) => {
    const axes = [...spec.numbers['transformer.ropeAxes']!]
    const { rows: hidden } = matrixOf(weights, 'transformer.img_in.weight')
    const options = {
      heads: hidden / axes.reduce((a, b) => a + b),
      axes,
      theta: spec.numbers['transformer.ropeTheta']![0]!,
      doubleBlocks: blocks(weights, 'double_blocks'),
      singleBlocks: blocks(weights, 'single_blocks'),
      residualStrength: spec.numbers['adapter.residualStrength']![0]!,
    }
    const all = transformer(weights, options, {
      scene: latents,
      condition,
      text,
      ids,
      sceneGrid: grid,
      degradedGrid: grid,
      timestep,
      residual,
      memory,
      detail,
      anchor: anchor && matrix(1, 512, anchor),
    })
    return matrix(latents.rows, latents.columns, all.v.subarray(0, latents.v.length))
  }

const matrixOf = (weights: ReturnType<typeof readCheckpoint>, name: string) => ({ rows: weights.get(name)!.shape[0]! })
const blocks = (weights: ReturnType<typeof readCheckpoint>, kind: string) =>
  new Set([...weights.keys()].flatMap((name) => new RegExp(`${kind}\\.(\\d+)\\.`).exec(name)?.[1] ?? [])).size

/** The third is wider than high, and is cropped. */
const PICTURES = [
  picture(1, 64),
  picture(2, 64),
  { ...picture(3, 80), width: 100, height: 64 },
  picture(5, 64),
] as const
const BASE = {
  degraded: PICTURES[0],
  references: PICTURES.slice(1),
  size: 64,
  steps: 3,
  guidance: 3,
  seed: 2 ** 40 + 1234567,
  rng: 'torch-cuda',
  identity: true,
  residual: true,
  memory: true,
  detail: true,
} satisfies RestoreInputs

const PARTS: [name: string, variant: RestoreOptions['variant'], parts: Partial<RestoreInputs>][] = [
  ['without identity', { identity: false }, { identity: false }],
  ['one route', { structure: 'one-route' }, { detail: false }],
  ['residual only', { structure: 'residual' }, { memory: false }],
  ['no structure', { structure: false }, { memory: false, residual: false }],
  ['references left out', { references: false }, { references: [] }],
]

interface Case {
  name: string
  inputs: RestoreInputs
  variant?: RestoreOptions['variant']
  references?: readonly (typeof PICTURES)[number][]
}

const CASES: Case[] = [
  ...[0, 1, 3].flatMap((count) =>
    [1, 3].map((guidance) => ({
      name: `${count} references, guidance ${guidance}`,
      inputs: { ...BASE, references: PICTURES.slice(1, 1 + count), guidance },
    })),
  ),
  ...[0, 0.5].map((guidance) => ({
    name: `guidance ${guidance}`,
    inputs: { ...BASE, references: PICTURES.slice(1, 2), steps: 2, guidance },
  })),
  {
    name: 'five steps, MT19937',
    inputs: { ...BASE, references: PICTURES.slice(1, 2), steps: 5, rng: 'torch-cpu', guidance: 1 },
  },
  ...PARTS.map(([name, variant, parts]) => ({
    name,
    variant,
    inputs: { ...BASE, references: BASE.references.slice(0, 1), steps: 2, guidance: 1, ...parts },
    references: BASE.references.slice(0, 1),
  })),
]

/** What restore() gives must be what was written out, up to the rounding of float32 at a byte's edge. */
async function compare(t: Test, at: Awaited<ReturnType<typeof open>>, predict: Predict, each: Case, share: number) {
  const { inputs, variant } = each
  const { size, steps, guidance, seed, rng } = inputs
  const options = { size, steps, guidance, seed, rng, ...(variant ? { variant } : {}) }
  const found = await at.model.restore(inputs.degraded, each.references ?? inputs.references, options)
  const expected = await restored({ ...at, predict }, inputs)
  const inside = expected.pixels.filter((x) => x > 0 && x < 255).length / expected.pixels.length
  t.ok(inside > 0.5, `${each.name}: ${(100 * inside).toFixed(0)} % of the values are neither black nor white`)
  let differing = 0
  let most = 0
  expected.pixels.forEach((x, i) => {
    const difference = Math.abs(x - found.data[i]!)
    if (difference > 0) differing++
    most = Math.max(most, difference)
  })
  const part = differing / expected.pixels.length
  t.ok(most <= 1 && part <= share, `${each.name}: ${(100 * part).toFixed(3)} % differ, by ${most} at most`)
  const { anchor, norms, weights } = found.identity
  if (expected.anchor) t.ok(relativeError(anchor!, expected.anchor) < 2e-6, `${each.name}: anchor`)
  else t.equal(anchor, null, `${each.name}: no anchor`)
  t.equal(found.identity.source, expected.source, `${each.name}: source`)
  t.ok(relativeError(norms, expected.norms) < 2e-6, `${each.name}: norms`)
  t.ok(relativeError(weights, expected.shares) < 2e-6, `${each.name}: weights`)
  for (const when of ['before', 'after'] as const) {
    // A byte that differs moves the result's embedding a little.
    const [actual, wanted] = [found.identity[when], expected[when]]
    if (wanted === null) t.equal(actual, null, `${each.name}: nothing to compare with ${when}`)
    else t.ok(Math.abs(actual! - wanted) < (when === 'before' ? 1e-5 : 1e-3), `${each.name}: similarity ${when}`)
  }
}

void t.test('the small model, with every setting off its default', async (t) => {
  const at = await open(await distinctModel())
  t.teardown(() => close(at))
  // Instrumented builds look at memory, and for that a restore with everything in it is enough.
  const cases = SANITIZED ? CASES.filter(({ name }) => name === '3 references, guidance 3') : CASES
  for (const each of cases) await compare(t, at, byNetworks(at.networks), each, 0.001)
  if (SANITIZED) return
  // A prediction in float64 takes half a second: a restore with everything in it, all in the full tier.
  for (const each of full ? CASES : CASES.filter(({ name }) => name === '1 references, guidance 3'))
    await compare(t, at, inFloat64(at), each, 0.005)
})

/** The small model with a face encoder that gives zeros for black pictures, and only for these. */
async function blindToBlack(): Promise<string> {
  const folder = join(scratch, 'blind-to-black')
  await cp(await distinctModel(), folder, { recursive: true })
  const random = numbers(9)
  await changeTensors(join(folder, 'adaface.safetensors'), (name, count) => {
    if (/\.(bias|running_mean)$/.test(name)) return new Float32Array(count)
    if (name !== 'input_layer.0.weight') return undefined
    // Every output is a multiple of blue minus red at the middle of the window [3, 3, 3]: black gives exactly 0.
    const weights = new Float32Array(count)
    for (let out = 0; out < count; out += 27) {
      weights[out + 4] = random.normal()
      weights[out + 22] = -weights[out + 4]!
    }
    return weights
  })
  return folder
}

void t.test('pictures in which the encoder sees nobody', async (t) => {
  const at = await open(await blindToBlack())
  t.teardown(() => close(at))
  const black = { ...PICTURES[1], data: new Uint8Array(64 * 64 * 3) }
  const [degraded, face] = PICTURES
  const cases = {
    'one of two references': { degraded, references: [black, face] },
    'all references': { degraded, references: [black, black] },
    'the degraded picture': { degraded: black, references: [face] },
    'every picture': { degraded: black, references: [black] },
    'the only picture': { degraded: black, references: [] },
  }
  for (const [name, pictures] of Object.entries(cases))
    await compare(
      t,
      at,
      byNetworks(at.networks),
      { name, inputs: { ...BASE, ...pictures, steps: 1, guidance: 1 } },
      0.001,
    )
})

void t.test('an adapter that lacks a part restores as one whose part is left out', async (t) => {
  const whole = await distinctModel()
  const load = (folder: string) => IConFace.load(folder, { precision: 'f32', threads: 2, device: 'cpu' })
  const restore = async (model: IConFace, variant: RestoreOptions['variant'] = {}) =>
    (await model.restore(PICTURES[0], [PICTURES[1]], { size: 64, steps: 1, guidance: 1, variant })).data
  const model = await load(whole)
  t.teardown(() => model.dispose())
  const everything = await restore(model)
  const rows: [name: string, missing: RegExp, variant: RestoreOptions['variant']][] = [
    ['1-Route', /^structure\.detail/, { structure: 'one-route' }],
    ['no memory', /^structure\.(base|detail|blocks)/, { structure: 'residual' }],
    ['ID', /^structure/, { structure: false }],
    ['Struct', /^identity/, { identity: false }],
    ['Concat', /./, { structure: false, identity: false }],
  ]
  for (const [name, missing, variant] of rows) {
    const folder = join(scratch, name)
    await cp(whole, folder, { recursive: true })
    const file = join(folder, 'adapter.safetensors')
    const left = readTensors(file).filter((each) => !missing.test(each.name))
    await writeTensors(file, left)
    if (left.length === 0) await withoutAdapter(folder)
    const lacking = await load(folder)
    const found = await restore(lacking)
    await lacking.dispose()
    t.ok(Buffer.from(found).equals(Buffer.from(await restore(model, variant))), name)
    t.notOk(Buffer.from(found).equals(Buffer.from(everything)), `${name}: the part is heard`)
  }
})

async function withoutAdapter(folder: string): Promise<void> {
  const config = join(folder, 'iconface.json')
  const { adapter: _, ...rest } = JSON.parse(await readFile(config, 'utf8')) as Record<string, unknown>
  await writeFile(config, JSON.stringify(rest))
}

void t.test('the model of the package', async (t) => {
  const at = await open(join(MODELS, 'tiny'))
  t.teardown(() => close(at))
  for (const count of [0, 2]) {
    const inputs = { ...BASE, references: PICTURES.slice(1, 1 + count), steps: 2 }
    await compare(t, at, byNetworks(at.networks), { name: `${count} references`, inputs }, 0.001)
  }
})
