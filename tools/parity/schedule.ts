/** Numbers a restore starts from: the sampler's schedule and its noise. */
import type { Golden, Json } from './golden'
import { values } from './arrange'
import type { Run } from './run'
import { LIMITS } from './sheet'

interface Schedule {
  num_steps: number
  image_seq_len: number
  timesteps_float64: number[]
  timesteps_authors_float32?: number[]
}

/** `schedule`: all step and token counts together, against the exact values and against the authors' float32 ones. */
export async function compareSchedule(json: Json, run: Run): Promise<void> {
  const { schedules } = json as unknown as { schedules: Schedule[] }
  const networks = await run.networks({ files: [], tensors: {} })
  const [actual, exact, float32, ours32] = [[], [], [], []] as [number[], number[], number[], number[]]
  for (const { num_steps, image_seq_len, timesteps_float64, timesteps_authors_float32 } of schedules) {
    const { sigmas } = await networks.run('schedule', {}, { steps: num_steps, tokens: image_seq_len })
    const list = [...(sigmas.data as Float64Array)]
    actual.push(...list)
    exact.push(...timesteps_float64)
    if (!timesteps_authors_float32) continue
    ours32.push(...list)
    float32.push(...timesteps_authors_float32)
  }
  const note = `${schedules.length} schedules`
  run.compare('timesteps_float64', actual, exact, LIMITS.schedule, note)
  if (float32.length > 0) run.compare('timesteps_authors_float32', ours32, float32, LIMITS.scheduleFloat32)
}

/** `randn`: outputs `torch_<cpu|cuda>….seed<n>`. */
export async function compareNoise(golden: Golden, run: Run): Promise<void> {
  for (const output of golden.names('output.')) {
    const match = /^torch_(cpu|cuda)\w*\.seed(\d+)$/.exec(output)
    if (!match) {
      run.verdict(output, false, 'no such generator is known')
      continue
    }
    const generator = match[1] === 'cpu' ? 'torch-cpu' : 'torch-cuda'
    const shape = golden.shape(`output.${output}`)
    const { out } = await run.ops.run('random_normal', {}, { seed: match[2]!, generator, shape })
    run.compare(output, values(out), values(golden.read(`output.${output}`)), LIMITS.noise)
  }
}
