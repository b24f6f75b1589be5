// The command line, as a user runs it, over a fake addon (fixtures/fake-addon.cjs).
import t from 'tap'
import { spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { synthesizeCheckpoint } from '../dist/prepare/synthesize.js'
import { progressDisplay } from '../dist/cli/terminal.js'
import { byteSize, duration } from '../dist/util/figures.js'
import { strip as drawStrip } from '../dist/picture/strip.js'
import { FAKE_ADDON, plain, scratchFolder } from './fixtures/fake'
import { COMMAND_LINES, outcomes } from './fixtures/installed'

const MAIN = join(__dirname, '..', 'dist', 'cli', 'main.js')
const scratch = scratchFolder()
const folder = join(scratch, 'tiny')
const photo = join(scratch, 'face.png')
const friend = join(scratch, 'friend.jpg')

interface Outcome {
  code: number | null
  out: string
  err: string
}

/** Runs `iconface`; `during` sees what it has written to standard error so far. */
function iconface(
  args: string[],
  env: NodeJS.ProcessEnv = {},
  during?: (err: string, kill: (s: NodeJS.Signals) => void) => void,
  program = MAIN,
) {
  const settings = { ICONFACE_BINARY: FAKE_ADDON, ICONFACE_MODEL: '', FAKE_STEP_MS: '0', ...env }
  const child = spawn(process.execPath, [program, ...args], { env: { ...process.env, ...settings }, cwd: scratch })
  const outcome: Outcome = { code: null, out: '', err: '' }
  child.stdout.on('data', (chunk) => (outcome.out += String(chunk)))
  child.stderr.on('data', (chunk) => {
    outcome.err += String(chunk)
    during?.(outcome.err, (signal) => child.kill(signal))
  })
  return new Promise<Outcome>((resolve) => child.on('close', (code) => resolve({ ...outcome, code })))
}

t.before(async () => {
  await synthesizeCheckpoint('tiny', folder)
  const picture = (background: string) => sharp({ create: { width: 80, height: 64, channels: 3, background } })
  await picture('teal').png().toFile(photo)
  await picture('gold').jpeg().toFile(friend)
})

t.test('restore writes the picture and says what it did', async (t) => {
  const args = [
    'restore',
    photo,
    '--ref',
    friend,
    '-o',
    'out.png',
    '--model',
    folder,
    '--strip',
    'strip.png',
    '--steps',
    '2',
  ]
  const { code, out, err } = await iconface(args)
  t.equal(code, 0, err)
  t.match(out, /written +out\.png \(64 x 64, seed 42\)/)
  t.match(out, /similarity to the references 0\.250 before, 0\.750 after/)
  t.match(out, /time +\d+.*read.*encode 1 ms, sample 2 ms, decode 3 ms/)
  t.match(err, /warning: .* has random weights: it restores nothing/)
  t.match(err, /^iconface: warning: reference 1 of 80 x 64 pixels is not square: .* is cut away/m)
  t.equal(err.match(/random weights/g)!.length, 1)
  t.match(err, /^sample 1\/2, 10 ms left$/m, 'lines, not a bar, where nobody watches')
  t.match(await sharp(join(scratch, 'out.png')).metadata(), { width: 64, height: 64 })
  const strip = await sharp(join(scratch, 'strip.png')).metadata()
  t.equal(strip.width, 3 * (64 + 8) + 8)
  const header = sharp(join(scratch, 'strip.png')).extract({ left: 0, top: 0, width: 80, height: 24 })
  const ink = (await header.raw().toBuffer()).filter((value) => value < 160).length
  t.ok(ink > 50 && ink < 2000, `letters on white: ${ink} dark values`)
  const image = plain(8, 8, 100)
  const columns = [
    { label: 'degraded', note: 'similarity 0.250', image },
    { label: 'reference 1', note: '', image },
    { label: 'by random weights', note: 'similarity 0.750', image },
  ]
  const captions = (png: string | Buffer) =>
    sharp(png).extract({ left: 0, top: 0, width: 224, height: 24 }).raw().toBuffer()
  t.ok((await captions(join(scratch, 'strip.png'))).equals(await captions(await drawStrip(columns, 64))), 'captions')
})

t.test('names of files are names, not patterns or options', async (t) => {
  const odd = join(scratch, 'odd[0]')
  mkdirSync(odd)
  const names = ['face[1].png', 'face.png[page=1]', '[a-z].png', 'a*b?.png', 'b{1,2}.png', '-c.png', 'd e%20.png']
  for (const [i, name] of names.entries()) {
    copyFileSync(photo, join(odd, name))
    const [input, output, strip] = [join(odd, name), join(odd, `out[${i}].png`), join(odd, `strip[${i}].png`)]
    const args = ['restore', input, '--ref', input, '-o', output, '--strip', strip, '-m', folder, '-q']
    t.same(await iconface(args), { code: 0, out: '', err: '' }, name)
    t.match(await sharp(readFileSync(output)).metadata(), { width: 64 })
    t.match(await sharp(readFileSync(strip)).metadata(), { width: 3 * (64 + 8) + 8 })
  }
})

t.test('--json is JSON, --quiet is quiet', async (t) => {
  const args = ['restore', photo, '-o', 'out.jpg', '-m', folder]
  const { out } = await iconface([...args, '--json', '--seed', '18446744073709551615'])
  const report = JSON.parse(out) as object
  t.match(report, { output: 'out.jpg', width: 64, seed: '18446744073709551615', identity: { source: 'degraded' } })
  t.match(report, { model: { synthesized: true }, device: 'cpu' })
  const cropped = { code: 'WARN_ICONFACE_CROPPED', message: /^input of 80 x 64 pixels .* 20 % of it/ }
  t.match(report, { warnings: [{ code: 'WARN_ICONFACE_RANDOM_WEIGHTS', message: /random weights/ }, cropped] })
  const referred = JSON.parse((await iconface([...args, '--ref', friend, '--ref', friend, '--json'])).out) as object
  t.match(referred, {
    seed: 42,
    identity: { source: 'references', norms: [20, 20], weights: [0.5, 0.5], before: 0.25, after: 0.75 },
  })
  t.same(await iconface([...args, '-q']), { code: 0, out: '', err: '' })
  const { code } = await iconface(['restore', photo, '-o', 'out.jpg', '-q'], { ICONFACE_MODEL: folder })
  t.equal(code, 0, 'ICONFACE_MODEL names the model')
})

t.test('errors: one line with the code, and the exit code', async (t) => {
  mkdirSync(join(scratch, 'folder.png'))
  const output = ['-o', 'none.png', '-m', folder]
  const uses: [args: string[], exit: number, line: RegExp][] = [
    [['restroe'], 2, /unknown command 'restroe'; did you mean 'restore'/],
    [['restore', photo, '--stepz', '3'], 2, /unknown option '--stepz'; did you mean '--steps'/],
    [['restore', photo, '--seed', '-1'], 2, /argument is ambiguous.* use '--seed=-XYZ'\.$/m],
    [['restore', photo], 2, /-o is missing/],
    [['restore', ...output], 2, /one photo/],
    [['restore', photo, ...output, '--steps', 'x'], 2, /a number for --steps but received "x"/],
    [['restore', photo, ...output, '--steps', '0'], 2, /steps but received 0/],
    [['restore', photo, '-m', folder, '-o', 'none.bmp'], 2, /the extension of none\.bmp/],
    [['restore', photo, '-m', folder, '-o', 'no/where.png'], 1, /FILE_NOT_FOUND: no does not exist; create/],
    [['restore', photo, '-m', folder, '-o', 'folder.png'], 2, /a file, not of a folder, for the output/],
    [['restore', photo, ...output, '--strip', './none.png'], 2, /another file than that of -o for --strip/],
    [['restore', photo, '-o', 'none.png', '-m', 'none', '--size', '100'], 2, /multiple of 16.*for size/],
    [['restore', 'none.jpg', '-o', 'none.png', '-m', 'none'], 1, /input: none\.jpg does not exist/],
    [['doctor', 'x'], 2, /options only/],
    [['restore', 'none.jpg', ...output], 1, /FILE_NOT_FOUND: input: none\.jpg does not exist/],
    [['restore', photo, '--ref', folder, ...output], 1, /INVALID_IMAGE: cannot use reference 1/],
  ]
  const found = await iconface([JSON.stringify(uses.map(([args]) => args))], {}, undefined, COMMAND_LINES)
  t.equal(outcomes(found).length, uses.length)
  for (const [i, { code, out, err }] of outcomes(found).entries()) {
    const [args, exit, line] = uses[i]!
    t.equal(code, exit, args.join(' '))
    t.equal(out, '')
    t.match(err, line)
    t.match(err, /^iconface: ERR_ICONFACE_[A-Z_]+: .*\n$/m)
    t.equal(err.split('\n').filter((line) => !/^(iconface: |read \d|$)/.test(line)).length, 0, err)
  }
  t.notOk(readdirSync(scratch).some((name) => name.includes('none.png')))
})

t.test('a result may take the place of its input; the strip still shows what it was', async (t) => {
  const both = join(scratch, 'both.png')
  writeFileSync(both, readFileSync(photo))
  const { code, err } = await iconface(['restore', both, '-o', both, '-m', folder, '--strip', 'both-strip.png', '-q'])
  t.equal(code, 0, err)
  const corner = (left: number) =>
    sharp(join(scratch, 'both-strip.png'))
      .removeAlpha()
      .extract({ left, top: 60, width: 1, height: 1 })
      .raw()
      .toBuffer()
  t.same([...(await corner(40))], [0, 128, 128], 'teal, as the input was')
  t.notSame([...(await corner(8 + 64 + 40))], [0, 128, 128])
})

t.test('Ctrl-C stops the job, exit code 130, no partial file', async (t) => {
  let sent = false
  const args = ['restore', photo, '-o', 'late.png', '-m', folder, '--steps', '1000']
  const { code, err } = await iconface(args, { FAKE_STEP_MS: '20' }, (err, kill) => {
    if (!sent && err.includes('sample')) kill('SIGINT')
    sent ||= err.includes('sample')
  })
  t.equal(code, 130)
  t.match(err, /^iconface: ERR_ICONFACE_ABORTED: interrupted$/m)
  t.notOk(readdirSync(scratch).some((name) => name.includes('late')))
})

t.test('a reader that has seen enough: no complaint, exit code 0', async (t) => {
  for (const args of [
    ['--help'],
    ['--version'],
    ['doctor'],
    ['inspect', folder],
    ['restore', photo, '-o', 'piped.png', '-m', folder, '--json'],
  ]) {
    const settings = { ICONFACE_BINARY: FAKE_ADDON, ICONFACE_MODEL: '', FAKE_STEP_MS: '0' }
    const child = spawn(process.execPath, [MAIN, ...args], { env: { ...process.env, ...settings }, cwd: scratch })
    child.stdout.destroy() // before it has written anything
    let err = ''
    child.stderr.on('data', (chunk) => (err += String(chunk)))
    const code = await new Promise((resolve) => child.on('close', resolve))
    t.equal(code, 0, `${args[0]}: ${err}`)
    t.notMatch(err, /EPIPE|INTERNAL|node:internal/)
  }
  t.ok(readdirSync(scratch).includes('piped.png'), 'what was to be done is done')
})

t.test('help and version', async (t) => {
  const help = await iconface(['--help'])
  t.equal(help.code, 0)
  t.match(help.out, /Usage: iconface <command>/)
  for (const command of ['restore', 'doctor']) {
    t.match(help.out, new RegExp(`^  ${command} `, 'm'))
    const own = await iconface([command, '--help'])
    t.match(own, { code: 0, out: new RegExp(`Usage: iconface ${command}`) })
  }
  const { version } = JSON.parse(readFileSync(join(__dirname, '..', 'package.json'), 'utf8')) as { version: string }
  t.same(await iconface(['--version']), { code: 0, out: `${version}\n`, err: '' })
})

t.test('doctor', async (t) => {
  await t.test('reports what it finds', async (t) => {
    const { code, out } = await iconface(['doctor', '--json'], { ICONFACE_MODEL: folder })
    t.equal(code, 0)
    t.match(JSON.parse(out), {
      ok: true,
      node: { version: process.version, platform: `${process.platform}-${process.arch}` },
      addon: { error: null, path: FAKE_ADDON, isa: 'baseline', places: [FAKE_ADDON] },
      model: { error: null, folder, synthesized: true },
      dependencies: { sharp: { error: null }, '@huggingface/hub': { error: null } },
    })
    t.match((await iconface(['doctor'])).out, /^addon +.*fake-addon\.cjs, version 0\.0\.0-fake$/m)
  })

  await t.test('works without an addon, and says where it looked', async (t) => {
    const missing = join(scratch, 'nothing.node')
    const { code, out } = await iconface(['doctor', '--json'], { ICONFACE_BINARY: missing })
    t.equal(code, 1)
    t.match(JSON.parse(out), { ok: false, addon: { error: /ADDON_NOT_FOUND.*nothing\.node/, places: [missing] } })
  })

  await t.test('works with an addon that does not load', async (t) => {
    const broken = join(scratch, 'broken.node')
    writeFileSync(broken, 'not a library')
    const { code, out } = await iconface(['doctor'], { ICONFACE_BINARY: broken })
    t.equal(code, 1)
    t.match(out, /^addon +does not load: ERR_ICONFACE_UNSUPPORTED: cannot load .*broken\.node: /m)
    t.match(out, /^searched +.*broken\.node$/m)
  })
})

t.test('what people read', async (t) => {
  t.same([0, 840, 999.6, 12_345, 59_990, 245_000, 7_620_000].map(duration), [
    '0 ms',
    '840 ms',
    '1.0 s',
    '12.3 s',
    '1 min 00 s',
    '4 min 05 s',
    '2 h 07 min',
  ])
  t.same([0, 1023, 1536, 25 * 2 ** 30].map(byteSize), ['0 B', '1023 B', '1.5 KiB', '25.0 GiB'])
  const written: string[] = []
  const screen = { isTTY: true, columns: 70, write: (text: string) => written.push(text) }
  const display = progressDisplay(screen)
  display.show({ stage: 'sample', step: 1, steps: 4, elapsedMs: 5, etaMs: 15 })
  display.end()
  t.match(written[0], /^\r\x1b\[2Ksample +█{6}░{18} 1\/4, 15 ms left$/)
  t.equal(written[1], '\r\x1b[2K')
})
