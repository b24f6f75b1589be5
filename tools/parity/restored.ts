/**
 * A `sampler` case by the function that restores faces: its pictures go in as bytes, its noise instead of the seed's,
 * and what passes on the way is compared too. `sampler.ts` puts the same case together from networks.
 */
import { native, type NativeSession, type NativeTensor } from '../../dist/native.js'
import type { Checkpoint, StoredTensor } from '../../dist/networks/index.js'
import type { Tensor } from '../../dist/ops/index.js'
import { channelsFirst, channelsLast, item, items, join, reshape, textIds, tokensOf, values } from './arrange'
import type { Golden } from './golden'
import type { Run } from './run'
import { LIMITS } from './sheet'

/** Loads what the case holds into a session of its own and restores every run of it. */
export async function compareRestores(golden: Golden, run: Run, networks: Checkpoint, names: string[]): Promise<void> {
  const session = run.session(withPrompts(golden, networks))
  await native(() => session.load())
  for (const name of names) await compareRestore(golden, run, session, name)
}

/** The checkpoint with the case's two embeddings as its prompts, [empty prompt, prompt]. */
function withPrompts(golden: Golden, checkpoint: Checkpoint): Checkpoint {
  const both = golden.entry('input.prompt_embeds')
  const [, length, context] = both.shape as [number, number, number]
  const bytes = both.bytes / 2
  const prompt = (index: number): StoredTensor => ({
    ...both,
    offset: both.offset + index * bytes,
    bytes,
    shape: [length, context],
  })
  return { ...checkpoint, tensors: { ...checkpoint.tensors, 'prompt.empty': prompt(0), 'prompt.prompt': prompt(1) } }
}

async function compareRestore(golden: Golden, run: Run, session: NativeSession, name: string): Promise<void> {
  const label = `restore ${name}`
  const noise = item(golden.read(`input.${name}.noise`), 0)
  const [, rows, columns] = noise.shape as [number, number, number]
  const withReferences = golden.has(`intermediate.${name}.reference_latents`)
  const images = [
    golden.read('input.condition_image'),
    ...(withReferences ? items(golden.read('input.reference_images')) : []),
  ].map((image) => pictureOf(image))
  const size = images[0]!.width
  const out = new Uint8Array(size * size * 3)
  const restoring = native(() =>
    session.restore(
      {
        pixels: images,
        size,
        steps: golden.json<number>('num_steps'),
        guidance: golden.json<number>('guidance_scale'),
        seed: 0n,
        rng: 'torch-cuda',
        variant: { identity: true, structure: 'full', references: true },
        noise,
        trace: true,
        out,
      },
      () => undefined,
    ),
  )
  const trace = (await native(() => restoring.promise)).trace!
  const limit = LIMITS.restored[run.precision]
  const expected = (output: string) => values(golden.read(`output.${name}.${output}`))
  compareCondition(golden, run, name, trace)
  for (let step = 1; golden.has(`output.${name}.latents_step_${step}`); step++) {
    const output = `latents_step_${step}`
    run.compare(`${label}.${output}`, traced(trace, output), expected(output), limit)
  }
  const last = traced(trace, `latents_step_${golden.json<number>('num_steps')}`)
  const latents = channelsFirst({ dtype: 'f32', shape: [rows, columns, noise.shape[0]!], data: last })
  run.compare(`${label}.latents_final`, values(latents), expected('latents_final'), limit)
  const image = channelsFirst({ dtype: 'f32', shape: [size, size, 3], data: traced(trace, 'image') })
  run.compare(`${label}.image`, values(image), expected('image'), limit)
  const pixels = golden.read(`output.${name}.image_u8`).data as Uint8Array
  run.compare(`${label}.image_u8`, out, pixels, run.precision === 'f32' ? LIMITS.pixels : null)
}

/** Latents of the degraded picture and the references in their order, and where all tokens stand. */
function compareCondition(golden: Golden, run: Run, name: string, trace: Readonly<Record<string, NativeTensor>>): void {
  const stored = ['condition_latents', 'reference_latents'].map((each) => `intermediate.${name}.${each}`)
  const latents = stored.flatMap((each) => (golden.has(each) ? items(golden.read(each)).map(tokensOf) : []))
  const limit = LIMITS.network[run.precision]
  run.compare(`restore ${name}.condition`, traced(trace, 'condition_latents'), values(join(latents)), limit)
  const image = item(golden.read(`intermediate.${name}.x_ids`), 0)
  const ids = values(join([textIds(golden.shape('input.prompt_embeds')[1]!, image.shape[1]!), image]))
  run.compare(`restore ${name}.ids`, trace.ids!.data as Int32Array, ids, LIMITS.exact)
}

function traced(trace: Readonly<Record<string, NativeTensor>>, name: string): Float32Array {
  const found = trace[name]
  if (!found) throw new Error(`restore shows no ${name}`)
  return found.data as Float32Array
}

/** A picture [3, H, W] in [-1, 1] as the bytes that it was made of. */
function pictureOf(image: Tensor) {
  const [, height, width] = image.shape as [number, number, number]
  const levels = values(channelsLast(reshape(image, [3, height, width]))).map((x) => (x + 1) * 127.5)
  const data = Uint8Array.from(levels, Math.round)
  if (height !== width || data.some((level, i) => Math.abs(level - levels[i]!) > 1e-3))
    throw new Error(`restore takes square pictures of 8 bits, and this one is ${width} x ${height} of others`)
  return { data, width, height, channels: 3 as const }
}
