/** Qwen3 text encoders: whole ones with stored weights, and some layers of the true widths with computed ones. */
import { i32, type Tensor } from '../../dist/ops/index.js'
import { concatenate, item, items, values } from './arrange'
import type { Golden } from './golden'
import type { Checkpoint } from '../../dist/networks/index.js'
import { Batch, type Run } from './run'
import { LIMITS } from './sheet'

interface TextConfig {
  num_hidden_layers: number
  rope_theta: number
  /** Absent where hidden states are outputs one by one. */
  output_layers?: number[]
}

/** `qwen3_hd32`, `qwen3_hd128` and `qwen3_full_width`. */
export async function compareTextEncoder(golden: Golden, run: Run): Promise<void> {
  const config = golden.json<TextConfig>('config')
  const numbers = {
    'text.outputLayers': config.output_layers ?? Array.from({ length: config.num_hidden_layers }, (_, i) => i + 1),
    'text.ropeTheta': [config.rope_theta],
  }
  await compareEmbeddings(golden, run, await run.checkpoint(golden, { 'weight.model.': 'text.' }, numbers))
}

async function compareEmbeddings(golden: Golden, run: Run, checkpoint: Checkpoint): Promise<void> {
  const networks = await run.networks(checkpoint)
  const results = new Batch()
  const masks = items(golden.read('input.attention_mask'))
  for (const [i, ids] of items(golden.read('input.input_ids')).entries()) {
    const real = realTokens(masks[i]!)
    // Hidden states that are outputs themselves are seen as intermediates of the run.
    results.add(
      await networks.run('text_embedding', { ids: i32(ids.shape, ids.data as Int32Array) }, { real, trace: true }),
    )
  }
  const limit = LIMITS.network[run.precision]
  for (const output of golden.names('output.')) {
    const actual = results.get(output === 'prompt_embeds' ? 'embeddings' : `trace.${output}`)
    run.compare(output, actual, values(golden.read(`output.${output}`)), limit)
  }
  compareIntermediates(golden, run, results)
}

/** How many tokens the mask lets be seen; they come first. */
function realTokens(mask: Tensor): number {
  const seen = [...(mask.data as Int32Array)]
  const real = seen.lastIndexOf(1) + 1
  if (real === 0 || seen.some((one, i) => one !== (i < real ? 1 : 0)))
    throw new Error('its mask is not of text, then padding')
  return real
}

function compareIntermediates(golden: Golden, run: Run, results: Batch): void {
  const untraced: string[] = []
  for (const name of golden.names('intermediate.')) {
    const expected = golden.read(`intermediate.${name}`)
    if (/^rope_(cos|sin)$/.test(name)) {
      // Every angle is stored twice, once for each half of a head, and is the same in every batch item.
      const [, tokens, d] = expected.shape as [number, number, number]
      const table = values(item(expected, 0))
      const halves = Array.from({ length: tokens }, (_, i) => table.subarray(i * d, i * d + d / 2))
      const ours = results.get(`trace.${name}`).subarray(0, (tokens * d) / 2)
      run.intermediate(name, ours, concatenate(halves), LIMITS.ropeTable)
    } else if (results.has(`trace.${name}`)) run.intermediate(name, results.get(`trace.${name}`), values(expected))
    else untraced.push(name)
  }
  run.untraced(untraced)
}
