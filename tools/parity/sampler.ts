/** The whole way from noise to picture, without the identity and structure pathways. */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { capturePictures } from '../../dist/image.js'
import type { Networks } from '../../dist/networks/index.js'
import type { Tensor } from '../../dist/ops/index.js'
import { channelsFirst, channelsLast, item, items, join, reshape, textIds, tokensOf, values } from './arrange'
import { type AutoencoderConfig, autoencoderNumbers } from './autoencoder'
import type { Golden } from './golden'
import { compareRestores } from './restored'
import type { Run } from './run'
import { LIMITS } from './sheet'
import { runNames, type TransformerConfig, transformerNumbers } from './transformer'

/** More pixels than any case has. */
const MAX_PIXELS = 1 << 24

/** `sampler`: every run. */
export async function compareSampler(golden: Golden, run: Run): Promise<void> {
  const numbers = {
    ...transformerNumbers(golden.json<TransformerConfig>('config_transformer')),
    ...autoencoderNumbers(golden.json<AutoencoderConfig>('config_vae')),
  }
  const checkpoint = await run.checkpoint(
    golden,
    { 'weight.transformer.': 'transformer.', 'weight.vae.': 'vae.' },
    numbers,
  )
  const networks = await run.networks(checkpoint)
  for (const name of runNames(golden)) await compareRun(golden, run, networks, name)
  await compareRestores(golden, run, checkpoint, runNames(golden))
}

async function compareRun(golden: Golden, run: Run, networks: Networks, name: string): Promise<void> {
  const noise = item(golden.read(`input.${name}.noise`), 0)
  const [channels, height, width] = noise.shape as [number, number, number]
  const condition = await conditionTokens(golden, run, networks, name)
  const [empty, prompt] = items(golden.read('input.prompt_embeds')) as [Tensor, Tensor]
  const imageIds = item(golden.read(`intermediate.${name}.x_ids`), 0)
  const ids = join([textIds(prompt.shape[0]!, imageIds.shape[1]!), imageIds])
  const guidance = golden.json<number>('guidance_scale')
  const sigmas = [...values(golden.read('input.schedule'))]
  const texts = guidance === 1 ? { text0: prompt } : { text0: empty, text1: prompt }
  const results = await networks.run(
    'sample',
    { latents: tokensOf(noise), condition, ids, ...texts },
    { sigmas, guidance, sceneGrid: [height, width], degradedGrid: [height, width], trace: true },
  )
  const limit = LIMITS.endToEnd[run.precision]
  const expected = (output: string) => values(golden.read(`output.${name}.${output}`))
  comparePredictions(golden, run, results, name)
  for (let step = 1; step < sigmas.length; step++) {
    const output = `latents_step_${step}`
    run.compare(`${name}.${output}`, values(results[`trace.${output}`]!), expected(output), limit)
  }
  const latents = channelsFirst(reshape(results.latents, [height, width, channels]))
  run.compare(`${name}.latents_final`, values(latents), expected('latents_final'), limit)
  const { image } = await networks.run('decode', { tokens: results.latents }, { rows: height, columns: width })
  run.compare(`${name}.image`, values(channelsFirst(image)), expected('image'), limit)
  await comparePixels(golden, run, image, name)
}

/** Latent tokens of the degraded picture, then of the references if the run has any. */
async function conditionTokens(golden: Golden, run: Run, networks: Networks, name: string): Promise<Tensor> {
  const encode = async (image: Tensor) => (await networks.run('encode', { image: channelsLast(image) })).tokens
  const degraded = await encode(golden.read('input.condition_image'))
  compareLatents(run, golden, `${name}.condition_latents`, [degraded])
  if (!golden.has(`intermediate.${name}.reference_latents`)) return degraded
  const references: Tensor[] = []
  for (const image of items(golden.read('input.reference_images'))) references.push(await encode(image))
  compareLatents(run, golden, `${name}.reference_latents`, references)
  return join([degraded, ...references])
}

function compareLatents(run: Run, golden: Golden, name: string, tokens: readonly Tensor[]): void {
  const expected = golden.read(`intermediate.${name}`)
  const packed = join(items(expected).map(tokensOf))
  run.intermediate(name, values(join(tokens)), values(packed), LIMITS.network[run.precision])
}

/** What the network said at every step, [empty prompt, prompt]; without guidance there is no first one. */
function comparePredictions(golden: Golden, run: Run, results: Readonly<Record<string, Tensor>>, name: string): void {
  for (let step = 0; results[`trace.prediction_${step}`]; step++) {
    const branches = items(results[`trace.prediction_${step}`]!)
    for (const [i, branch] of (branches.length === 1 ? ['cond'] : ['uncond', 'cond']).entries()) {
      const output = `${name}.pred_${branch}_${step}`
      if (!golden.has(`intermediate.${output}`)) continue
      run.intermediate(
        output,
        values(branches[i]!),
        values(golden.read(`intermediate.${output}`)),
        LIMITS.endToEnd[run.precision],
      )
    }
  }
}

/** The 8-bit picture of our float picture, and the conversion by itself; the PNG beside the case holds the same. */
async function comparePixels(golden: Golden, run: Run, image: Tensor, name: string): Promise<void> {
  const expected = golden.read(`output.${name}.image_u8`).data as Uint8Array
  const pixels = async (x: Tensor) => (await run.ops.run('tensor_to_image', { x })).pixels.data as Uint8Array
  run.compare(`${name}.image_u8`, await pixels(image), expected, run.precision === 'f32' ? LIMITS.pixels : null)
  const stored = channelsLast(golden.read(`output.${name}.image`))
  run.compare(`${name}.image_u8 of the stored image`, await pixels(stored), expected, LIMITS.exact)
  const picture = golden.beside(`${path.basename(golden.path, '.safetensors')}_${name}.png`)
  if (!existsSync(picture)) return
  const [captured] = capturePictures([{ name: picture, image: picture }], MAX_PIXELS)
  run.compare(`${name} picture file`, (await captured!.read()).data, expected, LIMITS.exact)
}
