// What the addon needs of the system's libraries is read from its file, and what a machine lacks of it is named.
import t from 'tap'
import { execFile } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { readSymbolVersions } from '../dist/util/elf.js'
import { findAddon } from '../dist/native.js'
import { describeMissing, glibcVersion, missingVersions, neededVersions } from '../dist/util/system-libraries.js'
import { scratchFolder } from './fixtures/fake'
import { full } from './fixtures/tier'
import { needAnother } from './fixtures/newer-binary'

const exec = promisify(execFile)
const MAIN = join(__dirname, '..', 'dist', 'cli', 'main.js')
const scratch = scratchFolder()
const addon = process.platform === 'linux' && glibcVersion() !== null ? findAddon() : undefined
const skip = addon === undefined && 'only Linux with glibc has such libraries'

interface Versions {
  needed: Record<string, string[]>
  provided: string[]
}

/** What binutils say. */
async function byReadelf(file: string): Promise<Versions> {
  const { stdout } = await exec('readelf', ['-VW', file], { maxBuffer: 1 << 28, env: { ...process.env, LC_ALL: 'C' } })
  const [, needs = ''] = /Version needs section[^]*?\n([^]*?)(\n\n|$)/.exec(stdout) ?? []
  const [, defines = ''] = /Version definition section[^]*?\n([^]*?)(\n\n|$)/.exec(stdout) ?? []
  const needed: Versions['needed'] = {}
  let library = ''
  for (const [, file, version, flags] of needs.matchAll(/File: (\S+)|Name: (\S+)\s+Flags: (\S+)/g)) {
    if (file !== undefined) needed[(library = file)] = []
    else if (!flags!.includes('WEAK')) needed[library]!.push(version!)
  }
  const provided = [...defines.matchAll(/Rev: .* Name: (\S+)/g)].map(([, version]) => version!)
  return { needed, provided }
}

t.test('the reader agrees with readelf', { skip }, async (t) => {
  const { sharedObjects } = process.report.getReport() as unknown as { sharedObjects: string[] }
  const files = [
    addon!,
    process.execPath,
    ...sharedObjects.filter((file) => /^\/.*\.so/.test(file) && existsSync(file)),
  ]
  t.ok(files.length > 4, files.join(' '))
  for (const file of files) {
    const { needed, provided } = readSymbolVersions(file)!
    t.same({ needed, provided }, await byReadelf(file), file)
  }
  const { libraries } = readSymbolVersions(addon!)!
  const dynamic = (await exec('readelf', ['-dW', addon!])).stdout
  t.same(
    libraries,
    [...dynamic.matchAll(/NEEDED.*\[(.+)\]/g)].map(([, name]) => name),
  )
})

t.test('what is no library gives nothing, however it is damaged', { skip }, (t) => {
  const file = join(scratch, 'damaged')
  const bytes = readFileSync(addon!)
  for (const damaged of [
    Buffer.alloc(0),
    Buffer.from('not a library'),
    bytes.subarray(0, 64),
    bytes.subarray(0, 5000),
  ]) {
    writeFileSync(file, damaged)
    t.equal(readSymbolVersions(file), undefined, `${damaged.length} bytes`)
    t.same([neededVersions(file), missingVersions(file)], [[], []])
  }
  t.equal(readSymbolVersions(join(scratch, 'none')), undefined)
  t.equal(readSymbolVersions(scratch), undefined)
  const original = Object.keys(readSymbolVersions(addon!)!)
  for (let i = 0; i < 24; i++) {
    const other = Buffer.from(bytes)
    const at = (i * 79) % 1024 // of the headers that say where everything lies
    other[at]! ^= 1 << (i % 8)
    writeFileSync(file, other)
    t.same(
      Object.keys(readSymbolVersions(file) ?? {}).filter((key) => !original.includes(key)),
      [],
      `byte ${at}`,
    )
  }
  t.end()
})

t.test('this machine lacks nothing that the addon needs', { skip }, (t) => {
  t.same(missingVersions(addon!), [])
  const kinds = neededVersions(addon!).map((version) => version.replace(/_[\d.]+$/, ''))
  t.same(kinds, ['CXXABI', 'GCC', 'GLIBC', 'GLIBCXX'])
  t.end()
})

/** One version of each kind, exchanged for one that no system has. */
const NEWER = ['GLIBC', 'GLIBCXX', 'GCC', 'CXXABI']

for (const kind of full ? NEWER : NEWER.slice(0, 1)) {
  t.test(`a system that is too old in ${kind}: the error and doctor say so`, { skip }, async (t) => {
    const from = neededVersions(addon!).find((version) => version.startsWith(`${kind}_`))!
    const to = from.replace(/\d/, '9') // as long as the other
    const binary = join(scratch, `${kind}.node`)
    needAnother(addon!, binary, from, to)
    const [missing, ...others] = missingVersions(binary)
    t.same(others, [])
    t.match(missing, { version: to, highest: new RegExp(`^${kind}_`) })
    const words = describeMissing(missing!)
    t.match(words, new RegExp(`^${to} of lib[\\w+]+\\.so\\.\\d+, and /.* has ${kind}_[\\d.]+ at most$`))

    const env = { ...process.env, ICONFACE_BINARY: binary }
    const doctor = (...args: string[]) =>
      exec(process.execPath, [MAIN, 'doctor', ...args], { env }).then(
        ({ stdout }) => ({ code: 0, stdout }),
        (error: { code: number; stdout: string }) => error,
      )
    const { code, stdout } = await doctor('--json')
    t.equal(code, 1)
    const {
      ok,
      addon: found,
      libraries,
    } = JSON.parse(stdout) as {
      ok: boolean
      addon: { error: string }
      libraries: { needed: string[]; missing: unknown[] }
    }
    t.equal(ok, false)
    t.ok(found.error.includes(`. It needs ${words}. Use a newer system`), found.error)
    t.match(found.error, /^ERR_ICONFACE_UNSUPPORTED: .*git clone https:.*ICONFACE_BINARY$/)
    t.same(libraries.missing, [missing])
    t.ok(libraries.needed.includes(to))
    if (kind === NEWER[0]) t.ok((await doctor()).stdout.includes(`missing: ${words}`))
  })
}

t.test('a system without a library', { skip }, (t) => {
  const binary = join(scratch, 'other.node')
  const bytes = readFileSync(addon!)
  bytes.write('libgcc_x.so.1', bytes.indexOf('libgcc_s.so.1\0'), 'latin1')
  writeFileSync(binary, bytes)
  const missing = { library: 'libgcc_x.so.1', version: null, file: null, highest: null }
  t.same(missingVersions(binary), [missing])
  t.equal(describeMissing(missing), 'libgcc_x.so.1, which this system does not have')
  t.end()
})

t.test('a library that has nothing of a kind', (t) => {
  const missing = { library: 'libstdc++.so.6', version: 'CXXABI_9', file: '/lib/libstdc++.so.6', highest: null }
  t.equal(describeMissing(missing), 'CXXABI_9 of libstdc++.so.6, and /lib/libstdc++.so.6 has none of the kind')
  t.end()
})
