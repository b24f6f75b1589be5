// The comparison with golden files: of all of them where they are, in the full tier, and of its own parts everywhere.
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { writeSafetensors } from '../dist/formats/safetensors-writer.js'
import { compareFile, filesIn } from '../tools/parity/compare'
import { fnv1a64, splitMix64 } from '../tools/parity/formula'
import { KIND_NAMES } from '../tools/parity/kinds'
import { difference, judge } from '../tools/parity/sheet'
import { GOLDEN, needsGolden } from './fixtures/golden'
import { onlyFull } from './fixtures/tier'

const REFERENCE = join(__dirname, 'fixtures', 'reference')
const NUMPY = spawnSync('python3', ['-c', 'import numpy']).status === 0

const ALL = { precisions: ['f32', 'bf16'] as const, verbose: true }

void t.test('golden files', { skip: needsGolden.skip || onlyFull.skip }, async (t) => {
  let judged = 0
  for (const file of filesIn([GOLDEN!])) {
    const { kind, rows, skipped } = await compareFile(file, ALL)
    if (skipped !== undefined) {
      t.not(kind, 'unknown', `${file} is of a known kind`)
      continue
    }
    for (const { precision, output, relative, absolute, verdict, note } of rows) {
      if (verdict === 'info') continue
      judged++
      t.not(verdict, 'FAIL', `${kind} ${precision} ${output}: ${relative} relative, ${absolute} absolute ${note ?? ''}`)
    }
  }
  t.ok(judged > 0, `${judged} comparisons`)
})

void t.test('reference tensors of this repository', async (t) => {
  const kinds = new Set<string>()
  for (const file of filesIn([REFERENCE])) {
    const { kind, rows, skipped } = await compareFile(file, ALL)
    t.equal(skipped, undefined, `${file} is compared`)
    kinds.add(kind)
    const judged = rows.filter(({ verdict }) => verdict !== 'info')
    t.ok(judged.length > 0, `${kind}: ${judged.length} comparisons`)
    for (const { precision, output, relative, absolute, verdict, note } of judged)
      t.equal(
        verdict,
        'pass',
        `${kind} ${precision} ${output}: ${relative} relative, ${absolute} absolute ${note ?? ''}`,
      )
  }
  t.strictSame([...kinds].sort(), KIND_NAMES, 'there is a file of every kind that is compared')
})

void t.test(
  'reference tensors are what their script computes',
  { skip: NUMPY ? false : 'numpy is not installed' },
  (t) => {
    const { status, stdout, stderr } = spawnSync('python3', ['-B', join(REFERENCE, 'make'), '--check'], {
      encoding: 'utf8',
    })
    t.equal(status, 0, stdout + stderr)
    t.end()
  },
)

void t.test('differences', (t) => {
  t.same(difference([3, 4], [3, 4]), { relative: 0, absolute: 0, share: 0 })
  t.same(difference([3, 5], [3, 4]), { relative: 0.2, absolute: 1, share: 0.5 })
  t.same(difference([0, 0], [0, 0]), { relative: 0, absolute: 0, share: 0 })
  t.equal(difference([1], [0]).relative, Infinity)
  for (const [actual, expected] of [
    [[NaN], [1]],
    [[1], [NaN]],
    [[1, 2], [1]],
  ] as const) {
    const found = difference(actual, expected)
    t.equal(judge(found, { relative: 1e9 }), 'FAIL')
    t.equal(judge(found, null), 'FAIL', 'not even without a limit')
  }
  t.equal(judge({ relative: 2e-5, absolute: 1, share: 1 }, { relative: 2e-5 }), 'pass')
  t.equal(judge({ relative: 2.1e-5, absolute: 0, share: 1 }, { relative: 2e-5 }), 'FAIL')
  t.equal(judge({ relative: 0, absolute: 1, share: 0.006 }, { absolute: 1, share: 0.005 }), 'FAIL')
  t.equal(judge({ relative: 1, absolute: 1, share: 1 }, null), 'info')
  t.end()
})

void t.test('formula weights are SplitMix64 and FNV-1a', (t) => {
  t.equal(fnv1a64(''), 0xcbf29ce484222325n)
  t.equal(fnv1a64('a'), 0xaf63dc4c8601ec8cn)
  const mask = (1n << 64n) - 1n
  const exact = (seed: bigint, i: bigint) => {
    let z = (seed + (i + 1n) * 0x9e3779b97f4a7c15n) & mask
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask
    return z ^ (z >> 31n)
  }
  for (const seed of [0n, 1n, 0xffffffffn, 0xcbf29ce484222325n, mask]) {
    const found: bigint[] = []
    splitMix64(seed, 5, 200, (upper, lower) => found.push((BigInt(upper >>> 0) << 32n) | BigInt(lower >>> 0)))
    t.same(
      found,
      Array.from({ length: 200 }, (_, i) => exact(seed, BigInt(i + 5))),
      `seed ${seed}`,
    )
  }
  t.end()
})

void t.test('the command', async (t) => {
  const folder = t.testdir({ 'unknown.json': '{"a":1}' })
  const run = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', join(__dirname, '..', 'tools', 'parity', 'main.ts'), ...args],
      { cwd: join(__dirname, '..'), encoding: 'utf8' },
    )
    return { status, stdout, stderr }
  }
  const noise = (value: number) => ({
    name: 'output.torch_cpu.seed7',
    dtype: 'F32' as const,
    shape: [3],
    data: new Float32Array(3).fill(value),
  })
  await writeSafetensors(join(folder, 'noise.safetensors'), [noise(0.5)], { kind: 'randn' })
  const wrong = run(folder)
  t.equal(wrong.status, 1)
  t.match(wrong.stdout, /seed7 .* FAIL/)
  t.match(wrong.stdout, /unknown\.json \(unknown\): skipped/)
  t.match(wrong.stdout, /0 of 1 comparisons/)

  await writeSafetensors(join(folder, 'later.safetensors'), [noise(0)], { case: 'later' })
  const skipped = run(join(folder, 'later.safetensors'))
  t.equal(skipped.status, 1, 'skipping is not passing')
  t.match(skipped.stdout, /later\.safetensors \(later\): skipped/)
  t.match(skipped.stdout, /nothing was compared/)

  await writeSafetensors(join(folder, 'vae.safetensors'), [noise(0)], { case: 'vae' })
  const broken = run('--json', join(folder, 'vae.safetensors'))
  t.equal(broken.status, 1)
  t.match(JSON.parse(broken.stdout), [
    { kind: 'vae', rows: [{ verdict: 'FAIL', note: /config/ }, { precision: 'bf16' }] },
  ])
  writeFileSync(join(folder, 'cut.safetensors'), 'abc')
  t.match(run(join(folder, 'cut.safetensors')).stdout, /cut\.safetensors \(unreadable\)[^]*no valid safetensors file/)

  for (const args of [
    ['--bogus'],
    ['--precision', 'f16'],
    ['--threads', '0'],
    ['--isa', 'mmx'],
    [join(folder, 'none')],
  ]) {
    t.match(run(...args), { status: 2, stderr: /^parity: ERR_ICONFACE_INVALID_ARGUMENT/ }, args.join(' '))
  }
  t.match(run('--help'), { status: 0, stdout: /Usage: npm run parity/ })
})
