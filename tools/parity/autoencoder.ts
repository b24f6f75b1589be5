/** The FLUX.2 autoencoder, under both publishers' names. */
import { existsSync } from 'node:fs'
import { checkAutoencoder, GROUP_NORM_GROUPS } from '../../dist/checkpoint/contract.js'
import { canonicalNames } from '../../dist/checkpoint/canonical-names.js'
import { readTensorBytes } from '../../dist/formats/safetensors.js'
import type { Checkpoint, Networks, StoredTensor } from '../../dist/networks/index.js'
import type { Tensor } from '../../dist/ops/index.js'
import { channelsFirst, channelsLast, items, reshape, tokensOf, values } from './arrange'
import { Golden } from './golden'
import { Batch, type Run } from './run'
import { LIMITS } from './sheet'

export interface AutoencoderConfig {
  bn_eps?: number
  group_norm_groups?: number
}

export function autoencoderNumbers({ bn_eps, group_norm_groups }: AutoencoderConfig): Record<string, number[]> {
  return {
    'vae.groups': [group_norm_groups ?? GROUP_NORM_GROUPS],
    ...(bn_eps === undefined ? {} : { 'vae.bnEps': [bn_eps] }),
  }
}

/** `vae`: encode, decode, and decode of what was encoded. */
export async function compareAutoencoder(golden: Golden, run: Run): Promise<void> {
  const numbers = autoencoderNumbers(golden.json<AutoencoderConfig>('config'))
  await compareOutputs(golden, run, await run.checkpoint(golden, { 'weight.': 'vae.' }, numbers))
}

async function compareOutputs(golden: Golden, run: Run, checkpoint: Checkpoint): Promise<void> {
  const networks = await run.networks(checkpoint)
  const [, , rows, columns] = golden.shape('output.encode') as [number, number, number, number]
  const [encoded, decoded, chained, again, traces] = [new Batch(), new Batch(), new Batch(), new Batch(), new Batch()]
  for (const image of items(golden.read('input.image'))) {
    const result = await networks.run('encode', { image: channelsLast(image) }, { trace: run.verbose })
    const tokens = result.tokens
    encoded.add({ out: channelsFirst(reshape(tokens, [rows, columns, tokens.shape[1]!])) })
    chained.add({ out: await decode(networks, tokens, rows, columns) })
    traces.add(firstOfTraces(result))
  }
  for (const latents of items(golden.read('input.latents'))) {
    const [, height, width] = latents.shape as [number, number, number]
    const result = await networks.run(
      'decode',
      { tokens: tokensOf(latents) },
      { rows: height, columns: width, trace: run.verbose },
    )
    decoded.add({ out: channelsFirst(result.image) })
    traces.add(firstOfTraces(result))
  }
  for (const latents of items(golden.read('output.encode'))) {
    again.add({ out: await decode(networks, tokensOf(latents), rows, columns) })
  }
  compareIntermediates(golden, run, traces)
  const limit = LIMITS.network[run.precision]
  run.compare('encode', encoded.get('out'), values(golden.read('output.encode')), limit)
  run.compare('decode', decoded.get('out'), values(golden.read('output.decode')), limit)
  // Two networks, one after the other: bf16 has a limit for each of them, so the second is also judged by itself.
  const picture = values(golden.read('output.decode_of_encode'))
  run.compare('decode_of_encode', chained.get('out'), picture, run.precision === 'f32' ? limit : null)
  run.compare('decode of the stored encode', again.get('out'), picture, limit)
}

/** Tokens -> picture [3, H, W]. */
async function decode(networks: Networks, tokens: Tensor, rows: number, columns: number): Promise<Tensor> {
  return channelsFirst((await networks.run('decode', { tokens }, { rows, columns })).image)
}

/** Traced feature maps [1, H, W, C] as [C, H, W], under their plain names. */
function firstOfTraces(results: Readonly<Record<string, Tensor>>): Record<string, Tensor> {
  const maps: Record<string, Tensor> = {}
  for (const [name, map] of Object.entries(results)) {
    if (!name.startsWith('trace.')) continue
    maps[name.slice('trace.'.length)] = channelsFirst(reshape(map, map.shape.slice(1)))
  }
  return maps
}

function compareIntermediates(golden: Golden, run: Run, traces: Batch): void {
  const untraced: string[] = []
  for (const name of golden.names('intermediate.')) {
    if (!traces.has(name)) untraced.push(name)
    else run.intermediate(name, traces.get(name), values(golden.read(`intermediate.${name}`)))
  }
  run.untraced(untraced)
}

/**
 * `vae_diffusers_keys`: bare weights under diffusers' names. They must map onto the complete list of canonical tensors,
 * and, where the case with the native names lies beside them, give its tensors and its outputs.
 */
export async function compareDiffusersNames(golden: Golden, run: Run): Promise<void> {
  const file = golden.files[0]!
  const { tensors, naming, problems } = canonicalNames('autoencoder', file, 0)
  const { group_norm_groups: groups } = golden.metadata.config ? golden.json<AutoencoderConfig>('config') : {}
  const contract = [...problems, ...checkAutoencoder(tensors, groups).problems.map(({ message }) => message)]
  run.verdict(
    `names (${naming})`,
    contract.length === 0,
    contract[0] ?? `${tensors.size} tensors, none missing or unknown`,
  )
  const twin = golden.beside('vae.safetensors')
  if (!existsSync(twin)) return
  const native = Golden.open(twin)
  const stored: Record<string, StoredTensor> = {}
  let differing = 0
  for (const [name, { dtype, shape, parts, published }] of tensors) {
    stored[`vae.${name}`] = { ...parts[0]!, dtype, shape }
    const same = native.has(`weight.${name}`) && sameBytes(golden, published, native, `weight.${name}`)
    if (!same) differing++
  }
  run.verdict(
    'tensors',
    differing === 0,
    differing === 0 ? 'the same bytes as under the native names' : `${differing} differ`,
  )
  const numbers = autoencoderNumbers(native.json<AutoencoderConfig>('config'))
  await compareOutputs(native, run, { files: [{ path: file.path, size: file.fileSize }], tensors: stored, numbers })
}

function sameBytes(a: Golden, nameInA: string, b: Golden, nameInB: string): boolean {
  return readTensorBytes(a.files[0]!, nameInA).equals(readTensorBytes(b.files[b.entry(nameInB).file]!, nameInB))
}
