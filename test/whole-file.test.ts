// Files appear complete or not at all, and nothing else is left: without a name until then, and under a hidden one.
import t, { type Test } from 'tap'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import promises from 'node:fs/promises'
import { constants } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { loadAddon } from '../dist/native.js'
import { checkWritable, WholeFile, writeWhole } from '../dist/formats/whole-file.js'
import { scratchFolder } from './fixtures/fake'
import { O_TMPFILE, openUnnamed, withoutUnnamed } from './fixtures/unnamed'

const { EEXIST, EINVAL, ENOENT, EPERM } = constants.errno
const scratch = scratchFolder()
const skip = withoutUnnamed(scratch)

/** Calls of Node's open and of the addon, in order; `refuse` decides what they fail with. */
function watch(t: Test, refuse: { open?: string; link?: number } = {}) {
  const calls: string[] = []
  const addon = loadAddon()
  const { open } = promises
  t.intercept(promises, 'open', {
    value: async (path: string, flags: string | number, mode?: number) => {
      const unnamed = typeof flags === 'number' && (flags & O_TMPFILE) !== 0
      calls.push(unnamed ? 'open unnamed' : 'open hidden')
      if (unnamed && refuse.open) throw Object.assign(new Error(refuse.open), { code: refuse.open })
      return open(path, flags, mode)
    },
  })
  const { linkOpenFile } = addon
  t.intercept(addon, 'linkOpenFile', {
    value: (fd: number, path: string) => {
      calls.push('link')
      return refuse.link ?? linkOpenFile(fd, path)
    },
  })
  return calls
}

/** Every way in which a file comes about, and the calls that say that it did. */
const WAYS: Record<string, { refuse: { open?: string; link?: number }; fresh: string[]; taken: string[] }> = {
  'without a name': {
    refuse: {},
    fresh: ['open unnamed', 'link'],
    taken: ['open unnamed', 'link', 'link'],
  },
  'no such files here': {
    refuse: { open: 'EOPNOTSUPP' },
    fresh: ['open unnamed', 'open hidden'],
    taken: ['open unnamed', 'open hidden'],
  },
  'an old kernel': {
    refuse: { open: 'EISDIR' },
    fresh: ['open unnamed', 'open hidden'],
    taken: ['open unnamed', 'open hidden'],
  },
  'no /proc': {
    refuse: { link: ENOENT },
    fresh: ['open unnamed', 'link', 'open hidden'],
    taken: ['open unnamed', 'link', 'open hidden'],
  },
  'no link allowed': {
    refuse: { link: EPERM },
    fresh: ['open unnamed', 'link', 'open hidden'],
    taken: ['open unnamed', 'link', 'open hidden'],
  },
}

for (const [way, { refuse, fresh, taken }] of Object.entries(WAYS)) {
  t.test(way, { skip: !refuse.open && skip }, async (t) => {
    const folder = fs.mkdtempSync(join(scratch, 'way-'))
    const calls = watch(t, refuse)
    const bytes = randomBytes(2_500_001) // more than is copied at a time
    const file = join(folder, 'file')

    await writeWhole(file, bytes)
    t.same(calls.splice(0), fresh, 'a new file')
    t.ok(fs.readFileSync(file).equals(bytes))

    await writeWhole(file, bytes.subarray(7))
    t.same(calls.splice(0), taken, 'one in the place of another')
    t.ok(fs.readFileSync(file).equals(bytes.subarray(7)))
    t.same(fs.readdirSync(folder), ['file'])

    await t.test('a new file follows the umask, one in the place of another keeps its mode', async (t) => {
      const mask = process.umask(0o027)
      t.teardown(() => process.umask(mask))
      const mode = (name: string) => fs.statSync(join(folder, name)).mode & 0o7777
      await writeWhole(join(folder, 'new'), bytes)
      t.equal(mode('new'), 0o640)
      for (const kept of [0o600, 0o644, 0o666, 0o400, 0o755, 0o4711]) {
        fs.chmodSync(file, kept)
        await writeWhole(file, bytes)
        t.equal(mode('file'), kept, kept.toString(8))
      }
      fs.chmodSync(file, 0o640)
      t.equal(fs.statSync(file).nlink, 1)
      fs.rmSync(join(folder, 'new'))
    })

    await t.test(
      'it keeps its owner',
      { skip: process.getuid?.() !== 0 && 'only root gives files away' },
      async (t) => {
        fs.chownSync(file, 12345, 54321)
        fs.chmodSync(file, 0o4640)
        await writeWhole(file, bytes)
        const { uid, gid, mode } = fs.statSync(file)
        t.same([uid, gid, mode & 0o7777], [12345, 54321, 0o4640])
        fs.chmodSync(file, 0o640)
      },
    )

    await t.test('a symbolic link stays, and what it names is written', async (t) => {
      const link = join(folder, 'link')
      const inner = join(folder, 'inner')
      fs.mkdirSync(inner)
      fs.symlinkSync('../link', join(inner, 'outer')) // a link to a link, from another folder
      const targets = { file: 'file', [file]: 'file', 'made by it': 'made by it', './inner/../file': 'file' }
      for (const [target, written] of Object.entries(targets)) {
        fs.symlinkSync(target, link)
        for (const name of ['link', 'inner/outer']) {
          await checkWritable(join(folder, name))
          await writeWhole(join(folder, name), Buffer.from(name))
          t.equal(fs.readFileSync(join(folder, written), 'utf8'), name, `${name} -> ${target}`)
        }
        t.equal(fs.readlinkSync(link), target)
        fs.rmSync(link)
      }
      fs.symlinkSync('link', link)
      await t.rejects(writeWhole(link, bytes), { code: 'ERR_ICONFACE_IO', message: /link: too many symbolic links/ })
      await t.rejects(checkWritable(link), { code: 'ERR_ICONFACE_IO' })
      fs.rmSync(link)
      fs.symlinkSync('none/file', link)
      await t.rejects(writeWhole(link, bytes), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
      fs.rmSync(link)
      t.same(fs.readdirSync(folder).sort(), ['file', 'inner', 'made by it'])
      t.same(fs.readdirSync(inner), ['outer'])
      fs.rmSync(inner, { recursive: true })
      fs.rmSync(join(folder, 'made by it'))
    })

    await t.test('names as long as they may be, again and again', async (t) => {
      const letters = (length: number) => join(folder, `${'x'.repeat(length - 4)}.png`)
      for (const length of [238, 250, 255]) {
        for (let i = 0; i < 3; i++) await writeWhole(letters(length), bytes)
        t.ok(fs.readFileSync(letters(length)).equals(bytes), `${length} bytes`)
        fs.rmSync(letters(length))
      }
      const accents = join(folder, 'é'.repeat(127)) // 254 bytes
      for (let i = 0; i < 2; i++) await writeWhole(accents, bytes)
      fs.rmSync(accents)
      await t.rejects(writeWhole(letters(256), bytes), { code: 'ERR_ICONFACE_IO', message: /ENAMETOOLONG/ })
      await t.rejects(checkWritable(letters(256)), { code: 'ERR_ICONFACE_IO', message: /ENAMETOOLONG/ })
      t.same(fs.readdirSync(folder), ['file'])
    })

    await t.test('a folder is not, and a folder that is not there is not made', async (t) => {
      fs.mkdirSync(join(folder, 'taken'))
      await t.rejects(writeWhole(join(folder, 'taken'), bytes), { code: 'ERR_ICONFACE_IO', message: /taken: EISDIR/ })
      await t.rejects(writeWhole(join(folder, 'none', 'file'), bytes), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
      await t.rejects(writeWhole(join(file, 'file'), bytes), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
      await t.rejects(writeWhole(join(folder, 'a\0b'), bytes), {
        code: 'ERR_ICONFACE_IO',
        message: /cannot write .*: The argument/,
      })
      await t.rejects(writeWhole(join(folder, 'new/'), bytes), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
      t.same(fs.readdirSync(folder).sort(), ['file', 'taken'])
    })

    await t.test('piece by piece, finished or given up', async (t) => {
      const done = join(folder, 'done')
      const writer = await WholeFile.create(done)
      await writer.write(new Float32Array([1, 2]))
      await writer.write(bytes.subarray(0, 0))
      await writer.write(bytes.subarray(1, 4))
      t.notOk(fs.existsSync(done))
      await writer.finish()
      t.same(fs.readFileSync(done), Buffer.concat([Buffer.from(new Float32Array([1, 2]).buffer), bytes.subarray(1, 4)]))
      await writer.abort()
      await t.rejects(writer.write(bytes), { code: 'ERR_ICONFACE_DISPOSED' })
      await t.rejects(writer.finish(), { code: 'ERR_ICONFACE_DISPOSED', message: /done is already finished/ })
      t.ok(fs.existsSync(done))

      const given = await WholeFile.create(join(folder, 'given up'))
      await given.write(bytes)
      await given.abort()
      await t.rejects(given.finish(), { code: 'ERR_ICONFACE_DISPOSED' })
      t.same(fs.readdirSync(folder).sort(), ['done', 'file', 'taken'])
    })

    const before = fs.readdirSync('/proc/self/fd').length
    await Promise.all(Array.from({ length: 8 }, () => writeWhole(file, bytes)))
    t.equal(fs.readdirSync('/proc/self/fd').length, before, 'no file is left open')
  })
}

t.test(
  'what is no file is written to as it is',
  { skip: process.platform === 'win32' && 'no pipes with names' },
  async (t) => {
    const pipe = join(scratch, 'pipe')
    await promisify(execFile)('mkfifo', [pipe])
    await checkWritable(pipe)
    const reader = promisify(execFile)('cat', [pipe])
    await writeWhole(pipe, Buffer.from('through'))
    t.equal((await reader).stdout, 'through')
    t.ok(fs.statSync(pipe).isFIFO())
  },
)

t.test('the addon names files, and says why it does not', { skip }, async (t) => {
  const { linkOpenFile } = loadAddon()
  const folder = fs.mkdtempSync(join(scratch, 'link-'))
  const to = join(folder, 'file')
  const fd = openUnnamed(folder)
  fs.writeSync(fd, 'bytes')
  t.equal(linkOpenFile(fd, join(folder, 'none', 'file')), ENOENT)
  t.equal(linkOpenFile(fd, `${to}\0`), EINVAL)
  t.same(fs.readdirSync(folder), [])
  t.equal(linkOpenFile(fd, to), 0)
  t.equal(fs.readFileSync(to, 'utf8'), 'bytes')
  t.equal(linkOpenFile(fd, to), EEXIST)
  fs.closeSync(fd)
  t.equal(linkOpenFile(fd, join(folder, 'closed')), ENOENT)
  const call = linkOpenFile as (...args: unknown[]) => number
  for (const wrong of [-1, 0.5, NaN, Infinity, 2 ** 31, '1', null, undefined, {}]) {
    t.throws(() => call(wrong, to), { code: 'ERR_ICONFACE_INVALID_ARGUMENT', message: /descriptor/ }, String(wrong))
  }
  for (const wrong of [1, null, undefined, Buffer.from(to)]) {
    t.throws(() => call(0, wrong), { code: 'ERR_ICONFACE_INVALID_ARGUMENT', message: /path/ }, String(wrong))
  }
  t.throws(() => call(), { code: 'ERR_ICONFACE_INVALID_ARGUMENT' })
  t.same(fs.readdirSync(folder), ['file'])
})

t.test('where the addon is missing files are written all the same', async (t) => {
  const native = loadAddon()
  t.equal(typeof native.linkOpenFile, 'function')
  const program = `
    const { writeWhole } = require(${JSON.stringify(join(__dirname, '..', 'dist', 'formats', 'whole-file.js'))})
    writeWhole(process.argv[1], Buffer.from('bytes'))`
  const folder = fs.mkdtempSync(join(scratch, 'none-'))
  const env = { ...process.env, ICONFACE_BINARY: join(folder, 'none.node') }
  await promisify(execFile)(process.execPath, ['-e', program, join(folder, 'file')], { env })
  t.same(fs.readdirSync(folder), ['file'])
  t.equal(fs.readFileSync(join(folder, 'file'), 'utf8'), 'bytes')
})

t.test("files are written under Yarn's Plug'n'Play", async (t) => {
  const folder = fs.mkdtempSync(join(scratch, 'pnp-'))
  const main = join(__dirname, '..', 'dist', 'cli', 'main.js')
  const iconface = (...args: string[]) =>
    promisify(execFile)(
      process.execPath,
      ['--require', join(__dirname, 'fixtures', 'plug-n-play.cjs'), main, ...args],
      {
        cwd: folder,
      },
    )
  await iconface('synthesize', '--out', 'tiny')
  const photo = join(__dirname, '..', 'docs', 'demo.png')
  for (let i = 0; i < 2; i++) await iconface('degrade', photo, '-o', 'degraded.png', '--strength', '1', '-q')
  await iconface('restore', 'degraded.png', '-o', 'out.png', '-m', 'tiny', '--steps', '1', '--size', '32', '-q')
  t.same(fs.readdirSync(folder).sort(), ['degraded.png', 'out.png', 'tiny'])
  t.ok(fs.statSync(join(folder, 'out.png')).size > 100)
})
