// Puts together what bench/gpu.sh measured: node gather-gpu.mjs WORK RESULTS writes RESULTS/<date>-<GPU>.json and prints
// how our times compare with PyTorch's. Ends with 1 where a result was wrong or a test failed.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const [work, results] = process.argv.slice(2)
const record = (name) => {
  const file = join(work, `${name}.json`)
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : null
}
const [operations, networks, restores, rivals] = ['operations', 'networks', 'restores', 'rivals'].map(record)
const fp8 = Object.fromEntries(['operations', 'networks', 'restores'].map((name) => [name, record(`${name}-fp8`)]))
if (!operations && !networks) {
  console.error('nothing was measured')
  process.exit(1)
}

const folder = join(work, 'tests')
const tests = Object.fromEntries(
  readdirSync(folder)
    .filter((file) => file.endsWith('.tap'))
    .map((file) => {
      const name = file.slice(0, -'.tap'.length)
      const [, total, pass] = /^# \{ total: (\d+), pass: (\d+)/m.exec(readFileSync(join(folder, file), 'utf8')) ?? []
      const status = Number(readFileSync(join(folder, `${name}.status`), 'utf8'))
      return [name, { status, total: Number(total ?? 0), pass: Number(pass ?? 0) }]
    }),
)

const rows = [operations, networks, fp8.operations, fp8.networks].flatMap((found) => found?.rows ?? [])
/** Theirs by ours: how many times as fast as the fastest way PyTorch has, and than each. */
const ratios = rows.flatMap((ours) => {
  const theirs = (rivals?.rows ?? []).filter(
    ({ name, shape, precision }) => name === ours.name && shape === ours.shape && precision === ours.precision,
  )
  if (theirs.length === 0) return []
  const best = theirs.reduce((a, b) => (b.median < a.median ? b : a))
  const each = Object.fromEntries(theirs.map(({ variant, median }) => [variant, median / ours.median]))
  return [
    {
      name: ours.name,
      shape: ours.shape,
      precision: ours.precision,
      ours: ours.median,
      best: best.variant,
      ratio: best.median / ours.median,
      each,
    },
  ]
})

const first = operations ?? networks
const where = first.device?.capability ? first.device.name : (first.device?.device ?? 'processor')
const name = `${first.date.slice(0, 10)}-${where.toLowerCase().replace(/[^a-z0-9]+/g, '-')}`
const file = join(results, `${name}.json`)
writeFileSync(
  file,
  `${JSON.stringify({ format: 1, date: first.date, tests, operations, networks, restores, fp8, rivals, ratios }, null, 2)}\n`,
)

for (const { name, shape, precision, ratio, best } of ratios) {
  console.log(
    `${name.padEnd(24)} ${shape.padEnd(24)} ${precision} ${ratio.toFixed(2)} times as fast as PyTorch's ${best}`,
  )
}
const incorrect = [...rows, ...[restores, fp8.restores].flatMap((found) => found?.restores ?? [])].filter(
  ({ correct }) => !correct,
)
const failed = Object.entries(tests).filter(([, { status }]) => status !== 0)
console.log(
  `${file}: ${rows.length} cases, ${incorrect.length} wrong; ${Object.keys(tests).length} test files, ${failed.length} failed`,
)
process.exitCode = incorrect.length + failed.length > 0 ? 1 : 0
