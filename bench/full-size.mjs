// Loads a klein-4b model and restores at a small size, or encodes one prompt's worth of tokens with Qwen3-4B, and says
// what that took:
//   npx iconface synthesize --preset klein-4b --out M; npx iconface synthesize --preset qwen3-4b --out T
//   node bench/full-size.mjs model M [pixels] [steps]
//   node bench/full-size.mjs text T
// Peaks are the process's resident set, which counts the pages of mapped weights it has touched; `own` leaves those
// out.
import { readFileSync } from 'node:fs'
import { allocateImage, IConFace } from '../dist/index.js'
import { Networks, openTextEncoder } from '../dist/networks/index.js'
import { i32 } from '../dist/ops/index.js'

const [, , what, folder, pixels = '64', steps = '2'] = process.argv

const gibibytes = (key) =>
  Number(new RegExp(`${key}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 2 ** 20
let own = 0
setInterval(() => (own = Math.max(own, gibibytes('RssAnon'))), 50).unref()

async function timed(name, run) {
  const [begun, cpu] = [performance.now(), process.cpuUsage()]
  const result = await run()
  const { user, system } = process.cpuUsage(cpu)
  const seconds = ((performance.now() - begun) / 1000).toFixed(1)
  const [peak, mine] = [gibibytes('VmHWM'), Math.max(own, gibibytes('RssAnon'))].map((x) => x.toFixed(2))
  console.log(`${name}: ${seconds} s, CPU ${((user + system) / 1e6).toFixed(1)} s, peak ${peak} GiB, own ${mine} GiB`)
  return result
}

if (what === 'model') {
  const model = await timed('load', () => IConFace.load(folder, { precision: 'bf16' }))
  const picture = allocateImage(Number(pixels), Number(pixels))
  picture.data.fill(120)
  const options = { size: Number(pixels), steps: Number(steps), align: 'none' }
  await timed(`restore, ${pixels} px, ${steps} steps, one reference`, () => model.restore(picture, [picture], options))
  await model.dispose()
} else if (what === 'text') {
  const networks = await timed('load', () => Networks.load(openTextEncoder(folder).checkpoint, { precision: 'f32' }))
  const ids = Int32Array.from({ length: 512 }, (_, i) => (i * 7919) % 151_936)
  await timed('encode 512 tokens, f32', () => networks.run('text_embedding', { ids: i32([512], ids) }, { real: 60 }))
  await networks.dispose()
} else {
  console.error('expected "model" or "text" and a folder')
  process.exitCode = 2
}
