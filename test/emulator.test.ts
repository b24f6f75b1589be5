// The emulator of CUDA: kernels with one planted bug each are caught, with a report that says what and where; without
// the bug there is none. Every order of threads gives the same report's kind and the same result.
import t from 'tap'
import { loadAddon, native } from '../dist/native.js'
import { f32, OpContext, toFloat32 } from '../dist/ops/index.js'
import { numbers, sameBits } from './fixtures/tensors'

const addon = loadAddon()
if (!addon.info().emulator) {
  t.plan(0, 'this build holds no emulator')
  process.exit(0)
}

const run = (name: string) => native(() => addon.runPlanted!(name))
const SEEDS = ['0', '1', '2', '31']
t.afterEach(() => void delete process.env.ICONFACE_EMULATOR_SEED)

const BUGS: Record<string, RegExp> = {
  'race: write, read':
    /race: (reads|writes) 4 bytes at shared\+0x[0-9a-f]+, which thread \(\d+, 0, 0\) (wrote|read) with no barrier between/,
  'race: warp barrier across warps':
    /race: (reads|writes) 4 bytes at shared\+0x[0-9a-f]+, which thread \(\d+, 0, 0\) (wrote|read) with no barrier between/,
  'race: read, write': /race: (writes|reads) 4 bytes at shared\+0x0, which .* with no barrier between/,
  'race: one half of a word':
    /race: (reads|writes) 2 bytes at shared\+0x[0-9a-f]+, which thread \(\d+, 0, 0\) (wrote|read) with no barrier between/,
  'race: a word and its half':
    /race: (reads 4|writes 2) bytes at shared\+0x[0-9a-f]+, which thread \(\d+, 0, 0\) (wrote|read) with no barrier between/,
  'outside global':
    /thread \(128, 0, 0\): writes 4 bytes at 0x[0-9a-f]+, outside every allocation of device memory, 4 bytes past the end of an allocation of 512/,
  'outside shared':
    /thread \(0, 0, 0\): writes 4 bytes at shared\+0x200, outside the block's 512 bytes of shared memory/,
  'host pointer': /reads 4 bytes at 0x[0-9a-f]+, outside every allocation of device memory/,
  'null pointer': /reads 4 bytes at \(nil\), outside every allocation of device memory/,
  'uninitialised shared': /thread \(63, 0, 0\): reads 4 bytes at shared\+0xfc, which nobody has written/,
  'uninitialised ldmatrix': /thread \(31, 0, 0\): reads 16 bytes at shared\+0x1fc, which nobody has written/,
  'barrier divergence: threads ended': /barrier divergence: it waits at __syncthreads .*has ended/,
  'barrier divergence: two barriers':
    /barrier divergence: it is at one __syncthreads, thread \(\d+, 0, 0\) of its warp at another/,
  'warp divergence':
    /warp divergence: (a shuffle|__ballot_sync) with mask 0xffffffff, while lane \d+ is in (a shuffle|__ballot_sync)/,
  'lanes ended': /a shuffle .*which has ended|waits for lane \d+, which has ended|it waits at a shuffle.* has ended/,
  deadlock: /(deadlock|barrier divergence): it waits at __\w+ .*while thread \(\d+, 0, 0\) waits at __\w+/,
  'misaligned vector': /misaligned access: .*float4.* at 0x[0-9a-f]+ is not aligned to 16 bytes, planted\.cu:\d+/,
  'misaligned copy': /cp\.async .*must be aligned to 16/,
  'copy without wait': /where a copy \(cp\.async\) of thread \(\d+, 0, 0\) is under way: a wait is missing/,
  'too many threads': /1025 x 1 x 1 threads .* is impossible/,
}

/** Between the two blocks of a cluster; which of them is seen to do it depends on the order. */
const CLUSTER_BUGS: Record<string, RegExp> = {
  'grid of half a cluster':
    /^kernel run_pairs.* \(planted\.cu:\d+\): a grid of 3 x 1 x 1 blocks is not to be had in clusters of 2/,
  'signal to no block': /block \([01], 0, 0\), thread \(0, 0, 0\): block [23] of a cluster of 2/,
  'signal before the barrier is made':
    /thread \(0, 0, 0\): (race: )?atomically changes 8 bytes at shared\+0x0 of block \([01], 0, 0\), which (nobody has written|thread \(0, 0, 0\) of block \([01], 0, 0\) wrote with no barrier between)/,
  'signal to a block that may have ended':
    /its block ends while thread \(0, 0, 0\) of block \([01], 0, 0\) may still touch its shared memory: a cluster_sync is missing|atomically changes 8 bytes of the shared memory of block \([01], 0, 0\), which has ended: a cluster_sync is missing/,
  'copy before the other block has read':
    /block \(0, 0, 0\), thread \(0, 0, 0\): race: writes 16 bytes at shared\+0x[0-9a-f]+ of block \(1, 0, 0\), which thread \(\d+, 0, 0\) of block \(1, 0, 0\) read with no barrier between|block \(1, 0, 0\), thread \(\d+, 0, 0\): race: reads 4 bytes at shared\+0x[0-9a-f]+, which thread \(0, 0, 0\) of block \(0, 0, 0\) wrote with no barrier between/,
}

for (const [name, report] of Object.entries(CLUSTER_BUGS))
  t.test(`caught in a cluster: ${name}`, async (t) => {
    for (const seed of SEEDS) {
      process.env.ICONFACE_EMULATOR_SEED = seed
      t.throws(() => run(name), { code: 'ERR_ICONFACE_CUDA', message: report }, `seed ${seed}`)
    }
  })

for (const [name, report] of Object.entries(BUGS))
  t.test(`caught: ${name}`, async (t) => {
    for (const seed of SEEDS) {
      process.env.ICONFACE_EMULATOR_SEED = seed
      t.throws(() => run(name), { code: 'ERR_ICONFACE_CUDA', message: report }, `seed ${seed}`)
      t.throws(() => run(name), {
        message: /^kernel run.* \(planted\.cu:\d+\), block \(0, 0, 0\), thread|^kernel run.* is impossible/,
      })
    }
  })

for (const name of [
  'barrier',
  'warp barrier within a warp',
  'overwrite',
  'halves of a word',
  'global',
  'shared',
  'initialised',
  'matrices',
  'all at the barrier',
  'aligned vector',
  'copy and wait',
  "signals between clusters' syncs",
  'signals waited for',
  'copies to a cluster',
])
  t.test(`nothing to report: ${name}`, async (t) => {
    for (const seed of SEEDS) {
      process.env.ICONFACE_EMULATOR_SEED = seed
      t.doesNotThrow(() => run(`right: ${name}`), `seed ${seed}`)
    }
  })

t.test('the order of threads does not change a result', async (t) => {
  const x = numbers(1).tensor([3001])
  await using ops = new OpContext({ device: 'cuda-emulated', threads: 2 })
  const results = []
  for (const seed of SEEDS) {
    process.env.ICONFACE_EMULATOR_SEED = seed
    results.push((await ops.run('silu', { x })).out)
  }
  for (const out of results) t.ok(sameBits(out, results[0]!))
})

t.test('every CUDA call fails in turn: one clear error, nothing kept, and the next run works', async (t) => {
  const x = f32([3], [1, 2, 3])
  const held = () => {
    const { heldBytes, deviceHeldBytes } = addon.info().memory
    return { heldBytes, deviceHeldBytes }
  }
  const before = held()
  let calls = 0
  for (let n = 1; ; n++) {
    const ops = new OpContext({ device: 'cuda-emulated', threads: 1 })
    addon.failCudaCall!(n)
    const error = await ops.run('silu', { x }).then(
      () => null,
      (error: unknown) => error as { code: string },
    )
    addon.failCudaCall!(0)
    const again = await ops.run('silu', { x })
    t.ok(Math.abs(toFloat32(again.out)[0]! - 0.7310586) < 1e-6, 'the next run works')
    await ops.dispose()
    t.strictSame(held(), before, `call ${n}: nothing is kept`)
    if (error === null) break
    t.match(error.code, /^ERR_ICONFACE_(CUDA|OUT_OF_MEMORY|DEVICE_UNAVAILABLE)$/, `call ${n}`)
    calls++
  }
  t.ok(calls >= 15, `${calls} calls`)
})

t.test('what has no kernel says so', async (t) => {
  await using ops = new OpContext({ device: 'cuda-emulated' })
  await t.rejects(ops.run('silu', { x: f32([2], [1, NaN]), y: f32([1], [1]) } as never), { message: /tensor 'y'/ })
  t.throws(() => new OpContext({ device: 'gpu' }), { code: 'ERR_ICONFACE_INVALID_ARGUMENT' })
})
