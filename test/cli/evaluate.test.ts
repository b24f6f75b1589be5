// `iconface evaluate` and `iconface demo`, as a user runs them, with a small model of random weights.
import t from 'tap'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import type { Evaluation } from '../../dist/evaluate/index.js'
import { COMMAND_LINES, node, outcomes } from '../fixtures/installed'
import { scratch, tinyModel } from '../fixtures/tiny'

const ROOT = join(__dirname, '..', '..')
const ADDON = join(ROOT, 'build', 'Release', 'iconface.node')
const skip = existsSync(ADDON) ? false : `${ADDON} is not built`
const work = join(scratch, 'work')
let folder: string

const iconface = (...args: string[]) =>
  node(work, [join(ROOT, 'dist', 'cli', 'main.js'), ...args], { ICONFACE_BINARY: ADDON, ICONFACE_MODEL: folder })

t.before(async () => {
  mkdirSync(work)
  folder = await tinyModel()
})

t.test('evaluate', { skip }, async (t) => {
  const quickly = ['--severity', 'mild', '--references', '1,0', '--steps', '1', '--guidance', '1']
  const { code, out, err } = await iconface(
    'evaluate',
    '--synthetic',
    '1',
    ...quickly,
    '--json',
    'e.json',
    '--html',
    'e.html',
  )
  t.equal(code, 0, err)
  t.match(err, /warning: .* has random weights[^]*^evaluate 2\/2, 0 ms left$/m)
  t.match(out, /^mild, 1 case +PSNR[^]*^degraded +\d[^]*^no references +\d[^]*^1 reference +\d/m)
  const evaluation = JSON.parse(readFileSync(join(work, 'e.json'), 'utf8')) as Evaluation
  t.match(evaluation, {
    settings: { references: [0, 1], steps: 1, guidance: 1, seed: 0 },
    cases: [{ severity: 'mild' }],
  })
  t.ok(out.includes(evaluation.summary[0]!.rows[1]!.values.psnr!.mean.toFixed(2)))
  t.match(readFileSync(join(work, 'e.html'), 'utf8'), /^<!doctype html>[^]*alt="1 reference"[^]*<\/html>\n$/)

  const json = await iconface('evaluate', '--synthetic', '1', ...quickly, '--json', '-', '-q', '--seed', '1')
  t.match({ code: json.code, err: json.err }, { code: 0, err: '' })
  t.match(JSON.parse(json.out), { settings: { seed: 1 } })
})

t.test('evaluate --pairs goes on after a bad picture, and its exit code says so', { skip }, async (t) => {
  const pairs = join(work, 'pairs')
  for (const [name, side] of [
    ['anna', 80],
    ['bo', 80],
    ['cleo', 200],
  ] as const) {
    mkdirSync(join(pairs, name), { recursive: true })
    const picture = sharp({ create: { width: side, height: 80, channels: 3, background: 'teal' } })
    for (const file of ['input.png', 'truth.png']) await picture.clone().toFile(join(pairs, name, file))
  }
  const jpeg = await sharp(join(pairs, 'anna', 'input.png'))
    .jpeg()
    .toBuffer()
  rmSync(join(pairs, 'anna', 'input.png'))
  writeFileSync(join(pairs, 'anna', 'input.jpg'), jpeg.subarray(0, -2))
  writeFileSync(join(pairs, 'bo', 'truth.png'), 'no picture')
  const args = ['evaluate', '--pairs', pairs, '--references', '0', '--steps', '1', '--guidance', '1']
  const { code, out, err } = await iconface(...args, '--json', 'p.json', '--html', 'p.html')
  t.equal(code, 1)
  t.match(err, /warning: anna \(as given\): input: .*input\.jpg: the decoder complains \(premature end/)
  t.match(err, /warning: cleo \(as given\): input of 200 x 80 pixels is not square/)
  t.match(
    err,
    /^iconface: ERR_ICONFACE_INVALID_IMAGE: bo \(as given\): cannot use truth: .*\n.*1 of 3 cases could not be/m,
  )
  t.match(out, /^as given, 2 cases [^]*1 of 3 cases could not be evaluated: bo/m)
  const numbers = JSON.parse(readFileSync(join(work, 'p.json'), 'utf8')) as Evaluation
  t.match(numbers, { cases: [{ name: 'anna' }, { name: 'cleo' }], failures: [{ name: 'bo' }] })
  t.match(readFileSync(join(work, 'p.html'), 'utf8'), /1 of 3 cases could not be evaluated: bo/)

  const strict = await iconface(...args, '--strict', '--json', '-', '-q')
  t.equal(strict.code, 1)
  t.match(JSON.parse(strict.out), { cases: [{ name: 'cleo' }], failures: [{ name: 'anna' }, { name: 'bo' }] })
  t.match(strict.err, /^iconface: \S+: anna [^]*^iconface: \S+: bo [^]*^iconface: \S+: 2 of 3 cases/m)
  const limited = await iconface(...args, '--max-pixels', '6400', '-q')
  t.match(limited.err, /cleo .*200 x 80 pixels are more than maxPixels \(6400\).*--max-pixels/)
  t.equal((await iconface(...args, '--max-pixels', '0')).code, 2)
})

t.test('results are written case by case: what ends an evaluation does not take them away', { skip }, async (t) => {
  const pairs = join(work, 'growing')
  mkdirSync(join(pairs, 'anna'), { recursive: true })
  const picture = sharp({ create: { width: 64, height: 64, channels: 3, background: 'teal' } })
  for (const file of ['input.png', 'truth.png']) await picture.clone().toFile(join(pairs, 'anna', file))
  cpSync(join(pairs, 'anna'), join(pairs, 'bo'), { recursive: true })
  // A device that fails in the second case, which ends the evaluation.
  const main = join(ROOT, 'dist', 'cli', 'main.js')
  const hook = join(work, 'hook.cjs')
  const evaluation = join(ROOT, 'dist', 'evaluate', 'measure.js')
  writeFileSync(
    hook,
    `
    const measure = require(${JSON.stringify(evaluation)})
    const { measuring } = measure
    let cases = 0
    const { IConFaceError } = require(${JSON.stringify(join(ROOT, 'dist', 'errors.js'))})
    measure.measuring = (...args) => {
      if (++cases === 2) throw new IConFaceError('ERR_ICONFACE_CUDA', 'the device is gone')
      return measuring(...args)
    }`,
  )
  const args = [
    'evaluate',
    '--pairs',
    pairs,
    '--references',
    '0',
    '--steps',
    '1',
    '--guidance',
    '1',
    '--json',
    'g.json',
  ]
  const { code, out, err } = await node(work, ['--require', hook, main, ...args], {
    ICONFACE_BINARY: ADDON,
    ICONFACE_MODEL: folder,
  })
  t.equal(code, 1)
  t.match(err, /ERR_ICONFACE_CUDA: bo \(as given\): the device is gone/)
  t.match(out, /^as given, 1 case /m)
  t.match(JSON.parse(readFileSync(join(work, 'g.json'), 'utf8')), { cases: [{ name: 'anna' }] })
})

t.test('wrong uses of evaluate and demo are found before any work, and nothing is written', async (t) => {
  writeFileSync(join(work, 'file'), '')
  const before = readdirSync(work)
  const some = ['evaluate', '--synthetic', '1']
  const uses: [exit: number, message: RegExp, ...args: string[]][] = [
    [2, /either --synthetic N or --pairs DIR/, 'evaluate'],
    [2, /either --synthetic N or --pairs DIR/, ...some, '--pairs', 'x'],
    [2, /nothing beside --pairs, .* for --severity/, 'evaluate', '--pairs', 'x', '--severity', 'mild'],
    [1, /FILE_NOT_FOUND: gone does not exist/, 'evaluate', '--pairs', 'gone'],
    [2, /from 1 to 100000 for --synthetic but received 0\.5/, 'evaluate', '--synthetic', '0.5'],
    [2, /'mild' or 'moderate' or 'severe' for severities but received "bad"/, ...some, '--severity', 'bad'],
    [2, /values separated by commas for --references/, ...some, '--references', '1,'],
    [2, /a number for --references but received "x"/, ...some, '--references', 'x'],
    [2, /a list of different numbers/, ...some, '--references', '1,1'],
    [2, /for steps but received 0/, ...some, '--steps', '0'],
    [2, /for seed but received 0\.5/, ...some, '--seed', '0.5'],
    [2, /the extension of --html/, ...some, '--html', 'e.pdf'],
    [2, /another file than that of --json/, ...some, '--html', 'x.html', '--json', './x.html'],
    [1, /no does not exist; create/, ...some, '--json', 'no/e.json'],
    [1, /cannot write into file: it, or .*, is not a folder; create/, ...some, '--json', 'file/e.json'],
    [2, /the name of a file for the output but received ""/, ...some, '--json', ''],
    [2, /the path of a folder for folder but received ""/, 'evaluate', '--pairs', ''],
    [2, /options only/, ...some, 'more'],
    [2, /from 1 to 20 for --faces but received 0/, 'demo', '--faces', '0'],
    [2, /a folder, not a file, for --out but received "file"/, 'demo', '--out', 'file'],
    [2, /a folder, not a file, for --out but received "file"/, 'demo', '--out', 'file/sub/folder'],
    [2, /the name of a folder for --out but received ""/, 'demo', '--out', ''],
    [2, /options only/, 'demo', 'x'],
  ]
  const lines = JSON.stringify(uses.map(([, , ...args]) => args))
  const found = outcomes(await node(work, [COMMAND_LINES, lines], { ICONFACE_BINARY: ADDON, ICONFACE_MODEL: folder }))
  t.equal(found.length, uses.length)
  for (const [i, [exit, message, ...args]] of uses.entries()) {
    const { code, out, err } = found[i]!
    t.match(err, message, args.join(' '))
    t.match({ code, out }, { code: exit, out: '' })
  }
  t.same(readdirSync(work), before)
})

t.test('demo writes one picture: a row for every degraded face', { skip }, async (t) => {
  const { code, out, err } = await iconface('demo', '--out', 'new/folder', '--faces', '1')
  t.equal(code, 0, err)
  t.match(err, /^evaluate 6\/6, 0 ms left$/m)
  t.match(out, /^moderate, 1 case [^]*^severe, 1 case [^]*^written +new.folder.demo\.png \(.* a person\)$/m)
  const file = join(work, 'new', 'folder', 'demo.png')
  const { width, height } = await sharp(file).metadata()
  t.same([width, height], [8 * (160 + 8) + 8, 2 * (24 + 160 + 8)])
  // The truth is at the right end of both rows, and the same.
  const truth = (row: number) =>
    sharp(file)
      .extract({ left: 8 + 7 * 168, top: 24 + row * 192, width: 160, height: 160 })
      .raw()
      .toBuffer()
  const [first, second] = [await truth(0), await truth(1)]
  t.ok(first.equals(second))
  t.ok(new Set(first).size > 100, 'and a picture')
  t.same(readdirSync(join(work, 'new', 'folder')), ['demo.png'])
})
