/** The identity and structure pathways in the whole network, and the variants of the paper's Table 3. */
import type { Networks } from '../../dist/networks/index.js'
import type { Tensor } from '../../dist/ops/index.js'
import { item, items, join, textIds, values } from './arrange'
import type { Golden } from './golden'
import { Batch, type Run } from './run'
import { LIMITS } from './sheet'
import { type TransformerConfig, transformerNumbers } from './transformer'

interface AdapterConfig extends TransformerConfig {
  degraded_strength: number
  temperature: number
  scene_grid: number[]
  degraded_grid: number[]
}

/** Which parts take part in an output. */
interface Parts {
  references: boolean
  residual: boolean
  memory: boolean
  detail: boolean
  anchor: 'references' | 'degraded' | undefined
}

const FULL: Parts = { references: true, residual: true, memory: true, detail: true, anchor: 'references' }
const VARIANTS: Readonly<Record<string, Parts>> = {
  full: FULL,
  no_reference: { ...FULL, references: false, anchor: 'degraded' },
  concat_only: { ...FULL, residual: false, memory: false, anchor: undefined },
  structure_residual_only: { ...FULL, memory: false, anchor: undefined },
  identity_only: { ...FULL, residual: false, memory: false },
  single_route: { ...FULL, detail: false },
}

/** `iconface_adapter`: every output that the case holds. */
export async function compareAdapter(golden: Golden, run: Run): Promise<void> {
  const config = golden.json<AdapterConfig>('config')
  const numbers = {
    ...transformerNumbers(config),
    'adapter.residualStrength': [config.degraded_strength],
    'adapter.temperature': [config.temperature],
  }
  const networks = await run.networks(
    await run.checkpoint(golden, { 'weight.': 'transformer.', 'adapter.': 'adapter.' }, numbers),
  )
  const anchors = await compareAnchors(golden, run, config)
  for (const output of golden.names('output.')) {
    const parts = VARIANTS[output]
    if (!parts) {
      run.verdict(output, false, 'no such variant is known')
      continue
    }
    const results = await predict(golden, run, networks, config, parts, anchors)
    if (output === 'full') compareIntermediates(golden, run, results)
    run.compare(
      output,
      results.get('prediction'),
      values(golden.read(`output.${output}`)),
      LIMITS.network[run.precision],
    )
  }
}

/** The anchors from the references and from the degraded picture. */
async function compareAnchors(golden: Golden, run: Run, { temperature }: AdapterConfig) {
  const of = (embeddings: Tensor) => run.ops.run('identity_anchor', { embeddings }, { temperature })
  const references = await of(golden.read('input.reference_embeddings_raw'))
  const degraded = await of(golden.read('input.degraded_embedding_raw'))
  const expected = (name: string) => values(golden.read(`intermediate.${name}`))
  run.intermediate('anchor', values(references.anchor), expected('anchor'), LIMITS.anchor)
  run.intermediate('anchor_weights', values(references.weights), expected('anchor_weights'), LIMITS.anchor)
  run.intermediate('anchor_norms', values(references.norms), expected('anchor_norms'), LIMITS.embeddingNorm)
  run.intermediate('fallback_anchor', values(degraded.anchor), expected('fallback_anchor'), LIMITS.anchor)
  return { references: references.anchor, degraded: degraded.anchor }
}

/** All batch items; degraded picture and references are shared by them. */
async function predict(
  golden: Golden,
  run: Run,
  networks: Networks,
  config: AdapterConfig,
  { references, residual, memory, detail, anchor }: Parts,
  anchors: Record<'references' | 'degraded', Tensor>,
): Promise<Batch> {
  const input = (name: string) => golden.read(`input.${name}`)
  const [scene, text, timesteps] = [input('scene_latents'), input('text'), values(input('timesteps'))]
  const condition = join([item(input('degraded_latents'), 0), ...(references ? items(input('reference_latents')) : [])])
  const imageIds = input(references ? 'ids_with_references' : 'ids_no_reference')
  const ids = join([textIds(text.shape[1]!, imageIds.shape[1]!), imageIds])
  const results = new Batch()
  for (const [i, timestep] of timesteps.entries()) {
    const tensors = { latents: item(scene, i), condition, text0: item(text, i), ids }
    results.add(
      await networks.run('transformer', anchor === undefined ? tensors : { ...tensors, anchor: anchors[anchor] }, {
        timestep,
        sceneGrid: config.scene_grid,
        degradedGrid: config.degraded_grid,
        residual,
        memory,
        detail,
        predictAll: true,
        trace: run.verbose,
      }),
    )
  }
  return results
}

function compareIntermediates(golden: Golden, run: Run, results: Batch): void {
  const untraced: string[] = []
  for (const name of golden.names('intermediate.')) {
    if (/anchor/.test(name)) continue // compared by themselves
    if (!results.has(`trace.${name}`)) untraced.push(name)
    else run.intermediate(name, results.get(`trace.${name}`), values(golden.read(`intermediate.${name}`)))
  }
  run.untraced(run.verbose ? untraced : [])
}
