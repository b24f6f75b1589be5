// scripts/strict-tap.mjs, which CI reads every run's output with: what it permits, and what it does not let pass.
import t from 'tap'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { scratchFolder } from './fixtures/fake'

const ROOT = join(__dirname, '..')
const scratch = scratchFolder()

/** What it says of a log. */
function strict(log: string, ...permitted: string[]) {
  const file = join(scratch, 'log')
  writeFileSync(file, log)
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(ROOT, 'scripts/strict-tap.mjs'), file, ...permitted],
    { encoding: 'utf8' },
  )
  return { status, out: stdout, err: stderr.split('\n').filter((line) => line !== '') }
}

t.test("tap's own output", async (t) => {
  const test = join(scratch, 'some.test.cjs')
  writeFileSync(
    test,
    `const t = require(${JSON.stringify(require.resolve('tap'))})
     t.test('asserts', async (t) => { t.ok(true, 'an issue # 7') })
     t.test('empty loop', async (t) => { for (const one of []) t.ok(one) })
     t.test('outer', async (t) => {
       t.jobs = 2
       void t.test('inner', async (t) => { t.ok(true); await t.test('none', async () => {}) })
       void t.test('gone', { skip: 'no golden files here' }, async () => {})
     })
     t.test('bare', { skip: true }, async () => {})
     t.todo('later')
     t.ok(true, 'one assertion', { skip: 'no reason of ours' })`,
  )
  // A process of its own, whose output is TAP.
  const { stdout } = spawnSync(process.execPath, [test], { encoding: 'utf8', env: { ...process.env, TAP: '1' } })
  const { status, out, err } = strict(stdout, 'no golden files')
  t.equal(status, 1)
  t.equal(out, '1 skipped here: no golden files here\n')
  t.same(err.sort(), [
    'NOT PERMITTED: asserts nothing: empty loop',
    'NOT PERMITTED: asserts nothing: outer > inner > none',
    'NOT PERMITTED: skip, no reason of ours: one assertion',
    'NOT PERMITTED: skip, without a reason: bare',
    'NOT PERMITTED: todo, without a reason: later',
  ])
})

t.test('files, as the reporter prints them', async (t) => {
  const log = `TAP version 14
# Subtest: test/empty.test.ts
    1..0 # no tests found
ok 1 - test/empty.test.ts # SKIP no tests found

# Subtest: test/left.test.ts
    1..0 # this build holds no emulator
    # time=18.548ms
ok 2 - test/left.test.ts # SKIP this build holds no emulator

# Subtest: test/right.test.ts
    ok 1 - the skipped are skipped # time=3ms
    1..1
ok 3 - test/right.test.ts # time=68.621ms
1..3
`
  const { status, err } = strict(log, 'golden')
  t.equal(status, 1)
  t.same(err, [
    'NOT PERMITTED: skip, no tests found: test/empty.test.ts',
    'NOT PERMITTED: skip, this build holds no emulator: test/left.test.ts',
  ])
  t.same(strict(log, 'no emulator', 'no tests found'), {
    status: 0,
    out: '1 skipped here: no tests found\n1 skipped here: this build holds no emulator\n',
    err: [],
  })
})
