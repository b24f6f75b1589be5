// No test sees an old state: what runs before them compiles, removes and builds, or ends the run.
import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { scratchFolder } from './fixtures/fake'

/** A package with one source, and the programs that bring it up to date. */
const root = scratchFolder()
const place = (...parts: string[]) => join(root, ...parts)
for (const folder of ['lib', 'dist/old', 'test/fixtures', 'bin']) mkdirSync(place(folder), { recursive: true })
cpSync(join(__dirname, 'fixtures', 'before.mjs'), place('test', 'fixtures', 'before.mjs'))
const compilerOptions = { rootDir: 'lib', outDir: 'dist', declaration: true, incremental: true, strict: true }
const small = { target: 'es2022', lib: ['es5'], types: [], tsBuildInfoFile: 'dist/.tsbuildinfo' } // takes a second less
writeFileSync(
  place('tsconfig.json'),
  JSON.stringify({ compilerOptions: { ...compilerOptions, ...small }, include: ['lib'] }),
)
symlinkSync(join(__dirname, '..', 'node_modules'), place('node_modules'))
/** Stands for CMake: tells how it was called, and fails where it is told to. */
writeFileSync(place('bin', 'cmake'), '#!/bin/sh\necho "cmake $*"\n[ ! -e broken ]\n', { mode: 0o755 })

function before(): Promise<{ code: unknown; said: string }> {
  const env = { ...process.env, PATH: `${place('bin')}:${process.env.PATH}`, ICONFACE_BINARY: '' }
  return new Promise((resolve) =>
    execFile(process.execPath, [place('test', 'fixtures', 'before.mjs')], { env }, (error, stdout, stderr) => {
      t.equal(stdout, '', 'standard output is left to the tests')
      resolve({ code: error?.code ?? 0, said: stderr })
    }),
  )
}

t.test('sources are compiled, and what came from sources that are gone is removed', async (t) => {
  writeFileSync(place('lib', 'kept.ts'), 'export const value: number = 1\n')
  writeFileSync(place('dist', 'gone.js'), '')
  writeFileSync(place('dist', 'old', 'gone.d.ts'), '')
  mkdirSync(place('prebuilds'))
  t.strictSame(await before(), { code: 0, said: '' })
  t.match(readFileSync(place('dist', 'kept.js'), 'utf8'), 'value = 1')
  t.notOk(existsSync(place('dist', 'gone.js')))
  t.notOk(existsSync(place('dist', 'old', 'gone.d.ts')))
  writeFileSync(place('lib', 'kept.ts'), 'export const value: number = 2\n')
  t.equal((await before()).code, 0)
  t.match(readFileSync(place('dist', 'kept.js'), 'utf8'), 'value = 2')
})

t.test('a source that does not compile ends the run', async (t) => {
  writeFileSync(place('lib', 'wrong.ts'), 'export const value: number = true\n')
  const { code, said } = await before()
  t.equal(code, 1)
  t.match(said, /lib\/wrong\.ts.*TS2322/)
  t.match(said, /^no test ran: .*tsc.* failed$/m)
  rmSync(place('lib', 'wrong.ts'))
})

t.test('the addon is built with the settings its folder has; without one the run ends', async (t) => {
  mkdirSync(place('build'))
  writeFileSync(place('build', 'CMakeCache.txt'), '')
  t.strictSame(await before(), { code: 0, said: 'cmake --build build --parallel 2\n' })
  writeFileSync(place('broken'), '')
  const failed = await before()
  t.equal(failed.code, 1)
  t.match(failed.said, /^no test ran: cmake --build .* failed$/m)
  for (const name of ['broken', 'build', 'prebuilds']) rmSync(place(name), { recursive: true })
  t.strictSame(await before(), {
    code: 1,
    said: 'no test ran: the addon is not built yet: node scripts/build-addon.cjs test\n',
  })
})
