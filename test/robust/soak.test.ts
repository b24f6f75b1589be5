// The soak (tools/soak) itself: what it records of short runs, and that all of its parts hold.
import t, { type Test } from 'tap'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { onlyFull } from '../fixtures/tier'

const SOAK = join(__dirname, '..', '..', 'tools', 'soak', 'main.mjs')

async function soak(t: Test, args: string[]) {
  const child = spawn(process.execPath, [SOAK, ...args])
  let text = ''
  child.stdout.on('data', (chunk) => (text += String(chunk)))
  child.stderr.on('data', (chunk) => (text += String(chunk)))
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  t.comment(text)
  return { code, text }
}

const records = (file: string) =>
  readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)

t.test('a record for every part, and a table of them', async (t) => {
  const out = join(t.testdir({}), 'soak.jsonl')
  const few = ['restores', 'aborts', 'images']
  const all = await soak(t, ['--what', few.join(), '--scale', '0.002', '--out', out])
  t.equal(all.code, 0)
  t.same(
    records(out).map(({ part }) => part),
    few,
  )
  for (const record of records(out))
    t.match(record, { ok: true, scale: 0.002, date: /^20/, node: process.version, cpu: /core/ })
  const { text, code } = await soak(t, ['--summary', '--out', out])
  t.equal(code, 0)
  for (const part of few) t.match(text, new RegExp(`^\\| ${part}( under ASan)? \\|.*\\| yes \\|`, 'm'))
})

t.test('what it does not know it refuses', async (t) => {
  for (const args of [
    ['--what', 'dancing'],
    ['--scale', '0'],
    ['--scale', 'x'],
  ]) {
    const { code, text } = await soak(t, args)
    t.equal(code, 2)
    t.match(text, /--scale is a positive number; --what is of restores,/)
  }
})

t.test('every part, briefly', onlyFull, async (t) => {
  const out = join(t.testdir({}), 'soak.jsonl')
  const { code, text } = await soak(t, ['--scale', '0.01', '--out', out])
  t.equal(code, 0)
  t.notMatch(text, /FAILED/)
  t.ok(records(out).length >= 14, `${records(out).length} parts`)
})
