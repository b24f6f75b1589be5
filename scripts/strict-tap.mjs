// What a passing run of tests may hide: tests that were skipped, and tests that asserted nothing.
//   node scripts/strict-tap.mjs LOG [reason...]   LOG is tap's output (--reporter=tap)
// A skip is permitted where its reason contains one of those given: what this machine is known to lack. Any other, a TODO,
// and a test without an assertion (a loop without an iteration, mostly) are listed, and the exit code is 1.
import { readFileSync } from 'node:fs'

const [log, ...permitted] = process.argv.slice(2)
const complaints = []
const skips = new Map()
/** Names of the tests that enclose a line, by depth. */
const names = []

for (const line of readFileSync(log, 'utf8').split('\n')) {
  const depth = /^ */.exec(line)[0].length / 4
  const text = line.trim()
  const where = (name) => [...names.slice(0, depth), name].filter((part) => part).join(' > ')

  const subtest = /^# Subtest: (.*)$/.exec(text)
  if (subtest) names.splice(depth, Infinity, subtest[1])
  if (text === '1..0') complaints.push(`asserts nothing: ${where()}`)

  const point = /^(?:not )?ok \d+(?: - (.*))?$/.exec(text)
  if (!point) continue
  const [, name = '', directive, reason] = /^(.*?)(?: # (SKIP|TODO)\b ?(.*?))?(?: # time=\S+)?(?: \{)?$/i.exec(
    point[1] ?? '',
  )
  if (text.endsWith('{')) names.splice(depth, Infinity, name) // a buffered test is named before what it encloses
  if (!directive) continue
  if (directive.toUpperCase() === 'SKIP' && reason && permitted.some((known) => reason.includes(known)))
    skips.set(reason, (skips.get(reason) ?? 0) + 1)
  else complaints.push(`${directive.toLowerCase()}, ${reason || 'without a reason'}: ${where(name)}`)
}

for (const [reason, count] of skips) console.log(`${count} skipped here: ${reason}`)
for (const complaint of complaints) console.error(`NOT PERMITTED: ${complaint}`)
process.exitCode = complaints.length > 0 ? 1 : 0
