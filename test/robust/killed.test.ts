// Every file that this package writes, and a process that ends just before the file gets its name: nothing is left.
import t from 'tap'
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { DIST } from '../fixtures/child'
import { scratch, tinyModel } from '../fixtures/tiny'
import { withoutUnnamed } from '../fixtures/unnamed'

const END = join(__dirname, '..', 'fixtures', 'end-at-sync.cjs')
const MAIN = join(DIST, 'cli', 'main.js')
const skip = withoutUnnamed(scratch)
const photo = join(scratch, 'photo.png')
let model: string

t.before(async () => {
  model = await tinyModel()
  const background = { r: 90, g: 120, b: 150 }
  await sharp({ create: { width: 48, height: 48, channels: 3, background } }).toFile(photo)
})

/** How a program ends that is ended at its `at`-th file, in the folder `cwd`. */
function end(how: string, cwd: string, args: string[], at = 1, env: NodeJS.ProcessEnv = {}) {
  const set = { ...process.env, END_HOW: how, END_AT: String(at), ...env }
  const child = spawn(process.execPath, ['--require', END, ...args], { cwd, env: set })
  let err = ''
  child.stderr.on('data', (chunk) => (err += String(chunk)))
  child.stdout.resume()
  return new Promise<{ ending: string | number | null; err: string }>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ ending: signal ?? code, err }))
  })
}

const files = (folder: string) =>
  fs.readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((e) => (e.isFile() ? [e.name] : []))

const emptyFolder = () => fs.mkdtempSync(join(scratch, 'killed-'))

const TO_FILE = `
  const { Restoration } = require(${JSON.stringify(join(DIST, 'restoration.js'))})
  new Restoration({ data: new Uint8Array(300), width: 10, height: 10, seed: 1, identity: null, timings: {} }).toFile('out.png')`

const PARTS = ['adaface', 'adapter', 'autoencoder', 'prompt_embeddings', 'transformer'].map((n) => `${n}.safetensors`)
const restore = (...outputs: string[]) => [
  MAIN,
  'restore',
  photo,
  '-m',
  model,
  '--steps',
  '1',
  '--size',
  '32',
  '--threads',
  '1',
  ...outputs,
]
const evaluate = (...outputs: string[]) => [
  MAIN,
  'evaluate',
  '--synthetic',
  '1',
  '--severity',
  'mild',
  '--references',
  '0',
  '--steps',
  '1',
  '-m',
  model,
  '--threads',
  '1',
  ...outputs,
]
const synthesize = () => [MAIN, 'synthesize', '--out', 'folder']
const bench = (...outputs: string[]) => [MAIN, 'bench', 'flow_step', '--quick', '--threads', '1', ...outputs]

/** What writes; which of its files; what was finished before. */
const writers: [what: string, args: () => string[], at?: number, finished?: string[]][] = [
  ['toFile', () => ['-e', TO_FILE]],
  ['restore', () => restore('-o', 'out.png')],
  ['restore --strip', () => restore('-o', 'out.png', '--strip', 'strip.png'), 2, ['out.png']],
  ['degrade', () => [MAIN, 'degrade', photo, '-o', 'out.webp', '--strength', '3']],
  ['demo', () => [MAIN, 'demo', '--out', 'folder', '--faces', '1', '-m', model, '--threads', '1']],
  ['evaluate --json', () => evaluate('--json', 'out.json')],
  ['evaluate --html', () => evaluate('--html', 'out.html')],
  ['synthesize', () => synthesize()],
  ['synthesize, iconface.json', () => synthesize(), 6, PARTS],
  ['convert', () => [MAIN, 'convert', join(model, 'adapter.safetensors'), 'out.safetensors']],
  ['prepare', () => [MAIN, 'prepare', model, '--out', 'folder']],
  ['bench --json', () => bench('--json', 'out.json')],
  ['bench --plot', () => bench('--plot', 'out.png')],
]

t.test('killed before a file gets its name', { skip }, async (t) => {
  t.jobs = 2
  for (const [what, args, at, finished = []] of writers) {
    void t.test(what, async (t) => {
      const folder = emptyFolder()
      const { ending, err } = await end('SIGKILL', folder, args(), at)
      t.equal(ending, 'SIGKILL', err)
      t.same(files(folder).sort(), finished)
    })
  }
})

t.test('killed before a file takes the place of another', { skip }, async (t) => {
  const folder = emptyFolder()
  fs.writeFileSync(join(folder, 'out.png'), 'what was there')
  const { ending, err } = await end('SIGKILL', folder, restore('-o', 'out.png'))
  t.equal(ending, 'SIGKILL', err)
  t.same(files(folder), ['out.png'])
  t.equal(fs.readFileSync(join(folder, 'out.png'), 'utf8'), 'what was there')
})

t.test('a process that exits leaves nothing either way; one that is killed leaves a hidden name at most', async (t) => {
  const without = { ICONFACE_BINARY: join(scratch, 'none.node') } // no addon: a hidden name
  for (const env of [{}, without]) {
    const folder = emptyFolder()
    const { ending, err } = await end('7', folder, ['-e', TO_FILE], 1, env)
    t.equal(ending, 7, err)
    t.same(files(folder), [])
  }
  const folder = emptyFolder()
  const { ending, err } = await end('SIGKILL', folder, ['-e', TO_FILE], 1, without)
  t.equal(ending, 'SIGKILL', err)
  t.match(files(folder), [/^\.iconface-[0-9a-f]{12}\.tmp$/])
  t.equal(files(folder).length, 1)
})
