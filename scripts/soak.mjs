// Long runs: what must hold after thousands of calls, aborts, ends and broken files. Prints and writes one JSON record.
//   node scripts/soak.mjs [--what restores,loads,...] [--scale 0.1] [--out bench/results/soak.json]
// Needs dist/ and a built addon; works in a temporary folder. A record that exists keeps the parts that are not run again.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import v8 from 'node:v8'
import vm from 'node:vm'

const require = createRequire(import.meta.url)
const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const dist = (file) => path.join(ROOT, 'dist', file)
const { IConFace, allocateImage } = require(dist('index.js'))
const { capturePictures } = require(dist('image.js'))
const { loadAddon } = require(dist('native.js'))
const { synthesizeCheckpoint } = require(dist('checkpoint/synthesize.js'))
const sharp = require('sharp')

v8.setFlagsFromString('--expose-gc')
const collect = vm.runInNewContext('gc')

const { values: options } = parseArgs({
  options: {
    what: { type: 'string', default: 'restores,loads,aborts,workers,kills,images,bombs,loop,peak,allocations' },
    scale: { type: 'string', default: '1' },
    out: { type: 'string', default: path.join(ROOT, 'bench/results/soak.json') },
    child: { type: 'string' },
    folder: { type: 'string' },
    file: { type: 'string' },
    count: { type: 'string' },
  },
})
const times = (n) => Math.max(1, Math.round(n * Number(options.scale)))

// ---- tools ----------------------------------------------------------------------------------------------------------

/** Mulberry32: the same runs every time. */
function generator(seed) {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) % below
  }
}

function picture(seed, side = 48) {
  const random = generator(seed)
  const image = allocateImage(side, side)
  for (let i = 0; i < image.data.length; i++) image.data[i] = 100 + 60 * Math.sin((i * seed) / 301) + random(32)
  return image
}

const round = (x, digits = 3) => Number(x.toFixed(digits))
const quantile = (list, q) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(q * list.length))]
const rss = () => (collect(), process.memoryUsage.rss())
const held = () => loadAddon().info().memory.heldBytes
const threads = () => fs.readdirSync('/proc/self/task').length
const handles = () => fs.readdirSync('/proc/self/fd').length
const codeOf = (error) => error?.code ?? String(error)

/** Least squares: change of y per x. */
function slope(points) {
  const mean = (k) => points.reduce((sum, p) => sum + p[k], 0) / points.length
  const [x, y] = [mean(0), mean(1)]
  return points.reduce((s, p) => s + (p[0] - x) * (p[1] - y), 0) / points.reduce((s, p) => s + (p[0] - x) ** 2, 0)
}

/** Models of the part that runs; they are disposed when it ends. */
const models = []
async function load(folder, options) {
  const model = await IConFace.load(folder, options)
  models.push(model)
  return model
}

const input = picture(1)
const references = [picture(2), picture(3)]
const QUICK = { steps: 2, size: 32 }
const SMALLEST = { size: 16, steps: 1, guidance: 1 }

/** This program again, as a child that does one thing; resolves to how it ended. */
function child(name, folder, extra = [], whenBusy = () => {}) {
  const program = [fileURLToPath(import.meta.url), '--child', name, '--folder', folder, ...extra]
  const running = spawn(process.execPath, program, { stdio: ['ignore', 'pipe', 'inherit'] })
  let stdout = ''
  running.stdout.on('data', (text) => {
    if (stdout === '') whenBusy(running)
    stdout += text
  })
  return new Promise((resolve) => running.on('close', (code, signal) => resolve({ code, signal, stdout })))
}

// ---- parts ----------------------------------------------------------------------------------------------------------

const parts = {
  /** Memory per call, over many small restores. */
  async restores(folder) {
    const calls = times(10000)
    const warm = Math.min(500, calls / 4)
    const model = await load(folder, { threads: 1 })
    const points = []
    let before
    for (let i = 1; i <= calls; i++) {
      await model.restore(input, [], { ...SMALLEST, seed: i })
      if (i < warm || i % 50 !== 0) continue
      before ??= { threads: threads(), handles: handles(), held: held() }
      points.push([i, rss()])
    }
    const after = { threads: threads(), handles: handles(), held: held() }
    const perCall = round(slope(points), 1)
    const constant = JSON.stringify(before) === JSON.stringify(after)
    return { calls, rssBytesPerCall: perCall, constant, ...after, ok: perCall <= 1024 && constant }
  },

  /**
   * Loading and disposing: the core must hold nothing, and resident memory must stop growing. V8's own heap and code grow
   * during the first hundred cycles, so cycles 50 % to 60 % are compared with the last 10 %.
   */
  async loads(folder) {
    const cycles = times(200)
    const sizes = []
    for (let i = 0; i < cycles; i++) {
      const model = await IConFace.load(folder, { threads: 2 })
      await model.restore(input, references, QUICK)
      await model.dispose()
      sizes.push(rss())
    }
    const middle = (from, to) => quantile(sizes.slice(Math.floor(from * cycles), Math.ceil(to * cycles)), 0.5)
    const [second, half, last] = [sizes[Math.min(1, cycles - 1)], middle(0.5, 0.6), middle(0.9, 1)]
    const percent = (to, from) => round((100 * (to - from)) / from, 2)
    return {
      cycles,
      rss: { second, half, last },
      changeFromSecondPercent: percent(last, second),
      changeFromHalfPercent: percent(last, half),
      held: held(),
      ok: percent(last, half) <= 2 && held() === 0,
    }
  },

  /** Aborts at random times: how soon the promise rejects, what is kept, and whether the next result is the same. */
  async aborts(folder) {
    const random = generator(7)
    const model = await load(folder, { threads: 2 })
    const expected = (await model.restore(input, references, QUICK)).data
    const before = held()
    const count = times(1000)
    const late = []
    const wrong = []
    let finished = 0
    for (let i = 0; i < count; i++) {
      const controller = new AbortController()
      const restoring = model.restore(input, references, { size: 64, steps: 4, signal: controller.signal })
      const outcome = restoring.then(() => 'done', codeOf)
      await sleep(random(250))
      const began = performance.now()
      controller.abort()
      const end = await outcome
      if (end === 'done') finished++
      else if (end === 'ERR_ICONFACE_ABORTED') late.push(performance.now() - began)
      else wrong.push(end)
      if (held() !== before) wrong.push(`${held() - before} bytes are kept`)
      if (i % 20 === 0 && Buffer.compare((await model.restore(input, references, QUICK)).data, expected) !== 0)
        wrong.push('disturbed')
    }
    const latencyMs = {
      p50: round(quantile(late, 0.5)),
      p99: round(quantile(late, 0.99)),
      max: round(Math.max(...late)),
    }
    return { count, finished, aborted: late.length, latencyMs, wrong, ok: wrong.length === 0 && latencyMs.p50 <= 50 }
  },

  /** Workers ended in the middle of a restore, in a process of their own. */
  async workers(folder) {
    const cycles = times(200)
    const { code, signal, stdout } = await child('workers', folder, ['--count', String(cycles)])
    return { cycles, code, signal, ...JSON.parse(stdout || '{}'), ok: code === 0 }
  },

  /** Processes that end at random times while they restore and write: no crash, no half file. */
  async kills(folder) {
    const random = generator(11)
    const out = fs.mkdtempSync(path.join(os.tmpdir(), 'iconface-kills-'))
    const file = path.join(out, 'face.png')
    const endings = {}
    const strays = { SIGKILL: 0, SIGTERM: 0, exit: 0 } // hidden files left; a kill leaves one only between link and rename
    let whole
    let partial = 0
    const count = times(100)
    for (let i = 0; i < count; i++) {
      const how = ['SIGKILL', 'SIGTERM', 'exit'][i % 3]
      const extra = ['--file', file, '--count', how === 'exit' ? String(1 + random(400)) : '0']
      const delay = random(400)
      const { code, signal } = await child('kills', folder, extra, async (running) => {
        await sleep(delay)
        if (how !== 'exit') running.kill(how)
      })
      const ending = `${how}: ${signal ?? code}`
      endings[ending] = (endings[ending] ?? 0) + 1
      for (const name of fs.readdirSync(out)) {
        if (name === 'face.png') continue
        strays[how]++
        fs.rmSync(path.join(out, name))
      }
      if (!fs.existsSync(file)) continue
      const bytes = fs.readFileSync(file)
      whole ??= bytes
      if (Buffer.compare(bytes, whole) !== 0) partial++
    }
    fs.rmSync(out, { recursive: true })
    const wanted = ['SIGKILL: SIGKILL', 'SIGTERM: SIGTERM', 'exit: 7']
    return {
      count,
      endings,
      partial,
      strays,
      ok: partial === 0 && strays.exit === 0 && Object.keys(endings).every((e) => wanted.includes(e)),
    }
  },

  /** Broken pictures through the decoding path: results or errors of ours. */
  async images() {
    const random = generator(13)
    const raw = { raw: { width: 24, height: 20, channels: 3 } }
    const pixels = Buffer.from(Array.from({ length: 24 * 20 * 3 }, () => random(256)))
    const seeds = []
    for (const format of ['jpeg', 'png', 'webp', 'tiff', 'gif', 'avif'])
      seeds.push(await sharp(pixels, raw)[format]().toBuffer())
    const count = times(100000)
    const codes = {}
    const before = rss()
    let next = 0
    const lane = async () => {
      while (next < count) {
        const seed = seeds[next++ % 50 === 0 ? 5 : random(5)] // AVIF is slow
        const bytes = Buffer.from(seed.subarray(0, random(8) === 0 ? 1 + random(seed.length) : seed.length))
        for (let changes = 1 + random(6); changes > 0; changes--)
          bytes[random(bytes.length)] = [0, 255, 127, random(256)][random(4)]
        const end = await decode(bytes).then(() => 'decoded', codeOf)
        codes[end] = (codes[end] ?? 0) + 1
      }
    }
    await Promise.all(Array.from({ length: 8 }, lane))
    const grown = rss() - before
    const known = ['decoded', 'ERR_ICONFACE_INVALID_IMAGE']
    return { count, codes, rssGrowthBytes: grown, ok: Object.keys(codes).every((c) => known.includes(c)) }
  },

  /** Pictures that are small to send and large to decode. */
  async bombs() {
    const flat = (width, height, channels = 3) =>
      sharp({ create: { width, height, channels, background: '#123' }, limitInputPixels: false })
    const bombs = {
      '30000 x 30000 png': await flat(30000, 30000, 3).png({ compressionLevel: 9 }).toBuffer(),
      '65535 x 1500 jpeg': await flat(65500, 1500).jpeg().toBuffer(),
      '1000000 x 1 png': await flat(1000000, 1).png().toBuffer(),
      '9900 x 10000 jpeg': await flat(9900, 10000).jpeg().toBuffer(),
      '16383 x 6000 webp': await flat(16383, 6000).webp().toBuffer(),
      'half a jpeg': (await flat(900, 900).jpeg().toBuffer()).subarray(0, 3000),
      'svg': Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="50000" height="50000"/>'),
    } // prettier-ignore
    const results = {}
    for (const [name, bytes] of Object.entries(bombs)) {
      const before = rss()
      fs.writeFileSync('/proc/self/clear_refs', '5') // the high-water mark starts anew
      const began = performance.now()
      const end = await decode(bytes).then(({ width, height }) => ({ decoded: width * height * 3 }), codeOf)
      const peak = highWater() - before
      results[name] = { sent: bytes.length, end, peakBytes: peak, ms: round(performance.now() - began, 1) }
    }
    const fits = ({ end, peakBytes }) => peakBytes <= (end.decoded ?? 0) + 200e6
    return { results, ok: Object.values(results).every(fits) }
  },

  /** The event loop and the file system during restores. */
  async loop(folder) {
    const model = await load(folder, { threads: 1 })
    const reading = async () => {
      const list = []
      for (let i = 0; i < times(200); i++) {
        const began = performance.now()
        await fs.promises.readFile(fileURLToPath(import.meta.url))
        list.push(performance.now() - began)
        await sleep(2)
      }
      return { p50: round(quantile(list, 0.5)), p99: round(quantile(list, 0.99)) }
    }
    const measured = async (work) => {
      const delay = monitorEventLoopDelay({ resolution: 1 })
      delay.enable()
      const readFileMs = await work()
      delay.disable()
      return {
        loopDelayMs: { p50: round(delay.percentile(50) / 1e6), p99: round(delay.percentile(99) / 1e6) },
        readFileMs,
      }
    }
    const idle = await measured(reading)
    const controller = new AbortController()
    const restoring = model
      .restore(input, references, { size: 256, steps: 1000, signal: controller.signal })
      .catch(codeOf)
    const busy = await measured(reading)
    controller.abort()
    await restoring
    return { idle, busy, loadAverage: os.loadavg()[0], ok: busy.loopDelayMs.p99 <= 10 }
  },

  /**
   * The estimate against the resident memory that a restore really takes. What is allocated equals the estimate to the
   * byte (test/robust/memory.test.ts); some of it is never touched and so never resident.
   */
  async peak(folder) {
    const { stdout } = await child('peak', folder)
    const jobs = JSON.parse(stdout)
    return { jobs, ok: jobs.every(({ ratio }) => ratio >= 0.8 && ratio <= 1.05) }
  },

  /** Every allocation of the core fails in turn. */
  async allocations(folder) {
    const addon = loadAddon()
    const failing = async (work) => {
      const before = held()
      for (let n = 1; ; n++) {
        addon.failAllocation(n)
        const [end, result] = await work().then((result) => ['done', result], (error) => [codeOf(error)])
        addon.failAllocation(0)
        if (end === 'done') return { allocations: n - 1, result }
        if (end !== 'ERR_ICONFACE_OUT_OF_MEMORY' || held() !== before) throw new Error(`allocation ${n}: ${end}, ${held() - before} bytes kept`)
      }
    } // prettier-ignore
    const load = await failing(() => IConFace.load(folder, { threads: 1 }))
    const restore = await failing(() => load.result.restore(input, references, QUICK))
    const embed = await failing(() => load.result.embed(input))
    await load.result.dispose()
    return { load: load.allocations, restore: restore.allocations, embed: embed.allocations, ok: held() === 0 }
  },
}

const decode = (bytes) => capturePictures([{ name: 'input', image: bytes }], 100e6)[0].read()
const highWater = () => 1024 * Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1])

// ---- children -------------------------------------------------------------------------------------------------------

const children = {
  async workers({ folder, count }) {
    const { Worker } = await import('node:worker_threads')
    const random = generator(17)
    const code = `
      const { workerData, parentPort } = require('node:worker_threads')
      const { IConFace, allocateImage } = require(workerData.dist)
      IConFace.load(workerData.folder, { threads: 2 }).then(async (model) => {
        for (;;) {
          parentPort.postMessage(0)
          await model.restore(allocateImage(8, 8), [], { steps: 1000, size: 32 })
        }
      })`
    let loading = 0
    let before
    for (let i = 0; i < Number(count); i++) {
      const worker = new Worker(code, { eval: true, workerData: { dist: dist('index.js'), folder } })
      const busy = new Promise((resolve) => worker.once('message', resolve))
      if (i % 4 === 0) loading++
      else await busy
      await sleep(random(60))
      await worker.terminate()
      if (i === 10) before = rss()
    }
    console.log(
      JSON.stringify({
        endedWhileLoading: loading,
        held: held(),
        threads: threads(),
        rssGrowthBytes: rss() - (before ?? rss()),
      }),
    )
    process.exitCode = held() === 0 ? 0 : 1
  },

  async kills({ folder, file, count }) {
    const model = await IConFace.load(folder, { threads: 2 })
    console.log('busy')
    if (count !== '0') setTimeout(() => process.exit(7), Number(count))
    for (;;) await (await model.restore(input, [], SMALLEST)).toFile(file)
  },

  async peak({ folder }) {
    const jobs = []
    for (const { count, ...job } of [
      { size: 512, count: 0 },
      { size: 512, count: 2 },
      { size: 768, count: 1, guidance: 1 },
    ]) {
      const model = await load(folder, { threads: 1 })
      const run = () => model.restore(input, references.slice(0, count), { ...job, steps: 1 })
      await run() // maps the weights, grows the heap
      const before = rss()
      fs.writeFileSync('/proc/self/clear_refs', '5')
      await run()
      const { workspace } = model.estimate({ references: count, ...job, steps: 1 })
      const expected = workspace + job.size ** 2 * 3 // and the result itself
      const measured = highWater() - before
      jobs.push({ references: count, ...job, estimate: expected, measured, ratio: round(measured / expected) })
    }
    console.log(JSON.stringify(jobs))
  },
}

// ---- main -----------------------------------------------------------------------------------------------------------

async function main() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'iconface-soak-'))
  process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }))
  await synthesizeCheckpoint('tiny', folder)
  const record = fs.existsSync(options.out) ? JSON.parse(fs.readFileSync(options.out, 'utf8')) : {}
  for (const name of options.what.split(',')) {
    if (!Object.hasOwn(parts, name)) throw new Error(`unknown part ${name}; there are ${Object.keys(parts).join(', ')}`)
    const began = performance.now()
    const result = await parts[name](folder)
    for (const model of models.splice(0)) await model.dispose()
    const { isa } = loadAddon().info()
    record[name] = { ...result, seconds: round((performance.now() - began) / 1000, 1), date: new Date().toISOString(), node: process.version, cpu: os.cpus()[0].model, isa } // prettier-ignore
    console.log(name, JSON.stringify(record[name], null, 2))
    fs.writeFileSync(options.out, `${JSON.stringify(record, null, 2)}\n`)
    if (!result.ok) process.exitCode = 1
  }
}

await (options.child ? children[options.child](options) : main())
