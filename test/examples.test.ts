// The programs of examples/, run as their heads say, in a folder of their own against the built package.
import t from 'tap'
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import sharp from 'sharp'
import { full } from './fixtures/tier'

const ROOT = resolve(__dirname, '..')
const EXAMPLES = join(ROOT, 'examples')
const TINY = join(ROOT, 'models', 'tiny')

interface Example {
  args: string[]
  /** The pictures that it writes, with width and height. */
  made: Record<string, [width: number, height: number]>
  /** What it prints. */
  says?: RegExp
  /** It draws so much that the full tier alone runs it. */
  slow?: true
}

/** In this order: the first one draws what the second one restores. */
const RUNS: Record<string, Example> = {
  'portrait.mjs': {
    args: ['drawn'],
    made: {
      'drawn/truth.png': [128, 128],
      'drawn/degraded.png': [128, 128],
      'drawn/reference-1.png': [128, 128],
      'drawn/reference-2.png': [128, 128],
    },
  },
  'restore.mjs': {
    args: [TINY, 'drawn/degraded.png', 'drawn/reference-1.png', 'drawn/reference-2.png'],
    made: { 'restored.png': [128, 128] },
    says: /^sample \d+\/\d+.*\n[^]*^seed 42 identity references 0\.\d+ -> 0\.\d+$/m,
  },
  'degradations.mjs': {
    args: ['degradations.png', '6'],
    made: { 'degradations.png': [6 * 260 - 4, 2 * 260 - 4] },
    says: /^degradations\.png$/m,
    slow: true,
  },
  'portraits.mjs': {
    args: ['portraits.png', '3'],
    made: { 'portraits.png': [6 + 6 * 262, 6 + 6 * 262] },
    slow: true,
  },
}

const run = (name: string, args: readonly string[], cwd: string) =>
  spawnSync(process.execPath, [join(EXAMPLES, name), ...args], { cwd, encoding: 'utf8' })

const unrun = (names: readonly string[]) => names.filter((name) => !(name in RUNS))

t.test('every example runs and writes its pictures', async (t) => {
  const folder = t.testdir({})
  t.same(unrun(readdirSync(EXAMPLES)), [], 'all of them are run')
  for (const [name, { args, made, says = /^/, slow }] of Object.entries(RUNS)) {
    if (slow && !full) continue
    const { status, stdout, stderr } = run(name, args, folder)
    t.equal(status, 0, `${name}: ${stderr}`)
    t.match(stdout, says, name)
    for (const [file, size] of Object.entries(made)) {
      const { width, height } = await sharp(join(folder, file)).metadata()
      t.same([width, height], size, `${name}: ${file}`)
      const { channels } = await sharp(join(folder, file)).stats()
      t.ok(
        channels.some(({ stdev }) => stdev > 10),
        `${name}: ${file} shows something`,
      )
    }
  }
})

t.test('examples that need an argument say so', async (t) => {
  const folder = t.testdir({})
  for (const name of ['restore.mjs', 'portraits.mjs']) {
    const { status, stderr } = run(name, [], folder)
    t.not(status, 0)
    t.match(stderr, `usage: node examples/${name} `)
  }
})

t.test('an example that nobody runs, and one that fails, are noticed', async (t) => {
  t.same(unrun(['portrait.mjs', 'surprise.mjs']), ['surprise.mjs'])
  t.not(run('restore.mjs', [TINY, 'none.png'], t.testdir({})).status, 0)
})
