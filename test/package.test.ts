// What is published: packed, installed without scripts into an empty folder, and used from there in every way.
import t from 'tap'
import { execFile } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { scratchFolder } from './fixtures/fake'
import { onlyFull } from './fixtures/tier'

const exec = promisify(execFile)
const ROOT = join(__dirname, '..')
const ADDON = join(ROOT, 'build', 'Release', 'iconface.node')
const BIN = join(ROOT, 'node_modules', '.bin')
const PREBUILD = `prebuilds/${process.platform}-${process.arch}/@iconface+native.node`
/** What RHEL 9 and Amazon Linux 2023 have, glibc 2.34 and the libraries of GCC 11: as the README says. */
const MOST = { CXXABI: '1.3.13', GCC: '7.0.0', GLIBC: '2.34', GLIBCXX: '3.4.29' }
const scratch = scratchFolder()
const stage = join(scratch, 'stage')
const consumer = join(scratch, 'consumer')
const installed = join(consumer, 'node_modules', '@iconface', 'native')
const manifest = () =>
  JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>
    gypfile: boolean
    repository: { url: string }
  }
let tarball = ''
let packed: { path: string; size: number }[] = []

/** The environment of a user: none of this checkout's, and only what the package itself brings. */
const { NODE_OPTIONS: _, ICONFACE_BINARY: __, ...inherited } = process.env
const env = { ...inherited, PREBUILDS_ONLY: '1', ICONFACE_MODEL: '' }
const node = (...args: string[]) => exec(process.execPath, args, { cwd: consumer, env })

/** Lays out what `npm publish` would see after `npm run prebuilds`, packs it, and installs it elsewhere. */
async function packAndInstall(): Promise<void> {
  const { files } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { files: string[] }
  // What npm adds by itself, and what lies beside it in the repository and must not be packed.
  for (const entry of [...files, 'package.json', 'README.md', 'LICENSE', 'binding.gyp', 'scripts']) {
    if (existsSync(join(ROOT, entry)) && entry !== 'prebuilds') {
      cpSync(join(ROOT, entry), join(stage, entry), { recursive: true })
    }
  }
  mkdirSync(join(stage, PREBUILD, '..'), { recursive: true })
  copyFileSync(ADDON, join(stage, PREBUILD))
  chmodSync(join(stage, PREBUILD), 0o755)
  await exec('strip', [join(stage, PREBUILD)])
  const { stdout } = await exec('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', scratch], {
    cwd: stage,
  })
  const [pack] = JSON.parse(stdout) as { filename: string; files: typeof packed }[]
  tarball = join(scratch, pack!.filename)
  packed = pack!.files
  mkdirSync(consumer)
  writeFileSync(join(consumer, 'package.json'), '{ "private": true }')
  const quiet = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund']
  await exec('npm', ['install', ...quiet, tarball], { cwd: consumer, env })
}

t.test('the package', onlyFull, async (t) => {
  await packAndInstall()

  await t.test('holds what it needs and nothing else', async (t) => {
    const paths = packed.map(({ path }) => path)
    const needed = [
      'dist/index.js',
      'dist/index.d.ts',
      'dist/ops/index.js',
      'dist/networks/index.js',
      'dist/degrade/index.js',
      'dist/evaluate/index.js',
      'dist/cli/main.js',
      PREBUILD,
    ]
    for (const path of [...needed, 'CMakeLists.txt', 'LICENSE']) {
      t.ok(paths.includes(path), path)
    }
    const kinds =
      /^(dist\/.*\.(js|d\.ts)|native\/.*\.(h|cc|cu|cuh|map|md)|prebuilds\/.*\.node|[A-Z]+(\.md)?|models\/(tiny|detector)\/.*\.(json|safetensors|md|txt|sha256)|CMakeLists\.txt|package\.json)$/
    t.same(
      paths.filter((path) => !kinds.test(path)),
      [],
    )
    t.same(
      paths.filter((path) => /parity|soak|^tools/.test(path)),
      [],
      'no tools for contributors',
    )
    const bytes = packed.reduce((sum, { size }) => sum + size, 0)
    t.ok(bytes < 48e6, `${bytes} bytes unpacked`)
  })

  await t.test('passes publint and attw', async (t) => {
    await t.resolves(exec(join(BIN, 'publint'), ['run', '--strict', stage]))
    await t.resolves(exec(join(BIN, 'attw'), [tarball, '--format', 'ascii']))
  })

  await t.test('runs no scripts at installation', async (t) => {
    const { scripts, gypfile } = manifest()
    t.equal(gypfile, false)
    for (const name of ['preinstall', 'install', 'postinstall']) t.notOk(Object.hasOwn(scripts, name), name)
    const builders = packed.filter(({ path }) => /\.gypi?$|(^|\/)package\.json$/.test(path))
    t.same(
      builders.map(({ path }) => path),
      ['package.json'],
      'npm, yarn and pnpm build where they find a binding.gyp',
    )
  })

  await t.test('is not built by npm rebuild', async (t) => {
    const log = join(scratch, 'scripts-that-were-run')
    const shell = join(scratch, 'shell.sh')
    writeFileSync(shell, `#!/bin/sh\necho "$@" >>'${log}'\n`, { mode: 0o755 })
    const settings = { ...env, npm_config_script_shell: shell, npm_config_ignore_scripts: 'false' }
    const rebuild = () => exec('npm', ['rebuild', '@iconface/native'], { cwd: consumer, env: settings })
    await rebuild()
    t.notOk(existsSync(log), 'nothing is run')

    const original = readFileSync(join(installed, 'package.json'))
    const { gypfile: _, ...others } = manifest()
    writeFileSync(join(installed, 'package.json'), JSON.stringify(others))
    writeFileSync(join(installed, 'binding.gyp'), '{ "targets": [] }')
    await rebuild()
    t.match(readFileSync(log, 'utf8'), /node-gyp rebuild/, 'it would be, with a binding.gyp')
    rmSync(join(installed, 'binding.gyp'))
    writeFileSync(join(installed, 'package.json'), original)
  })

  await t.test('says what can be done without an addon for the platform', async (t) => {
    const [own, other] = [PREBUILD.split('/')[1]!, 'somewhere-else'].map((name) => join(installed, 'prebuilds', name))
    const program = `
      const { OpContext } = require('@iconface/native/ops')
      try { new OpContext() } catch ({ code, message }) { console.log(code, message) }`
    renameSync(own!, other!)
    const { stdout } = await node('-e', program)
    renameSync(other!, own!)
    t.match(
      stdout,
      /^ERR_ICONFACE_ADDON_NOT_FOUND no native addon for .*\. The package has addons for: somewhere-else\. /,
    )
    t.notMatch(stdout, /npm run/, 'scripts need what an installed package does not have')
    const { repository } = manifest()
    t.match(stdout, `git clone ${repository.url.replace(/^git\+|\.git$/g, '')}, npm ci`)
  })

  await t.test('works by require, import, in a worker and on the command line', async (t) => {
    const cli = join(consumer, 'node_modules', '.bin', 'iconface')
    await exec(cli, ['synthesize', '--out', 'tiny'], { cwd: consumer, env })
    const use = (load: string) => `
      ${load}
      const image = allocateImage(32, 32)
      const main = async () => {
        const model = await IConFace.load('tiny', { threads: 1 })
        const { data } = await model.restore(image, [], { steps: 1, size: 32 })
        await model.dispose()
        console.log(model.device, data.length)
      }
      main()`
    const required = use("const { IConFace, allocateImage } = require('@iconface/native')")
    const imported = use("import { IConFace, allocateImage } from '@iconface/native'")
    const worker = `
      const { Worker } = require('node:worker_threads')
      for (let i = 0; i < 2; i++) new Worker(${JSON.stringify(required)}, { eval: true })`
    t.equal((await node('--input-type=commonjs', '-e', required)).stdout, 'cpu 3072\n')
    t.equal((await node('--input-type=module', '-e', imported)).stdout, 'cpu 3072\n')
    t.equal((await node('--input-type=commonjs', '-e', worker)).stdout, 'cpu 3072\ncpu 3072\n')
    for (const path of ['ops', 'networks', 'portraits', 'degrade', 'evaluate'])
      await node('-e', `require('@iconface/native/${path}')`)
    const { stdout } = await exec(cli, ['doctor', '--json'], { cwd: consumer, env })
    const { ok, addon } = JSON.parse(stdout) as { ok: boolean; addon: { path: string } }
    t.ok(ok)
    t.ok(addon.path.endsWith(`node_modules/@iconface/native/${PREBUILD}`), addon.path)
  })

  await t.test('has types for strict consumers, CommonJS and ESM', async (t) => {
    const program = `
      import { IConFace, isIConFaceError, restore, type Restoration } from '@iconface/native'
      import * as ops from '@iconface/native/ops'
      import * as networks from '@iconface/native/networks'
      import { degrade } from '@iconface/native/degrade'
      export async function main(): Promise<void> {
        await using model = await IConFace.load('tiny', { precision: 'bf16' })
        const face: Restoration = await model.restore('a.png', [new URL('file:///b.png')], { seed: 42n })
        const after: number | null = face.identity.after
        console.log(after, ops, networks, isIConFaceError(after))
        console.log(await restore(await degrade(face, { strength: 4, seed: 1 }), []))
      }`
    const options = { strict: true, exactOptionalPropertyTypes: true, noEmit: true, module: 'node16', target: 'es2022' }
    const compilerOptions = {
      ...options,
      lib: ['es2023', 'esnext.disposable'],
      types: ['node'],
      typeRoots: [join(ROOT, 'node_modules/@types')],
    }
    writeFileSync(join(consumer, 'commonjs.cts'), program)
    writeFileSync(join(consumer, 'module.mts'), program)
    writeFileSync(
      join(consumer, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, files: ['commonjs.cts', 'module.mts'] }),
    )
    await t.resolves(exec(join(BIN, 'tsc'), ['-p', consumer]))
  })

  await t.test('has a binary that needs little and shows little', { skip: process.platform !== 'linux' }, async (t) => {
    const binary = join(stage, PREBUILD)
    const needed = [...(await exec('readelf', ['-d', binary])).stdout.matchAll(/NEEDED.*\[(.+)\]/g)].map(
      ([, name]) => name!,
    )
    const allowed = /^(lib(c|m|stdc\+\+|gcc_s|pthread|dl|rt)\.so\.\d+|ld-linux.*)$/
    t.same(
      needed.filter((name) => !allowed.test(name)),
      [],
      needed.join(' '),
    )
    const exported = (await exec('nm', ['-D', '--defined-only', '--format=posix', binary])).stdout.trim().split('\n')
    t.same(exported.map((line) => line.split(' ')[0]).sort(), [
      'napi_register_module_v1',
      'node_api_module_get_api_version_v1',
    ])
    const { stdout: versions } = await exec('readelf', ['-VW', binary])
    const found = [...versions.matchAll(/Name: ([A-Z]+)_([\d.]+) /g)].map(([, kind, version]) => ({ kind, version }))
    t.same([...new Set(found.map(({ kind }) => kind))].sort(), Object.keys(MOST).sort())
    for (const { kind, version } of found as { kind: keyof typeof MOST; version: string }[]) {
      t.ok(version.localeCompare(MOST[kind], 'en', { numeric: true }) <= 0, `needs ${kind}_${version}`)
    }
  })
})
