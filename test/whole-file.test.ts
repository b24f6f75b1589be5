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
import { checkWritable, WholeFile, writeWhole } from '../dist/whole-file.js'
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

    await t.test('permissions are those of any new file', async (t) => {
      const mask = process.umask(0o027)
      t.teardown(() => process.umask(mask))
      await writeWhole(join(folder, 'new'), bytes)
      fs.chmodSync(file, 0o600)
      await writeWhole(file, bytes)
      for (const name of ['new', 'file']) t.equal(fs.statSync(join(folder, name)).mode & 0o7777, 0o640, name)
      t.equal(fs.statSync(file).nlink, 1)
      fs.rmSync(join(folder, 'new'))
    })

    await t.test('a symbolic link is replaced, not what it names', async (t) => {
      const link = join(folder, 'link')
      for (const target of ['file', 'nothing']) {
        fs.symlinkSync(target, link)
        await writeWhole(link, Buffer.from('new'))
        t.ok(fs.lstatSync(link).isFile())
        t.equal(fs.readFileSync(link, 'utf8'), 'new')
        fs.rmSync(link)
      }
      t.same(fs.readdirSync(folder), ['file'])
      t.ok(fs.readFileSync(file).equals(bytes))
    })

    await t.test('a folder is not, and a folder that is not there is not made', async (t) => {
      fs.mkdirSync(join(folder, 'taken'))
      await t.rejects(writeWhole(join(folder, 'taken'), bytes), { code: 'ERR_ICONFACE_IO', message: /taken: EISDIR/ })
      await t.rejects(writeWhole(join(folder, 'none', 'file'), bytes), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
      await t.rejects(writeWhole(join(file, 'file'), bytes), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
      await t.rejects(writeWhole(join(folder, 'a\0b'), bytes), { code: 'ERR_ICONFACE_IO', message: /null bytes/ })
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
    const { writeWhole } = require(${JSON.stringify(join(__dirname, '..', 'dist', 'whole-file.js'))})
    writeWhole(process.argv[1], Buffer.from('bytes'))`
  const folder = fs.mkdtempSync(join(scratch, 'none-'))
  const env = { ...process.env, ICONFACE_BINARY: join(folder, 'none.node') }
  await promisify(execFile)(process.execPath, ['-e', program, join(folder, 'file')], { env })
  t.same(fs.readdirSync(folder), ['file'])
  t.equal(fs.readFileSync(join(folder, 'file'), 'utf8'), 'bytes')
})
