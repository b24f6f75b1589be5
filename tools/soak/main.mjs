// What must hold after thousands of calls, aborts, ends and broken files, and for an hour of all of them.
//   npm run soak                                          everything; takes some hours
//   npm run soak -- --what restores,kills --scale 0.1     two parts, a tenth as long
//   npm run soak -- --summary                             the table of what was recorded last
// Every part adds a line of JSON to --out (bench/results/soak.jsonl). Needs dist/ and a built addon; works in a temporary
// folder. `scripts/sanitize.sh soak --what aborts` does the same under AddressSanitizer.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import * as faults from './faults.mjs'
import * as files from './files.mjs'
import * as jobs from './jobs.mjs'
import * as life from './life.mjs'
import * as memory from './memory.mjs'
import { disposeModels, dist, loadAddon, require, ROOT, round, SANITIZED } from './tools.mjs'

const groups = [memory, faults, life, files, jobs]
const parts = Object.assign({}, ...groups.map((group) => group.parts))
const children = Object.assign({}, ...groups.map((group) => group.children))

const { values: options } = parseArgs({
  options: {
    what: { type: 'string', default: Object.keys(parts).join() },
    scale: { type: 'string', default: '1' },
    out: { type: 'string', default: path.join(ROOT, 'bench', 'results', 'soak.jsonl') },
    summary: { type: 'boolean', default: false },
    child: { type: 'string' }, // this program as a child of itself, and what it is told
    folder: { type: 'string' },
    file: { type: 'string' },
    count: { type: 'string' },
  },
})

/** The machine and the source that a record is about. */
function circumstances() {
  const git = (...args) => {
    try {
      return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    } catch {
      return null
    }
  }
  const cpu = `${os.cpus()[0].model}, ${os.cpus().length} cores`
  return {
    date: new Date().toISOString(),
    node: process.version,
    cpu,
    isa: loadAddon().info().isa,
    commit: git('rev-parse', '--short', 'HEAD'),
    ...(SANITIZED ? { sanitized: true } : {}),
  }
}

async function run(names, scale) {
  const { synthesizeCheckpoint } = require(dist('prepare/synthesize.js'))
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'iconface-soak-'))
  process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }))
  await synthesizeCheckpoint('tiny', folder)
  const times = (n) => Math.max(1, Math.round(n * scale))
  for (const part of names) {
    const began = performance.now()
    const result = await parts[part].run(folder, times)
    await disposeModels()
    const record = { part, scale, ...result, seconds: round((performance.now() - began) / 1000, 1), ...circumstances() }
    fs.appendFileSync(options.out, `${JSON.stringify(record)}\n`)
    console.log(`${result.ok ? 'held' : 'FAILED'}  ${part}: ${parts[part].say(record)}`)
    if (!result.ok) process.exitCode = 1
  }
}

/** Markdown: the last record of every part, with and without sanitizers. */
function summary() {
  const last = new Map()
  for (const line of fs.readFileSync(options.out, 'utf8').split('\n').filter(Boolean)) {
    const record = JSON.parse(line)
    last.set(`${record.part} ${record.sanitized ? 'under ASan' : ''}`.trim(), record)
  }
  const row = (list) => console.log(`| ${list.join(' | ')} |`)
  row(['part', 'what', 'figures', 'held', 'seconds', 'date', 'commit'])
  row(Array(7).fill('---'))
  for (const [name, r] of last)
    row([
      name,
      parts[r.part].what,
      parts[r.part].say(r),
      r.ok ? 'yes' : '**no**',
      r.seconds,
      r.date.slice(0, 10),
      r.commit,
    ])
}

const scale = Number(options.scale)
const names = options.what.split(',')
const unknown = names.filter((name) => !Object.hasOwn(parts, name))
if (options.child) await children[options.child](options)
else if (options.summary) summary()
else if (!(scale > 0) || unknown.length > 0) {
  console.error(`--scale is a positive number; --what is of ${Object.keys(parts).join()}, not ${unknown.join()}`)
  process.exitCode = 2
} else await run(names, scale)
