/**
 * One model under an hour of valid, invalid and aborted jobs, as a server would see them; and what others feel of it.
 */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import {
  allocateImage,
  child,
  codeOf,
  dist,
  generator,
  handles,
  held,
  IConFace,
  lastLine,
  load,
  MiB,
  picture,
  quantile,
  QUICK,
  require,
  ROOT,
  round,
  rss,
  SANITIZED,
  SMALLEST,
  threads,
} from './tools.mjs'

const LANES = 6
const ROUND = 120 // jobs after which everything is still for a moment, and measured

export const parts = {
  jobs: {
    what: 'valid, invalid and aborted jobs, six at a time, for an hour',
    say: (r) =>
      `${r.minutes} minutes, ${r.jobs} jobs (${Object.entries(r.kinds ?? {})
        .map(([kind, n]) => `${n} ${kind}`)
        .join(
          ', ',
        )}), ${r.wrong?.length} wrong; ended with ${r.signal ?? r.code}; resident ${MiB(r.rss?.second ?? 0)} in the second fifth, ${MiB(r.rss?.last ?? 0)} in the last, ${r.changePercent} %; ${r.threads} threads, ${r.handles} open files`,
    async run(folder, times) {
      const seconds = times(3600)
      // glibc keeps an arena of freed memory for nearly every thread, and threads of libuv and sharp come and go: resident
      // memory then says how those arenas are cut up. With a single arena it says what is still in use.
      const env = { MALLOC_ARENA_MAX: '1' }
      const { code, signal, stdout } = await child('jobs', folder, ['--count', String(seconds)], { env })
      return { code, signal, ok: false, ...lastLine(stdout), ...(code === 0 ? {} : { ok: false }) }
    },
  },

  loop: {
    what: "the event loop and the file system's latency during a restore",
    say: (r) =>
      `event loop p99 ${r.busy.loopDelayMs.p99} ms (idle ${r.idle.loopDelayMs.p99}), fs.readFile p50 ${r.busy.readFileMs.p50} ms (idle ${r.idle.readFileMs.p50}), p99 ${r.busy.readFileMs.p99} (${r.idle.readFileMs.p99}); load average ${r.loadAverage}`,
    async run(folder, times) {
      const model = await load(folder, { threads: 1 })
      const reading = async () => {
        const list = []
        for (let i = 0; i < times(500); i++) {
          const began = performance.now()
          await fs.promises.readFile(path.join(ROOT, 'package.json'))
          list.push(performance.now() - began)
          await sleep(2)
        }
        return { p50: round(quantile(list, 0.5)), p99: round(quantile(list, 0.99)) }
      }
      const measured = async () => {
        const delay = monitorEventLoopDelay({ resolution: 1 })
        delay.enable()
        const readFileMs = await reading()
        delay.disable()
        const at = (percent) => round(delay.percentile(percent) / 1e6)
        return { loopDelayMs: { p50: at(50), p99: at(99), max: round(delay.max / 1e6) }, readFileMs }
      }
      const idle = await measured()
      const controller = new AbortController()
      const job = { size: 256, steps: 1000, signal: controller.signal }
      const restoring = model.restore(picture(1), [picture(2)], job).catch(codeOf)
      const busy = await measured()
      controller.abort()
      const end = await restoring
      return { idle, busy, loadAverage: round(os.loadavg()[0], 1), ok: end === 'ERR_ICONFACE_ABORTED' }
    },
  },
}

const digest = (data) => createHash('sha1').update(data).digest('hex')

/** Pictures of every kind, right ones and wrong ones with the codes they must end with. */
async function material(folder) {
  const sharp = require('sharp')
  const { data, width, height } = picture(5, 90)
  const image = () => sharp(Buffer.from(data), { raw: { width, height, channels: 3 } })
  const jpeg = await image().jpeg().toBuffer()
  const png = await image().png().toBuffer()
  const file = path.join(folder, 'soak-input.jpg')
  fs.writeFileSync(file, jpeg)
  const right = [
    picture(1),
    { data: new Uint8Array(data), width, height, channels: 3 },
    jpeg,
    png,
    await image().webp().toBuffer(),
    await image().resize(301, 77).tiff().toBuffer(),
    file,
  ]
  const IMAGE = 'ERR_ICONFACE_INVALID_IMAGE'
  const ARGUMENT = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const detached = new Uint8Array(12)
  structuredClone(detached.buffer, { transfer: [detached.buffer] })
  const flat = { create: { width: 12_000, height: 10_000, channels: 3, background: '#123' } }
  const bomb = await sharp(flat).png().toBuffer()
  const wrong = [
    [[jpeg.subarray(0, 300)], IMAGE],
    [[png.subarray(0, png.length >> 1)], IMAGE],
    [[Buffer.from('no picture at all')], IMAGE],
    [[Buffer.alloc(0)], IMAGE],
    [[bomb], IMAGE],
    [['/nowhere/face.png'], 'ERR_ICONFACE_FILE_NOT_FOUND'],
    [[{ data: detached, width: 2, height: 2, channels: 3 }], ARGUMENT],
    [[{ data: new Uint8Array(11), width: 2, height: 2, channels: 3 }], ARGUMENT],
    [[null], ARGUMENT],
    [[42], ARGUMENT],
    [[right[0], [right[1], null]], ARGUMENT],
    [[right[0], Array(9).fill(right[0])], ARGUMENT],
    [[right[0], [], { steps: 0 }], ARGUMENT],
    [[right[0], [], { size: 17 }], ARGUMENT],
    [[right[0], [], { guidance: NaN }], ARGUMENT],
    [[right[0], [], { seed: -1 }], ARGUMENT],
    [[right[0], [], { stepps: 2 }], ARGUMENT],
    [[right[0], [], { prompt: 'a face' }], 'ERR_ICONFACE_UNSUPPORTED'],
  ]
  return { right, wrong }
}

/** Restores with different pictures, references and options, each with the digest of its result. */
async function validJobs(model, right) {
  const jobs = []
  for (const [i, picture] of right.entries()) {
    const references = right.slice(i, i + (i % 4))
    const options = [QUICK, SMALLEST, { ...QUICK, guidance: 1, seed: i }, { steps: 1, size: 48 }][i % 4]
    const { data } = await model.restore(picture, references, options)
    jobs.push({ arguments: [picture, references, options], expected: digest(data) })
  }
  return jobs
}

export const children = {
  async jobs({ folder, count }) {
    const random = generator(23)
    const pick = (list) => list[random(list.length)]
    const model = await load(folder, { threads: 2 })
    const { right, wrong: mistakes } = await material(folder)
    const valid = await validJobs(model, right)
    const out = fs.mkdtempSync(path.join(os.tmpdir(), 'iconface-jobs-'))
    const kinds = {}
    const wrong = []
    const note = (kind, ok, found) => {
      kinds[kind] = (kinds[kind] ?? 0) + 1
      if (!ok && wrong.push(`${kind}: ${found}`) > 20) throw new Error(wrong.join('\n'))
    }
    const restore = ({ arguments: [picture, references, options] }, more = {}, m = model) =>
      m.restore(picture, references, { ...options, ...more })
    const whole = await (async (began) => (await restore(valid[0]), Math.ceil(performance.now() - began)))(
      performance.now(),
    )

    const actions = {
      async valid() {
        const job = pick(valid)
        const end = await restore(job).then(({ data }) => digest(data), codeOf)
        note('valid', end === job.expected, end)
      },
      async invalid() {
        const [list, code] = pick(mistakes)
        const end = await model.restore(...list).then(() => 'done', codeOf)
        note('invalid', end === code, `${end}, not ${code}`)
      },
      async aborted() {
        const job = pick(valid)
        const controller = new AbortController()
        setTimeout(() => controller.abort(), random(LANES * whole))
        const end = await restore(job, { signal: controller.signal }).then(({ data }) => digest(data), codeOf)
        note('aborted', end === 'ERR_ICONFACE_ABORTED' || end === job.expected, end)
      },
      async failing() {
        const at = random(6)
        let reports = 0
        const onProgress = () => {
          if (reports++ === at) throw new RangeError('mine')
        }
        const end = await restore(pick(valid), { onProgress }).then(() => 'done', String)
        note('callback threw', end === (reports > at ? 'RangeError: mine' : 'done'), end)
      },
      async embedding() {
        const end = await model.embed(pick(right)).then(({ norm }) => Number.isFinite(norm), codeOf)
        note('embed', end === true, end)
      },
      async written() {
        const file = path.join(out, `${random(4)}.${pick(['png', 'jpg', 'webp'])}`)
        const end = await restore(pick(valid))
          .then((face) => face.toFile(file))
          .then(() => 'done', codeOf)
        note('written', end === 'done' && fs.statSync(file).size > 0, end)
      },
      async crowded() {
        const small = await IConFace.load(folder, { threads: 1, maxQueue: 2 })
        const ends = Array.from({ length: 5 }, () => restore(valid[1], {}, small).then(() => 'done', codeOf))
        const refused = (await Promise.all(ends)).filter((end) => end === 'ERR_ICONFACE_QUEUE_FULL').length
        await small.dispose()
        note('queue full', refused === 2, refused)
      },
      async disposed() {
        const other = await IConFace.load(folder, { threads: 1 })
        const end = restore(pick(valid), {}, other).then(() => 'done', codeOf)
        await sleep(random(whole))
        await other.dispose()
        const found = await end
        note('disposed', found === 'done' || found === 'ERR_ICONFACE_DISPOSED', found)
      },
      async worker() {
        const code = `
          const { workerData } = require('node:worker_threads')
          const { IConFace, allocateImage } = require(workerData.dist)
          IConFace.load(workerData.folder, { threads: 1 }).then((model) => model.restore(allocateImage(8, 8), [], { steps: 1000, size: 32 }))`
        const worker = new Worker(code, { eval: true, workerData: { dist: dist('index.js'), folder } })
        const failed = new Promise((resolve) => worker.once('error', resolve).once('exit', () => resolve()))
        await sleep(random(400))
        await worker.terminate()
        const error = await failed
        note('worker terminated', error === undefined, error)
      },
    }
    const weights = {
      valid: 34,
      invalid: 26,
      aborted: 22,
      failing: 5,
      embedding: 5,
      written: 5,
      crowded: 1,
      disposed: 1,
      worker: 1,
    }
    const lottery = Object.entries(weights).flatMap(([name, n]) => Array(n).fill(name))

    const end = Date.now() + 1000 * Number(count)
    const sizes = []
    const began = Date.now()
    const counts = [] // threads
    let jobs = 0
    let still
    while (Date.now() < end) {
      let left = ROUND
      const lane = async () => {
        while (left-- > 0) {
          jobs++
          await actions[pick(lottery)]()
        }
      }
      await Promise.all(Array.from({ length: LANES }, lane))
      sizes.push(rss())
      counts.push(threads())
      if (sizes.length === 3) still = held()
      if (still !== undefined && held() !== still) wrong.push(`the core holds ${held() - still} bytes more`)
    }
    fs.rmSync(out, { recursive: true })
    const part = (list, from, to) => list.slice(Math.floor(from * list.length), Math.ceil(to * list.length))
    const [second, last] = [quantile(part(sizes, 0.2, 0.4), 0.5), quantile(part(sizes, 0.8, 1), 0.5)]
    // libvips starts and ends threads as it needs them, so no single round says anything.
    const most = Math.max(...part(counts, 0, 0.4))
    if (Math.min(...part(counts, 0.8, 1)) > most) wrong.push(`more than ${most} threads throughout the last fifth`)
    const changePercent = round((100 * (last - second)) / second, 2)
    const flat = SANITIZED || sizes.length < 50 || changePercent <= 3
    const result = {
      minutes: round((Date.now() - began) / 60_000, 1),
      jobs,
      rounds: sizes.length,
      kinds,
      wrong,
      rss: { first: sizes[0], second, last },
      changePercent,
      threads: threads(),
      handles: handles(),
      ok: wrong.length === 0 && flat,
    }
    await model.dispose()
    if (held() !== 0) Object.assign(result, { ok: false, heldAtEnd: held() })
    console.log(JSON.stringify(result))
  },
}
