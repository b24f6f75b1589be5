/** Jobs, workers and processes that end at random times. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  child,
  codeOf,
  dist,
  generator,
  held,
  IConFace,
  input,
  lastLine,
  load,
  MiB,
  quantile,
  QUICK,
  references,
  round,
  rss,
  sameBytes,
  SANITIZED,
  SMALLEST,
  threads,
} from './tools.mjs'

const FOLDER_PREFIX = 'iconface-kills-'

export const parts = {
  aborts: {
    what: 'aborts at random times',
    say: (r) =>
      `${r.count} calls, ${r.aborted} aborted in time, ${r.wrong.length} wrong (memory kept, or the next restore not bit-equal); answered after ${r.latencyMs.p50} ms (median), ${r.latencyMs.p99} ms (p99)`,
    async run(folder, times) {
      const random = generator(7)
      const model = await load(folder, { threads: 2 })
      const job = { size: 64, steps: 4 }
      const expected = (await model.restore(input, references, QUICK)).data
      const began = performance.now()
      await model.restore(input, references, job)
      const whole = Math.ceil(performance.now() - began)
      const before = held()
      const count = times(1000)
      const late = []
      const wrong = []
      for (let i = 0; i < count; i++) {
        const controller = new AbortController()
        const outcome = model
          .restore(input, references, { ...job, signal: controller.signal })
          .then(() => 'done', codeOf)
        await sleep(random(whole)) // as long as the job takes, on any machine
        const asked = performance.now()
        controller.abort()
        const end = await outcome
        if (end === 'ERR_ICONFACE_ABORTED') late.push(performance.now() - asked)
        else if (end !== 'done') wrong.push(end)
        if (held() !== before) wrong.push(`${held() - before} bytes are kept`)
        if (!sameBytes((await model.restore(input, references, QUICK)).data, expected)) wrong.push('disturbed')
      }
      const at = (q) => round(quantile(late, q) ?? 0)
      const latencyMs = { p50: at(0.5), p99: at(0.99), max: at(1) }
      return {
        count,
        aborted: late.length,
        latencyMs,
        wrong,
        ok: wrong.length === 0 && (count < 100 || late.length > count / 4),
      }
    },
  },

  workers: {
    what: 'workers terminated during a restore, a quarter of them while loading',
    say: (r) =>
      `${r.cycles} terminated; process ended with ${r.signal ?? r.code}, core holds ${r.held} bytes, ${r.threads} threads, resident ${MiB(r.rssGrowthBytes)} more than after ten`,
    async run(folder, times) {
      const cycles = times(200)
      const { code, signal, stdout } = await child('workers', folder, ['--count', String(cycles)])
      return { cycles, code, signal, ...lastLine(stdout), ok: code === 0 }
    },
  },

  kills: {
    what: 'processes killed (SIGKILL) while they restore and write',
    say: (r) =>
      `${r.count} killed: ${JSON.stringify(r.endings)}; ${r.written} files written, ${r.partial} partial, ${Object.values(r.strays).reduce((sum, n) => sum + n, 0)} stray`,
    run: (folder, times) => killMany(folder, times(100), ['SIGKILL']),
  },

  ends: {
    what: 'processes ended by SIGTERM or process.exit while they restore and replace a file',
    say: (r) =>
      `${r.count} ended: ${JSON.stringify(r.endings)}; ${r.partial} partial, ${Object.values(r.strays).reduce((sum, n) => sum + n, 0)} stray`,
    run: (folder, times) => killMany(folder, times(100), ['exit', 'SIGTERM']),
  },
}

/**
 * Ends `count` processes at random times, in these ways by turns. A killed one writes to new names, others replace one
 * file.
 */
async function killMany(folder, count, ways) {
  const random = generator(11)
  const out = fs.mkdtempSync(path.join(os.tmpdir(), FOLDER_PREFIX))
  const endings = {}
  const strays = {}
  const written = new Set()
  let whole
  let partial = 0
  for (let i = 0; i < count; i++) {
    const how = ways[i % ways.length]
    const file = path.join(out, how === 'SIGKILL' ? `face-${i}-#.png` : 'face.png')
    const extra = ['--file', file, '--count', how === 'exit' ? String(1 + random(400)) : '0']
    const delay = random(400)
    const whenBusy = async (running) => {
      await sleep(delay)
      if (how !== 'exit') running.kill(how)
    }
    const { code, signal } = await child('kills', folder, extra, { whenBusy })
    const ending = `${how}: ${signal ?? code}`
    endings[ending] = (endings[ending] ?? 0) + 1
    for (const name of fs.readdirSync(out)) {
      const found = path.join(out, name)
      if (name.startsWith('.')) {
        strays[how] = (strays[how] ?? 0) + 1
        fs.rmSync(found)
        continue
      }
      const bytes = fs.readFileSync(found)
      whole ??= bytes
      if (!sameBytes(bytes, whole)) partial++
      written.add(name)
    }
  }
  fs.rmSync(out, { recursive: true })
  const wanted = { 'SIGKILL: SIGKILL': 1, 'SIGTERM: SIGTERM': 1, 'exit: 7': 1 }
  const right = Object.keys(endings).every((ending) => ending in wanted)
  // Replacing needs a name for a moment: a signal between link and rename leaves that hidden one.
  const left = (strays.SIGKILL ?? 0) + (strays.exit ?? 0)
  return { count, endings, written: written.size, partial, strays, ok: right && partial === 0 && left === 0 }
}

export const children = {
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
    let before
    for (let i = 0; i < Number(count); i++) {
      const worker = new Worker(code, { eval: true, workerData: { dist: dist('index.js'), folder } })
      const busy = new Promise((resolve) => worker.once('message', resolve))
      if (i % 4 !== 0) await busy
      await sleep(random(60))
      await worker.terminate()
      if (i === 10) before = rss()
    }
    const after = rss()
    console.log(JSON.stringify({ held: held(), threads: threads(), rssGrowthBytes: after - (before ?? after) }))
    process.exitCode = held() === 0 ? 0 : 1
  },

  async kills({ folder, file, count }) {
    const model = await IConFace.load(folder, { threads: 2 })
    console.log('busy')
    if (count !== '0') setTimeout(() => process.exit(7), Number(count))
    for (let i = 0; ; i++) await (await model.restore(input, [], SMALLEST)).toFile(file.replace('#', String(i)))
  },
}
