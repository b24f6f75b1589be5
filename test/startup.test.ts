// Parts that are missing cost what needs them and nothing else: the package loads, commands explain themselves, and
// doctor says what is missing and what to do.
import t from 'tap'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { scratchFolder } from './fixtures/fake'
import { COMMAND_LINES, outcomes } from './fixtures/installed'

const ROOT = join(__dirname, '..')
const MAIN = join(ROOT, 'dist', 'cli', 'main.js')
const HOOK = join(__dirname, 'fixtures', 'hide.cjs')
const scratch = scratchFolder()

interface Missing {
  what: string
  /** For Node. */
  flags: string[]
  env?: NodeJS.ProcessEnv
  /** Parts that doctor reports, with the beginning of what it says of each, and what to do. */
  reported: Record<string, RegExp>
}

const hidden = (what: string, pattern: string, reported: Missing['reported']): Missing => ({
  what,
  flags: ['--require', HOOK],
  env: { HIDE: pattern },
  reported,
})
const install = (name: string) =>
  new RegExp(`^ERR_ICONFACE_DEPENDENCY_UNAVAILABLE: cannot load ${name}, .*npm install ${name}"$`)

const cases: Missing[] = [
  hidden("sharp's part for this platform", '^@img/', {
    sharp: /^ERR_ICONFACE_DEPENDENCY_UNAVAILABLE: cannot load sharp, .*--omit=optional.*--os=\w+ --cpu=\w+ sharp$/,
  }),
  hidden('sharp', '^sharp$', { sharp: install('sharp') }),
  hidden('@huggingface/tokenizers', '^@huggingface/tokenizers$', {
    '@huggingface/tokenizers': install('@huggingface/tokenizers'),
  }),
  hidden('@huggingface/hub', '^@huggingface/hub$', { '@huggingface/hub': install('@huggingface/hub') }),
  hidden('undici', '^undici$', { undici: install('undici') }),
  hidden('node-gyp-build', '^node-gyp-build$', {
    'node-gyp-build': install('node-gyp-build'),
    addon: install('node-gyp-build'),
  }),
  {
    what: 'addons, which Node does not load',
    flags: ['--no-addons'],
    reported: {
      addon: /^ERR_ICONFACE_UNSUPPORTED: cannot load .*\. Start Node without --no-addons$/,
      sharp: /^ERR_ICONFACE_DEPENDENCY_UNAVAILABLE: .*start it without --no-addons$/,
    },
  },
  {
    what: 'the addon',
    flags: [],
    env: { ICONFACE_BINARY: join(scratch, 'none.node') },
    reported: { addon: /^ERR_ICONFACE_ADDON_NOT_FOUND: ICONFACE_BINARY names .*none\.node/ },
  },
  {
    what: 'the model',
    flags: [],
    env: { ICONFACE_MODEL: join(scratch, 'none') },
    reported: { model: /^ERR_ICONFACE_FILE_NOT_FOUND: / },
  },
]

/** Runs Node without some part. */
function node({ flags, env }: Missing, ...args: string[]) {
  const { ICONFACE_BINARY: _, ICONFACE_MODEL: __, ...inherited } = process.env
  const child = spawn(process.execPath, [...flags, ...args], { cwd: scratch, env: { ...inherited, ...env } })
  const ending = { code: null as number | null, out: '', err: '' }
  child.stdout.on('data', (text) => (ending.out += String(text)))
  child.stderr.on('data', (text) => (ending.err += String(text)))
  return new Promise<typeof ending>((resolve) => child.on('close', (code) => resolve({ ...ending, code })))
}

for (const one of cases) {
  t.test(`without ${one.what}: doctor names what is missing`, async (t) => {
    const { code, out, err } = await node(one, MAIN, 'doctor', '--json')
    t.equal(code, 1)
    t.equal(err, '')
    const { ok, addon, dependencies, model } = JSON.parse(out) as {
      ok: boolean
      addon: { error: string | null }
      model: { error: string | null }
      dependencies: Record<string, { error: string | null }>
    }
    t.equal(ok, false)
    const parts = Object.entries({ ...dependencies, addon, model })
    const missing = parts.filter(([, { error }]) => error !== null)
    t.same(missing.map(([name]) => name).sort(), Object.keys(one.reported).sort())
    for (const [name, { error }] of missing) t.match(error, one.reported[name]!, name)
    if (one !== cases[0]) return
    const text = await node(one, MAIN, 'doctor')
    t.match(text, { code: 1, err: '' })
    for (const [, { error }] of missing) t.ok(text.out.includes(error!), error!)
  })
}

const nothing: Missing = {
  what: 'anything',
  flags: ['--no-addons', '--require', HOOK],
  env: { HIDE: '^(sharp|undici|node-gyp-build|@huggingface/.*)$' },
  reported: {},
}

t.test('without anything: the package loads', async (t) => {
  const program = `
    const { exports } = require(${JSON.stringify(join(ROOT, 'package.json'))})
    for (const { default: file } of Object.values(exports)) {
      if (file) require(require('node:path').join(${JSON.stringify(ROOT)}, file))
    }`
  const { code, err } = await node(nothing, '-e', program)
  t.match({ code, err }, { code: 0, err: '' })
})

t.test('without anything: commands that compute nothing work', async (t) => {
  const help = await node(nothing, MAIN, '--help')
  t.match(help, { code: 0, err: '', out: /Usage: iconface <command>/ })
  const commands = [...help.out.matchAll(/^ {2}(\w+) /gm)].map(([, name]) => name!)
  t.ok(commands.length >= 10)
  const each = await node(nothing, COMMAND_LINES, JSON.stringify(commands.map((name) => [name, '--help'])))
  t.equal(outcomes(each).length, commands.length)
  for (const [i, own] of outcomes(each).entries())
    t.match(own, { code: 0, err: '', out: new RegExp(`^Usage: iconface ${commands[i]}`) }, commands[i]!)
  t.match(await node(nothing, MAIN, '--version'), { code: 0, err: '', out: /^\d+\.\d+\.\d+/ })
  t.match(await node(nothing, MAIN, 'inspect'), { code: 0, err: '', out: /no problems/ })
  t.match(await node(nothing, MAIN, 'synthesize', '--out', 'made'), { code: 0, out: /random weights/ })
  t.match(await node(nothing, MAIN, 'inspect', 'made', '--json'), { code: 0, err: '' })
})

t.test('without anything: commands that need a part say which, in one line', async (t) => {
  const photo = join(ROOT, 'docs', 'demo.png')
  const runs = {
    restore: ['restore', photo, '-o', 'out.png'],
    degrade: ['degrade', photo, '-o', 'out.png', '--strength', '4'],
    demo: ['demo', '--out', '.'],
    bench: ['bench', 'flow_step', '--quick'],
  }
  for (const [name, args] of Object.entries(runs)) {
    const { code, err } = await node(nothing, MAIN, ...args)
    t.equal(code, 1, name)
    t.match(err, /^iconface: ERR_ICONFACE_(DEPENDENCY_UNAVAILABLE|UNSUPPORTED): cannot load [^\n]+\n$/, name)
  }
})
