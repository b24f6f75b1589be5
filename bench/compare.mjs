// Our networks against PyTorch's, turn by turn: node bench/compare.mjs [--rounds 3] [--precision bf16] [--case forward]
// [--json file]. A turn in which other processes used the CPU counts only if no quieter one comes (README.md).
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { writeWhole } from '../dist/formats/whole-file.js'

const BENCH = dirname(fileURLToPath(import.meta.url))
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    precision: { type: 'string', multiple: true, default: ['bf16', 'f32'] },
    case: { type: 'string', multiple: true, default: ['forward', 'vae', 'face'] },
    threads: { type: 'string', default: '2' },
    patience: { type: 'string', default: '0' },
    python: { type: 'string', default: '/usr/bin/python3' },
    json: { type: 'string' },
  },
})

/** Names of `iconface bench`, and the program of bench/rivals that does the same. */
const CASES = {
  forward: { ours: ['forward'], theirs: 'pytorch_forward.py', repeat: 2 },
  vae: { ours: ['encode', 'decode'], theirs: 'pytorch_vae.py', repeat: 2 },
  face: { ours: ['face_embedding'], theirs: 'pytorch_ir50.py', repeat: 20 },
}
const scratch = mkdtempSync(join(tmpdir(), 'iconface-compare-'))
// Some images export settings that halve OpenBLAS.
const { OPENBLAS_CORETYPE: _, OPENBLAS_L2_SIZE: __, ...environment } = process.env

function ours(names, precision) {
  const file = join(scratch, 'ours.json')
  const options = ['--precision', precision, '--threads', values.threads, '--patience', values.patience, '--json', file]
  execFileSync(process.execPath, [join(BENCH, '../dist/cli/main.js'), 'bench', ...names, ...options], {
    stdio: 'ignore',
  })
  return JSON.parse(readFileSync(file, 'utf8')).rows.map((row) => ({ ...row, program: 'iconface' }))
}

function theirs(program, precision, repeat) {
  const options = [
    '--precision',
    precision,
    '--threads',
    values.threads,
    '--repeat',
    String(repeat),
    '--patience',
    values.patience,
  ]
  const text = execFileSync(values.python, [join(BENCH, 'rivals', program), ...options], { env: environment })
  const lines = String(text)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  return lines.map(({ case: name, seconds, ...rest }) => ({ name, median: middle(seconds), ...rest }))
}

const middle = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]

/** The quieter half of all turns of one program and case, at least one. */
function summary(turns) {
  const quiet = [...turns].sort((a, b) => a.others - b.others).slice(0, Math.ceil(turns.length / 2))
  const { name, precision, program } = turns[0]
  const of = (field) => middle(quiet.map((turn) => turn[field]))
  const facts = { program, name, precision, threads: Number(values.threads), turns: quiet.length }
  return { ...facts, median: of('median'), alone: of('alone'), others: Math.max(...quiet.map((turn) => turn.others)) }
}

const results = []
for (const name of values.case) {
  const { ours: names, theirs: program, repeat } = CASES[name]
  for (const precision of name === 'face' ? ['f32'] : values.precision) {
    const turns = new Map()
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const turn of [...ours(names, precision), ...theirs(program, precision, repeat)]) {
        const key = `${turn.name} ${turn.program}`
        turns.set(key, [...(turns.get(key) ?? []), turn])
        process.stderr.write(`${key} ${precision}: ${text(turn)}\n`)
      }
    }
    results.push(...[...turns.values()].map(summary))
    if (values.json) await writeWhole(values.json, Buffer.from(`${JSON.stringify(results, null, 2)}\n`))
  }
}
rmSync(scratch, { recursive: true, force: true })
for (const result of results) {
  const rival = results.find(
    (r) => r.program !== result.program && r.name === result.name && r.precision === result.precision,
  )
  const ratio = (field) => (rival[field] / result[field]).toFixed(2)
  const note =
    result.program === 'iconface' ? `; ${ratio('median')} times as fast as PyTorch, ${ratio('alone')} alone` : ''
  console.log(`${result.name} ${result.precision} ${result.program}: ${text(result)}${note}`)
}

function text({ median, alone, others }) {
  return `${median.toFixed(3)} s, alone ${alone.toFixed(3)} s, others ${(100 * others).toFixed(0)} %`
}
