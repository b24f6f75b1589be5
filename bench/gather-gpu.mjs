// Puts together what bench/gpu.sh measured, in RESULTS/<date>-<GPU>.json:
//   node gather-gpu.mjs begin WORK DEVICE [SUFFIX] notes the date and the GPU, before anything is measured; SUFFIX:
//                                                  behind the GPU's name in that of the file
//   node gather-gpu.mjs follow WORK RESULTS        gathers whenever there is something new, until it or its parent ends
//   node gather-gpu.mjs end WORK RESULTS [--cut]   gathers for good and prints how our times compare with PyTorch's.
//                                                  --cut: not everything was run. Ends with 1 where a result was
//                                                  wrong
// "finished" is false in what `follow` wrote, and where something was cut off.
import { existsSync, readdirSync, readFileSync, watch } from 'node:fs'
import { join } from 'node:path'
import { deviceFacts } from '../dist/bench/machine.js'
import { writeWhole } from '../dist/formats/whole-file.js'

const [how, work, where, cut] = process.argv.slice(2)
const write = (file, value) => writeWhole(file, Buffer.from(`${JSON.stringify(value, null, 2)}\n`))
const read = (name) => {
  const file = join(work, `${name}.json`)
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : null
}

async function begin(device, suffix = '') {
  const facts = device === 'cpu' ? { device: 'cpu' } : deviceFacts(device)
  const gpu = facts.capability ? facts.name : facts.device
  await write(join(work, 'begun.json'), { date: new Date().toISOString(), gpu: gpu + suffix })
}

/** What each test file came to, of those that have ended. */
function testResults() {
  const folder = join(work, 'tests')
  const results = readdirSync(folder).flatMap((file) => {
    const [, name] = /^(.*)\.status$/.exec(file) ?? []
    const status = name && readFileSync(join(folder, file), 'utf8').trim()
    if (!status) return [] // nothing, or not yet written
    const tap = readFileSync(join(folder, `${name}.tap`), 'utf8')
    const [, total = 0, pass = 0] = /^# \{ total: (\d+), pass: (\d+)/m.exec(tap) ?? []
    return [[name, { status: Number(status), total: Number(total), pass: Number(pass) }]]
  })
  return Object.fromEntries(results)
}

/** Theirs by ours: how many times as fast as the fastest way PyTorch has, and than each. */
function compare(rows, rivals) {
  return rows.flatMap(({ name, shape, precision, median: ours }) => {
    const theirs = rivals.filter((row) => row.name === name && row.shape === shape && row.precision === precision)
    if (theirs.length === 0) return []
    const best = theirs.reduce((a, b) => (b.median < a.median ? b : a))
    const each = Object.fromEntries(theirs.map(({ variant, median }) => [variant, median / ours]))
    return [{ name, shape, precision, ours, best: best.variant, ratio: best.median / ours, each }]
  })
}

async function gather(complete) {
  const { date, gpu } = read('begun')
  const [operations, networks, restores, rivals] = ['operations', 'networks', 'restores', 'rivals'].map(read)
  const fp8 = Object.fromEntries(['operations', 'networks', 'restores'].map((name) => [name, read(`${name}-fp8`)]))
  const rows = [operations, networks, fp8.operations, fp8.networks].flatMap((part) => part?.rows ?? [])
  const tests = testResults()
  const parts = [operations, networks, restores, rivals, ...Object.values(fp8)].filter((part) => part !== null)
  const finished = complete && parts.every((part) => part.finished)
  const ratios = compare(rows, rivals?.rows ?? [])
  const file = join(where, `${date.slice(0, 10)}-${gpu.toLowerCase().replace(/[^a-z0-9]+/g, '-')}.json`)
  await write(file, { format: 1, finished, date, tests, operations, networks, restores, fp8, rivals, ratios })
  const wrong = [...rows, ...[restores, fp8.restores].flatMap((part) => part?.restores ?? [])].filter(
    ({ correct }) => !correct,
  ).length
  return { file, finished, tests: Object.values(tests), rows, ratios, wrong }
}

/** One gathering at a time; what comes meanwhile is gathered next. */
async function follow() {
  let [news, ending] = [true, false]
  let wake = () => {}
  const notice = () => wake((news = true))
  const end = () => notice((ending = true))
  const watchers = [work, join(work, 'tests')].map((folder) => watch(folder, notice))
  const parent = process.ppid
  const timer = setInterval(() => process.ppid !== parent && end(), 500)
  process.on('SIGTERM', end)
  while (news || !ending) {
    if (!news) await new Promise((resolve) => (wake = resolve))
    news = false
    await gather(false)
  }
  clearInterval(timer)
  for (const watcher of watchers) watcher.close()
}

async function end() {
  const { file, finished, tests, rows, ratios, wrong } = await gather(cut !== '--cut')
  for (const { name, shape, precision, ratio, best } of ratios) {
    console.log(
      `${name.padEnd(24)} ${shape.padEnd(24)} ${precision} ${ratio.toFixed(2)} times as fast as PyTorch's ${best}`,
    )
  }
  const failed = tests.filter(({ status }) => status !== 0).length
  const short = finished ? '' : '; cut off before everything was measured'
  console.log(`${file}: ${rows.length} cases, ${wrong} wrong; ${tests.length} test files, ${failed} failed${short}`)
  process.exitCode = wrong + failed > 0 || rows.length + tests.length === 0 ? 1 : 0
}

const COMMANDS = { begin: () => begin(where, cut), follow, end }
await COMMANDS[how]()
