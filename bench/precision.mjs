// Says how far bf16 and fp8 are from f32 on one device: one forward pass and a denoising of random latents with guidance
// 4 (relative errors), and restores of drawn faces, damaged moderately, with one reference (levels of 255):
//   node bench/precision.mjs [device] [model] [faces]          (default cuda, models/tiny, 3)
import { fileURLToPath } from 'node:url'
import { networkCases } from '../dist/bench/networks.js'
import { openCheckpoint } from '../dist/checkpoint/open.js'
import { syntheticCases } from '../dist/evaluate/index.js'
import { IConFace } from '../dist/index.js'
import { Networks } from '../dist/networks/index.js'

const tiny = fileURLToPath(new URL('../models/tiny', import.meta.url))
const [device = 'cuda', folder = tiny, faces = '3'] = process.argv.slice(2)
const checkpoint = openCheckpoint(folder)
const { size, steps, guidance } = checkpoint.defaults

const sizes = { picture: size, forward: size, steps, references: [1] }
const networks = networkCases(checkpoint, sizes).filter(({ name }) => ['forward_adapter', 'denoise'].includes(name))
const runs = networks.map((network) => network.make()) // with operands that all precisions share
const pictures = await Promise.all(
  syntheticCases({ count: Number(faces), severities: ['moderate'], references: 1 }).map((one) => one.load(size)),
)

async function results(precision) {
  const loaded = await Networks.load(checkpoint, { device, precision })
  const values = []
  for (const run of runs) values.push((await run(loaded, {})).result)
  await loaded.dispose()
  const model = await IConFace.load(folder, { device, precision })
  const restored = []
  for (const { input, references } of pictures)
    restored.push(...(await model.restore(input, references, { align: 'none' })).data)
  const { deviceWeights, mappedWeights } = model.estimate({ references: 1 })
  await model.dispose()
  return { values, restored, weights: deviceWeights ?? mappedWeights }
}

const exact = await results('f32')
console.log(
  `${checkpoint.name}, ${size} px, ${steps} steps, faces with guidance ${guidance}; ${device}, against f32 there:`,
)
for (const precision of ['bf16', 'fp8']) {
  const { values, restored, weights } = await results(precision)
  const errors = networks.map(({ name }, i) => {
    const [actual, expected] = [values[i], exact.values[i]]
    const difference = Math.hypot(...actual.map((value, j) => value - expected[j]))
    return `${name} ${(difference / Math.hypot(...expected)).toExponential(1)}`
  })
  const levels = restored.map((level, i) => Math.abs(level - exact.restored[i]))
  const mean = levels.reduce((sum, level) => sum + level, 0) / levels.length
  const largest = levels.reduce((a, b) => Math.max(a, b))
  console.log(
    `${precision.padEnd(4)} ${errors.join(', ')}; ${faces} faces: mean ${mean.toFixed(2)} levels, largest ${largest}; ` +
      `weights ${(weights / 1e6).toFixed(1)} MB`,
  )
}
