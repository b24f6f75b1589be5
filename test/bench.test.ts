// iconface bench, on shapes that take no time: that everything is measured, checked and written down.
import t from 'tap'
import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import sharp from 'sharp'
import { FAMILIES } from '../dist/bench/families.js'
import { NETWORK_NAMES } from '../dist/bench/networks.js'
import type { Report } from '../dist/bench/suite.js'
import { f32, OpContext } from '../dist/ops/index.js'
import { needsEmulator } from './fixtures/tensors'
import { full, onlyFull } from './fixtures/tier'

const MAIN = join(__dirname, '..', 'dist', 'cli', 'main.js')
const END = join(__dirname, 'fixtures', 'end-at-sync.cjs')
const scratch = mkdtempSync(join(tmpdir(), 'iconface-bench-test-'))
t.teardown(() => rmSync(scratch, { recursive: true, force: true }))

const bench = (...args: string[]) => promisify(execFile)(process.execPath, [MAIN, 'bench', ...args], { cwd: scratch })

t.test('--all --quick: table, JSON and plot', async (t) => {
  const { stdout } = await bench('--all', '--quick', '--threads', '2', '--json', 'all.json', '--plot', 'all.png')
  t.match(stdout, /^linear +64x96x64 +bf16 .* GFLOP\/s +\d+ % +\d+ % +\d+e-\d+ +\d+ %$/m)
  t.match(stdout, /^layer_norm_modulate .* GB\/s/m)
  t.match(stdout, /^memory of one bf16 forward: peak .* beside them$/m)
  t.match(stdout, /^restore, tiny model, 64 px, 4 steps: .*; outside the networks .* ms$/m)
  t.notMatch(stdout, /WRONG|NaN/)

  const report = JSON.parse(readFileSync(join(scratch, 'all.json'), 'utf8')) as Report
  t.match(report, {
    format: 1,
    finished: true,
    date: /^\d{4}-\d\d-\d\dT/,
    threads: 2,
    isa: String,
    load: { before: Number },
  })
  t.match(report.machine, { processor: String, cores: Number, node: process.version, package: String })
  t.ok(report.limits.flops.f32 > 0 && report.limits.flops.bf16 > 0 && report.limits.copy! > 0, 'limits')
  t.same(
    [...new Set(report.rows.map(({ name }) => name))].sort(),
    FAMILIES.map(({ name }) => name)
      .filter((name) => name !== 'quantise_rows') // fp8 alone
      .concat(NETWORK_NAMES)
      .sort(),
  )
  for (const row of report.rows) {
    t.ok(
      row.correct &&
        row.others! >= 0 &&
        row.alone! > 0 &&
        row.min <= row.median &&
        row.median <= row.max &&
        row.runs >= 3,
      `${row.name} ${row.precision}`,
    )
    t.equal(row.fraction, row.work.amount / row.median / row.limit)
  }
  t.match(report.restores, [{ references: 1, size: 32, repeatable: true, correct: true, difference: null }])
  t.ok(report.host!.wall > report.host!.outside && report.host!.readFile.busyMedian > 0)
  const { width, height } = await sharp(join(scratch, 'all.png')).metadata()
  t.ok(width! > 1000 && height! > 500, 'a picture')
})

t.test('one operation, its own shape', async (t) => {
  const { stdout } = await bench('attention', '--shape', '5x7x1x16', '--precision', 'f32', '--quick')
  t.match(stdout, /^attention +5x7x1x16 +f32 /m)
  t.equal(stdout.match(/FLOP\/s +\d+ %/g)!.length, 1)
})

/** Ends a run at the `at`-th time that it writes its record: the limits are 1, the first case is 2. */
function endedAt(at: number, how: string, ...args: string[]) {
  const child = spawnSync(process.execPath, ['--require', END, MAIN, 'bench', ...args, '--quick', '--threads', '1'], {
    cwd: scratch,
    encoding: 'utf8',
    env: { ...process.env, END_AT: String(at), END_HOW: how },
  })
  return { ending: child.signal ?? child.status, err: child.stderr, out: child.stdout }
}

const record = (file: string) => JSON.parse(readFileSync(join(scratch, file), 'utf8')) as Report

t.test('cut off after N cases: N are in the JSON', async (t) => {
  const args = ['linear', 'flow_step', 'restore', '--precision', 'f32', '--json', 'cut.json']
  const names = ['linear', 'flow_step']
  const cuts = [
    [3, 1, 0],
    [5, 2, 1],
    [2, 0, 0],
    [4, 2, 0],
  ] as const
  for (const [at, rows, restores] of full ? cuts : cuts.slice(0, 1)) {
    writeFileSync(join(scratch, 'cut.json'), '{ "finished": true, "rows": "of an earlier run" }')
    const { ending, err } = endedAt(at, 'SIGKILL', ...args)
    t.equal(ending, 'SIGKILL', err)
    const report = record('cut.json')
    t.match(report, {
      format: 1,
      finished: false,
      machine: { node: process.version },
      limits: { flops: { f32: Number } },
    })
    t.same(
      report.rows.map(({ name }) => name),
      names.slice(0, rows),
      `${rows} rows`,
    )
    t.equal(report.restores.length, restores)
    for (const row of [...report.rows, ...report.restores]) t.ok(row.correct)
  }
  t.equal(endedAt(6, 'SIGKILL', ...args).ending, 0, 'there are no more')
  t.match(record('cut.json'), { finished: true, rows: [{ name: 'linear' }, { name: 'flow_step' }], restores: [{}] })
})

t.test('cut off among the networks; memory and the copy follow when they are known', onlyFull, async (t) => {
  const args = ['forward', 'flow_step', '--precision', 'f32', '--json', 'networks.json']
  t.equal(endedAt(8, 'SIGKILL', ...args).ending, 'SIGKILL') // six files are the model's
  t.match(record('networks.json'), { finished: false, limits: { copy: null }, memory: null, rows: [] })
  t.equal(endedAt(9, 'SIGKILL', ...args).ending, 'SIGKILL')
  t.match(record('networks.json'), {
    finished: false,
    limits: { copy: null },
    memory: { peak: Number },
    rows: [{ name: 'forward' }],
  })
  t.equal(record('networks.json').rows.length, 1)
})

t.test('Ctrl-C keeps what is there', async (t) => {
  const { ending, err } = endedAt(2, 'SIGINT', 'linear', 'flow_step', '--precision', 'f32', '--json', 'stopped.json')
  t.equal(ending, 130)
  t.match(err, /^iconface: ERR_ICONFACE_ABORTED: interrupted$/m)
  t.match(record('stopped.json'), { finished: false, rows: [{ name: 'linear' }] })
  t.equal(record('stopped.json').rows.length, 1)
})

t.test('a pipe gets the JSON once, whole', { skip: process.platform === 'win32' }, async (t) => {
  await promisify(execFile)('mkfifo', [join(scratch, 'pipe')])
  const reader = promisify(execFile)('cat', [join(scratch, 'pipe')])
  await bench('linear', 'flow_step', '--precision', 'f32', '--quick', '--threads', '1', '--json', 'pipe')
  t.match(JSON.parse((await reader).stdout), { finished: true, rows: [{ name: 'linear' }, { name: 'flow_step' }] })
})

t.test('a device: its own clock and limits, results checked', needsEmulator, async (t) => {
  const all = ['linear', 'linear_gated', 'attention', 'lowrank', 'conv', 'modulate', 'flow-step', 'encode']
  const names = full ? all : ['linear', 'conv', 'flow-step']
  const options = ['--device', 'cuda-emulated', '--quick', '--threads', '2', '--json', 'gpu.json', '--plot', 'gpu.png']
  const { stdout } = await bench(...names, ...options)
  t.match(stdout, /^cuda-emulated, emulated on the CPU; arithmetic without memory: f32 .* bf16 .*FLOP\/s$/m)
  t.match(stdout, /^linear +64x96x64 +bf16 .* GFLOP\/s +\d+ % +- +\d+e-\d+ +-$/m)
  t.notMatch(stdout, /WRONG|NaN/)
  const report = JSON.parse(readFileSync(join(scratch, 'gpu.json'), 'utf8')) as Report
  t.match(report, { device: { device: 'cuda-emulated', capability: null }, host: null, memory: null, restores: [] })
  t.ok(report.limits.flops.f32 > 0 && report.limits.flops.bf16 > 0 && report.limits.copy! > 0)
  t.same(
    report.rows.map(({ name, precision }) => `${name} ${precision}`),
    full
      ? [
          'encode bf16',
          'linear bf16',
          'linear_gated bf16',
          'attention bf16',
          'lowrank_cross_attention bf16',
          'conv2d bf16',
          'layer_norm_modulate bf16',
          'qk_norm_rope bf16',
          'flow_step f32',
        ]
      : ['linear bf16', 'conv2d bf16', 'flow_step f32'],
    'groups are spelt out; bf16, and f32 for what knows no other',
  )
  for (const { name, correct, error, median, others, alone } of report.rows) {
    t.ok(correct && error! > 0 && error! < 1.5e-2 && median > 0 && others === null && alone === null, name)
  }
  t.ok((await sharp(join(scratch, 'gpu.png')).metadata()).height! > 200, 'a picture')
})

t.test(
  'fp8 where it is asked for: what its rounding costs',
  { skip: onlyFull.skip || needsEmulator.skip },
  async (t) => {
    const names = ['linear', 'linear_swiglu', 'linear_gated', 'quantise_rows', 'conv', 'forward', 'encode']
    const options = [
      '--device',
      'cuda-emulated',
      '--precision',
      'fp8',
      '--quick',
      '--threads',
      '2',
      '--json',
      'fp8.json',
    ]
    const { stdout } = await bench(...names, ...options, '--plot', 'fp8.png')
    t.match(stdout, /arithmetic without memory: f32 .* bf16 .* fp8 .*FLOP\/s$/m)
    t.notMatch(stdout, /WRONG|NaN/)
    const report = JSON.parse(readFileSync(join(scratch, 'fp8.json'), 'utf8')) as Report
    t.ok(report.limits.flops.fp8! > 0)
    t.same(
      report.rows.map(({ name, precision }) => `${name} ${precision}`),
      ['forward fp8', 'linear fp8', 'linear_swiglu fp8', 'linear_gated fp8', 'quantise_rows fp8'],
      'nothing that knows no fp8',
    )
    for (const { name, error } of report.rows) {
      if (name.startsWith('linear_')) continue
      const [least, most] = name === 'quantise_rows' ? [0, 1e-6] : [0.01, 0.1]
      t.ok(error! > least && error! < most, `${name}: ${error}`)
    }
    t.ok((await sharp(join(scratch, 'fp8.png')).metadata()).height! > 200, 'a picture')
    await t.rejects(bench('linear', '--precision', 'fp8'), {
      code: 2,
      stderr: /a GPU for fp8 for --device but received "cpu"/,
    })
  },
)

t.test('runs in place on a device begin afresh, or with rotate go on', needsEmulator, async (t) => {
  await using ops = new OpContext({ device: 'cuda-emulated' })
  const [latents, uPrompt] = [f32([64, 64], Array(4096).fill(1)), f32([64, 64], Array(4096).fill(1))]
  const run = async (params: { repeat: number; rotate?: boolean }) => {
    const results = await ops.run('flow_step', { latents, uPrompt }, { step: 1, ...params })
    t.equal(results.seconds.data.length, params.repeat)
    return results.latents.data[0]
  }
  t.equal(await run({ repeat: 3 }), 2)
  t.equal(await run({ repeat: 1, rotate: true }), 2)
  // The emulated cache holds 64 KiB, the operands 48: three places, so the seventh run is the third in its place.
  t.equal(await run({ repeat: 7, rotate: true }), 4)
})

t.test('wrong usage', async (t) => {
  const fails = (line: RegExp, ...args: string[]) => t.rejects(bench(...args), { code: 2, stderr: line })
  await fails(/the name of a benchmark but received "liner"/, 'liner')
  await fails(/'cpu', 'cuda' or 'cuda:<number>' for device but received "gpu"/, 'linear', '--device', 'gpu')
  await fails(/whole numbers tokens x outputs x inputs, such as 64x96x64, for --shape/, 'linear', '--shape', '4x4')
  await fails(/one operation named before it for --shape/, '--shape', '4x4x4')
})
