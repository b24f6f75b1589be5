/** The face encoder and the identity anchor. */
import type { Checkpoint } from '../../dist/networks/index.js'
import { f32, type Tensor } from '../../dist/ops/index.js'
import { channelsFirst, channelsLast, item, items, join, reshape, values } from './arrange'
import type { Golden, Json } from './golden'
import { Batch, type Run } from './run'
import { LIMITS } from './sheet'

interface FaceConfig {
  stage_units: number[]
}

/** A crop that changes nothing: the picture is the crop. */
const IDENTITY = [1, 0, 0, 0, 1, 0]

/** `adaface_ir` and `adaface_ir50_full`; the weights of the second are computed, not stored. */
export async function compareFaceEncoder(golden: Golden, run: Run): Promise<void> {
  const { stage_units } = golden.json<FaceConfig>('config')
  const checkpoint = await run.checkpoint(golden, { 'weight.': 'face.' }, { 'face.stageUnits': stage_units })
  await compareEmbeddings(golden, run, checkpoint, stage_units)
}

async function compareEmbeddings(
  golden: Golden,
  run: Run,
  checkpoint: Checkpoint,
  stageUnits: number[],
): Promise<void> {
  const networks = await run.networks(checkpoint)
  const results = new Batch()
  const traces = new Batch()
  for (const face of await encoderInputs(golden, run)) {
    const result = await networks.run('face_embedding', { face }, { trace: run.verbose })
    results.add({ raw: result.embedding, ...normalised(values(result.embedding)) })
    for (const [name, map] of Object.entries(result as Record<string, Tensor>)) {
      if (name.startsWith('trace.')) traces.add(summaries(name.slice('trace.'.length), map))
    }
  }
  compareIntermediates(golden, run, traces, stageUnits)
  const expected = (name: string) => values(golden.read(`output.${name}`))
  run.compare('embedding', results.get('unit'), expected('embedding'), LIMITS.embedding)
  run.compare('norm', results.get('norm'), expected('norm'), LIMITS.embeddingNorm)
  run.compare('embedding_raw', results.get('raw'), expected('embedding_raw'), LIMITS.network.f32)
}

/**
 * What the encoder reads, [112, 112, 3] each: as the case stores it, which its pictures must give, or else from these.
 */
async function encoderInputs(golden: Golden, run: Run): Promise<Tensor[]> {
  const crops: Tensor[] = []
  for (const pixels of items(golden.read('input.image_rgb_u8'))) {
    const { out } = await run.ops.run('face_crop', { pixels }, { matrix: IDENTITY, size: pixels.shape[0]! })
    crops.push(out)
  }
  if (!golden.has('input.tensor_bgr')) return crops
  const stored = golden.read('input.tensor_bgr')
  run.compare('tensor_bgr', values(join(crops.map(channelsFirst))), values(stored), LIMITS.image)
  return items(stored).map(channelsLast)
}

function normalised(raw: Float32Array): { unit: Tensor; norm: Tensor } {
  const norm = Math.sqrt(raw.reduce((sum, x) => sum + x * x, 0))
  return {
    unit: f32(
      [raw.length],
      raw.map((x) => x / norm),
    ),
    norm: f32([1], [norm]),
  }
}

/** A feature map [1, H, W, C] whole, and as the large cases keep it: its beginning and three numbers. */
export function summaries(name: string, map: Tensor): Record<string, Tensor> {
  const whole = channelsFirst(item(map, 0))
  const all = values(whole)
  const mean = all.reduce((sum, x) => sum + x, 0) / all.length
  const deviation = Math.sqrt(all.reduce((sum, x) => sum + (x - mean) ** 2, 0) / all.length)
  const largest = all.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
  const first = all.subarray(0, Math.min(64, all.length))
  return {
    [name]: reshape(whole, [all.length]),
    [`${name}.first64`]: f32([first.length], first),
    [`${name}.mean_std_absmax`]: f32([3], [mean, deviation, largest]),
  }
}

/** Stages are the blocks at their ends here. */
function compareIntermediates(golden: Golden, run: Run, traces: Batch, stageUnits: number[]): void {
  const lastOfStage = (stage: number) => stageUnits.slice(0, stage).reduce((a, b) => a + b, 0) - 1
  const untraced: string[] = []
  for (const name of golden.names('intermediate.')) {
    const ours = name.replace(/^body_stage(\d+)/, (_, stage: string) => `body_block${lastOfStage(Number(stage))}`)
    if (traces.has(ours)) run.intermediate(name, traces.get(ours), values(golden.read(`intermediate.${name}`)))
    else untraced.push(name)
  }
  run.untraced(untraced)
}

/** `identity_anchor`: every case of the file. */
export async function compareAnchors(golden: Golden, run: Run): Promise<void> {
  for (const [name, { temperature }] of Object.entries(
    golden.json<Record<string, { temperature: number }>>('config'),
  )) {
    const { anchor, norms, weights } = await run.ops.run(
      'identity_anchor',
      { embeddings: golden.read(`input.${name}.z`) },
      { temperature },
    )
    const expected = (part: string) => values(golden.read(part))
    run.intermediate(`${name}.norm`, values(norms), expected(`intermediate.${name}.norm`), LIMITS.embeddingNorm)
    // Where every embedding is zero there is nothing to weigh, and any weights would do.
    const usable = expected(`intermediate.${name}.norm`).some((norm) => norm > 0)
    if (usable)
      run.intermediate(`${name}.weight`, values(weights), expected(`intermediate.${name}.weight`), LIMITS.anchor)
    run.compare(`${name}.e_ref`, values(anchor), expected(`output.${name}.e_ref`), LIMITS.anchor)
  }
}

interface Alignment {
  least_squares_similarity_512_to_112: number[][]
  restoration_template_512: [number, number][]
  adaface_template_112: [number, number][]
  residual_px_after_similarity?: [number, number][]
}

/** `adaface_alignment`: the similarity between the two landmark templates, and where it puts the landmarks. */
export async function compareAlignment(json: Json, run: Run): Promise<void> {
  const alignment = json as unknown as Alignment
  const networks = await run.networks({ files: [], tensors: {} })
  const { matrix } = await networks.run('face_crop_matrix', {}, { size: 512, mode: 'template' })
  const [a, b, c, d, e, f] = matrix.data as Float64Array as unknown as [number, number, number, number, number, number]
  run.compare('similarity', [a, b, c, d, e, f], alignment.least_squares_similarity_512_to_112.flat(), LIMITS.matrix)
  const { restoration_template_512: from, adaface_template_112: to, residual_px_after_similarity: residual } = alignment
  if (!residual) return
  const moved = from.flatMap(([x, y], i) => [a * x + b * y + c - to[i]![0], d * x + e * y + f - to[i]![1]])
  const sign = Math.sign(moved[0]! * residual[0]![0]) || 1 // the file may measure either way round
  const expected = residual.flat().map((r) => r * sign)
  run.compare('landmarks after it', moved, expected, { absolute: 1e-4 }, 'pixels')
}
