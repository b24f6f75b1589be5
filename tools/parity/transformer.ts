/** Transformers: whole ones, with LoRAs, and one block of each kind. */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { type Lora, openLora } from '../../dist/checkpoint/lora.js'
import { loraName } from '../../dist/checkpoint/lora-names.js'
import type { Checkpoint, Networks, StoredTensor } from '../../dist/networks/index.js'
import type { Tensor } from '../../dist/ops/index.js'
import { concatenate, item, join, rows, values } from './arrange'
import type { Golden } from './golden'
import { Batch, type Run } from './run'
import { LIMITS } from './sheet'

/** What golden files say about a transformer; the other sizes are in its tensors. */
export interface TransformerConfig {
  axes_dim: number[]
  theta: number
}

export function transformerNumbers({ axes_dim, theta }: TransformerConfig): Record<string, number[]> {
  return { 'transformer.ropeAxes': axes_dim, 'transformer.ropeTheta': [theta] }
}

/** `flux2_transformer`: every run, every batch item by itself, since one call has one timestep. */
export async function compareTransformer(golden: Golden, run: Run): Promise<void> {
  const config = golden.json<TransformerConfig>('config')
  const networks = await run.networks(
    await run.checkpoint(golden, { 'weight.': 'transformer.' }, transformerNumbers(config)),
  )
  for (const name of runNames(golden)) {
    const results = await predict(golden, run, networks, `${name}.`)
    await compareIntermediates(golden, run, results, name, config)
    run.compare(
      `${name}.pred`,
      results.get('prediction'),
      values(golden.read(`output.${name}.pred`)),
      LIMITS.network[run.precision],
    )
  }
}

/** Runs are the keys of an object or a list of names. */
export function runNames(golden: Golden): string[] {
  const runs = golden.json<Record<string, unknown> | string[]>('runs')
  return Array.isArray(runs) ? runs : Object.keys(runs)
}

/** All batch items of `input.<prefix>…`; the scene's tokens come first in x, the others are the condition. */
async function predict(golden: Golden, run: Run, networks: Networks, prefix: string): Promise<Batch> {
  const input = (name: string) => golden.read(`input.${prefix}${name}`)
  const [x, xIds, ctx, ctxIds] = [input('x'), input('x_ids'), input('ctx'), input('ctx_ids')]
  const sceneGrid = input('scene_latents').shape.slice(-2)
  const degradedGrid = input('degraded_latents').shape.slice(-2)
  const scene = sceneGrid[0]! * sceneGrid[1]!
  const results = new Batch()
  for (const [i, timestep] of values(input('timesteps')).entries()) {
    const tokens = item(x, i)
    results.add(
      await networks.run(
        'transformer',
        {
          latents: rows(tokens, 0, scene),
          condition: rows(tokens, scene, tokens.shape[0]!),
          text0: item(ctx, i),
          ids: join([item(ctxIds, i), item(xIds, i)]),
        },
        { timestep, sceneGrid, degradedGrid, predictAll: true, trace: run.verbose },
      ),
    )
  }
  return results
}

/** The library's name of an intermediate. */
function traceName(name: string): string {
  return `trace.${name.replace(/^double_block_(\d+)\.(img|txt)$/, 'double.$1.$2').replace(/^single_block_(\d+)$/, 'single.$1')}`
}

async function compareIntermediates(
  golden: Golden,
  run: Run,
  results: Batch,
  name: string,
  config: TransformerConfig,
): Promise<void> {
  if (!run.verbose) return
  const untraced: string[] = []
  const expected = (intermediate: string) => values(golden.read(`intermediate.${name}.${intermediate}`))
  for (const intermediate of golden.names(`intermediate.${name}.`)) {
    if (intermediate === 'timestep_embedding') {
      const parts: Float32Array[] = []
      const dim = golden.shape(`intermediate.${name}.timestep_embedding`)[1]!
      for (const timestep of values(golden.read(`input.${name}.timesteps`))) {
        parts.push(values((await run.ops.run('timestep_embedding', {}, { timestep, dim })).out))
      }
      run.intermediate(`${name}.${intermediate}`, concatenate(parts), expected(intermediate), LIMITS.timestepEmbedding)
    } else if (intermediate === 'rope_cos') {
      const ids = golden.read(`input.${name}.ctx_ids`)
      const xIds = golden.read(`input.${name}.x_ids`)
      const joint = Array.from({ length: ids.shape[0]! }, (_, i) => join([item(ids, i), item(xIds, i)]))
      await compareRope(run, joint, config, `${name}.`, expected)
    } else if (intermediate === 'rope_sin') {
      continue // compared with rope_cos
    } else if (results.has(traceName(intermediate))) {
      run.intermediate(`${name}.${intermediate}`, results.get(traceName(intermediate)), expected(intermediate))
    } else untraced.push(`${name}.${intermediate}`)
  }
  run.untraced(untraced)
}

/** Rotary tables of every batch item's ids [tokens, axes]. */
export async function compareRope(
  run: Run,
  ids: readonly Tensor[],
  { axes_dim, theta }: TransformerConfig,
  prefix: string,
  expected: (name: 'rope_cos' | 'rope_sin') => Float32Array,
): Promise<void> {
  const tables = new Batch()
  for (const each of ids) tables.add(await run.ops.run('rope_table', { ids: each }, { axesDim: axes_dim, theta }))
  for (const table of ['cos', 'sin'] as const) {
    run.intermediate(`${prefix}rope_${table}`, tables.get(table), expected(`rope_${table}`), LIMITS.ropeTable)
  }
}

/** `flux2_single_block_wide`: one block of each kind, modulation given. */
export async function compareBlocks(golden: Golden, run: Run): Promise<void> {
  const { axes_dim: ropeAxes, theta: ropeTheta } = golden.json<TransformerConfig>('config')
  const networks = await run.networks(await run.checkpoint(golden, { 'weight.': 'transformer.' }, {}))
  const input = (name: string) => golden.read(`input.${name}`)
  const [doubles, singles] = [new Batch(), new Batch()]
  for (let i = 0; i < golden.shape('input.x')[0]!; i++) {
    const ids = join([item(input('txt_ids'), i), item(input('img_ids'), i)])
    const text = golden.shape('input.txt_ids')[1]!
    const of = (name: string) => item(input(name), i)
    const both = { img: of('img'), txt: of('txt'), modImg: of('mod_img'), modTxt: of('mod_txt'), ids }
    doubles.add(await networks.run('double_block', both, { ropeAxes, ropeTheta, prefix: 'transformer.double.' }))
    const single = { x: of('x'), mod: of('mod_single'), ids }
    singles.add(
      await networks.run('single_block', single, { text, ropeAxes, ropeTheta, prefix: 'transformer.single.' }),
    )
  }
  const limit = LIMITS.block[run.precision]
  run.compare('double.img', doubles.get('imgOut'), values(golden.read('output.double.img')), limit)
  run.compare('double.txt', doubles.get('txtOut'), values(golden.read('output.double.txt')), limit)
  run.compare('single.x', singles.get('out'), values(golden.read('output.single.x')), limit)
  run.untraced(golden.names('intermediate.'))
}

interface AdapterEntry {
  rank: number
  alpha: number
  dir?: string
}

/** `lora`: the base, and every adapter merged into it, from the case itself and from its folder beside the case. */
export async function compareLora(golden: Golden, run: Run): Promise<void> {
  const base = await run.checkpoint(
    golden,
    { 'weight.': 'transformer.' },
    transformerNumbers(golden.json<TransformerConfig>('config')),
  )
  const adapters = golden.json<Record<string, AdapterEntry>>('adapters')
  for (const output of golden.names('output.')) {
    const [, name, scale] = /^(.+?)(?:_scale_([\d.]+))?$/.exec(output)!
    const strength = scale === undefined ? 1 : Number(scale)
    const entry = adapters[name!]
    if (!entry) {
      await compareMerged(golden, run, base, output)
      continue
    }
    await compareMerged(golden, run, withStoredLora(base, golden, name!, strength), output)
    const folder = golden.beside(entry.dir ?? name!)
    if (!existsSync(folder)) continue
    await compareMerged(
      golden,
      run,
      withLora(base, openLora({ file: folder, strength, alpha: undefined })),
      output,
      `${path.basename(folder)}/`,
    )
  }
}

async function compareMerged(
  golden: Golden,
  run: Run,
  checkpoint: Checkpoint,
  output: string,
  source = '',
): Promise<void> {
  const networks = await run.networks(checkpoint)
  const results = await predict(golden, run, networks, '')
  for (const name of golden.names(`intermediate.${output}.`)) {
    if (source !== '' || !results.has(traceName(name))) continue
    run.intermediate(
      `${output}.${name}`,
      results.get(traceName(name)),
      values(golden.read(`intermediate.${output}.${name}`)),
    )
  }
  const expected = values(golden.read(`output.${output}`))
  const label = source === '' ? output : `${output} (from ${source})`
  run.compare(label, results.get('prediction'), expected, LIMITS.network[run.precision])
}

/** An adapter whose tensors lie in the case, as `<name>.<module>.lora_A.weight` and so on. */
function withStoredLora(base: Checkpoint, golden: Golden, name: string, strength: number): Checkpoint {
  const tensors: Record<string, StoredTensor> = { ...base.tensors }
  const loras: { module: string; a: string; b: string; factor: number }[] = []
  const modules = golden.names(`${name}.`).flatMap((each) => {
    const known = loraName(each)
    return known?.part === 'A' ? [known.name] : []
  })
  for (const module of modules) {
    const stored = (part: string) => `${name}.${module}.${part}`
    const [a, b] = [`lora.${module}.A`, `lora.${module}.B`]
    tensors[a] = golden.entry(stored('lora_A.weight'))
    tensors[b] = golden.entry(stored('lora_B.weight'))
    const alpha = values(golden.read(stored('alpha')))[0]!
    loras.push({ module, a, b, factor: (strength * alpha) / tensors[a].shape[0]! })
  }
  return { ...base, tensors, loras }
}

/** An adapter opened as a model's own would be. */
function withLora(base: Checkpoint, { file, strength, modules, problems }: Lora): Checkpoint {
  if (problems.length > 0) throw new Error(`${file.path}: ${problems[0]!.message}`)
  const tensors: Record<string, StoredTensor> = { ...base.tensors }
  const loras = modules.map(({ module, row, a, b, scale }) => {
    const names = { a: `lora.${module}.${row}.A`, b: `lora.${module}.${row}.B` }
    tensors[names.a] = { file: base.files.length, ...a }
    tensors[names.b] = { file: base.files.length, ...b }
    return { module, row, ...names, factor: strength * scale }
  })
  return { ...base, files: [...base.files, { path: file.path, size: file.safetensors!.fileSize }], tensors, loras }
}
