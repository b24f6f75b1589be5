// How far a restore is: counted in operations, reported within long stages too, and stopped there.
import t from 'tap'
import { IConFace, type Progress } from '../../dist/index.js'
import { loadAddon, type NativeSession, type RestoreJob } from '../../dist/native.js'
import { openCheckpoint } from '../../dist/checkpoint/open.js'
import { sizeWarnings } from '../../dist/picture/size.js'
import { sameBytes } from '../fixtures/bytes'
import { picture, QUICK, SANITIZED, tinyModel } from '../fixtures/tiny'

let folder: string
let session: NativeSession
t.before(async () => {
  folder = await tinyModel()
  session = new (loadAddon().Session)({ threads: 2, checkpoint: openCheckpoint(folder) })
  await session.load()
})
t.teardown(() => session.dispose())

const variant = { identity: true, structure: 'full', references: true } as const
const size = SANITIZED ? 64 : 128

function job(more: Partial<RestoreJob> = {}): RestoreJob {
  const pixels = [picture(1), picture(2)].map(({ data, width, height }) => ({
    data,
    width,
    height,
    channels: 3 as const,
  }))
  const out = new Uint8Array(size * size * 3)
  return { pixels, steps: 3, guidance: 4, seed: 1n, rng: 'torch-cpu', size, variant, out, ...more }
}

t.test('reports within stages, of operations that add up to what was planned', async (t) => {
  const seen: { stage: string; step: number; done: number }[] = []
  let plan: Readonly<Record<string, number>> = {}
  const running = session.restore(job({ reportEveryMs: 0 }), (stage, step, _steps, _elapsed, done, first) => {
    if (first) plan = first
    seen.push({ stage, step, done })
  })
  await running.promise
  t.same(Object.keys(plan), ['identity', 'encode', 'condition', 'sample', 'decode', 'compare'])
  for (const [stage, work] of Object.entries(plan)) {
    const reports = seen.filter((report) => report.stage === stage)
    t.ok(
      reports.every(({ done }, i) => done >= (reports[i - 1]?.done ?? 0)),
      `${stage}: never less than before`,
    )
    t.ok(reports.at(-1)!.done <= work * (1 + 1e-9), `${stage}: never more than planned`)
  }
  const within = (stage: string) =>
    new Set(seen.filter((report) => report.stage === stage).map(({ done }) => done)).size
  for (const stage of ['encode', 'sample', 'decode']) t.ok(within(stage) > 20, `${stage}: ${within(stage)} places`)
  const steps = seen.filter(({ stage }, i) => stage === 'sample' && seen[i + 1]?.step !== seen[i]!.step)
  t.equal(seen.findLast(({ stage }) => stage === 'sample')!.done, plan.sample, 'all of it at the last step')
  t.ok(steps.length > 0)
})

t.test('without time passing, only stages and steps are reported', async (t) => {
  const seen: string[] = []
  await session.restore(
    job({ reportEveryMs: 1 << 20 }),
    (stage, step, steps) => void seen.push(`${stage} ${step}/${steps}`),
  ).promise
  t.same(seen, [
    'prepare 0/1',
    'identity 0/1',
    'encode 0/2',
    'encode 1/2',
    'encode 2/2',
    'condition 0/1',
    'sample 0/3',
    'sample 1/3',
    'sample 2/3',
    'sample 3/3',
    'decode 0/1',
    'compare 0/1',
  ])
})

t.test('a job stops within an operation', async (t) => {
  const expected = job()
  await session.restore(expected, () => {}).promise
  for (const stage of ['encode', 'sample', 'decode']) {
    let reports = 0
    const running = session.restore(job({ reportEveryMs: 0 }), (at) => {
      if (at === stage && ++reports === 5) running.cancel()
    })
    await t.rejects(running.promise, { code: 'ERR_ICONFACE_ABORTED' }, stage)
    const again = job()
    await session.restore(again, () => {}).promise
    t.ok(sameBytes(again.out, expected.out), 'the next one is whole')
  }
})

t.test('operations and time are estimated', async (t) => {
  await using model = await IConFace.load(folder, { threads: 2, device: 'cpu' })
  const estimate = (more: object = {}) => model.estimate({ ...QUICK, ...more })
  const one = estimate()
  t.equal(one.milliseconds, null, 'before the first restore')
  t.ok(Number.isSafeInteger(one.operations) && one.operations > 0)
  const step = estimate({ steps: 3 }).operations - one.operations
  t.ok(step > 0)
  t.equal(estimate({ steps: 12 }).operations, one.operations + 10 * step, 'every step is as much work')
  t.ok(estimate({ guidance: 1 }).operations < one.operations - 0.4 * step * 2, 'half the branches')
  const [small, middle, large] = [32, 64, 128].map((size) => estimate({ size }).operations) as [number, number, number]
  t.ok(large - middle > 3.9 * (middle - small), 'grows at least as the pixels do')
  t.equal(one.total, one.mappedWeights! + one.privateWeights! + one.workspace)
  const seen: Progress[] = []
  await model.restore(picture(1), [], { ...QUICK, onProgress: (progress) => void seen.push(progress) })
  t.ok(estimate().milliseconds! > 0)
  t.ok(estimate({ steps: 100 }).milliseconds! > estimate().milliseconds!)
  const computing = seen.slice(seen.findIndex(({ stage }) => stage === 'condition'))
  t.ok(computing.every(({ etaMs, done }) => etaMs !== null && etaMs >= 0 && done > 0 && done <= 1))
  const second: Progress[] = []
  await model.restore(picture(1), [], { ...QUICK, onProgress: (progress) => void second.push(progress) })
  t.ok(
    second.filter(({ stage }) => stage !== 'read').every(({ etaMs }) => etaMs !== null),
    'known from the start',
  )
})

t.test('a size far from the model’s own is named', async (t) => {
  t.same(sizeWarnings(512, 512), [])
  t.same(sizeWarnings(1024, 512), [])
  t.same(sizeWarnings(256, 512), [])
  t.match(sizeWarnings(1040, 512), [
    { code: 'WARN_ICONFACE_SIZE', message: /size 1040 is far from the 512 pixels .* 4 times the work/ },
  ])
  t.match(sizeWarnings(4096, 128)[0]!.message, /size 4096 .* 128 pixels .* 1,024 times the work/)
  t.match(sizeWarnings(240, 512), [{ code: 'WARN_ICONFACE_SIZE', message: /size 240/ }])
  t.notMatch(sizeWarnings(240, 512)[0]!.message, /times/)
  await using model = await IConFace.load(folder, { threads: 1, device: 'cpu' })
  const trained = model.info.defaults.size
  const named = async (size: number) => {
    const { warnings } = await model.restore(picture(1, size), [], { steps: 1, guidance: 1, size })
    return warnings.filter(({ code }) => code === 'WARN_ICONFACE_SIZE').length
  }
  t.equal(await named(trained), 0)
  t.equal(await named(16), trained > 32 ? 1 : 0)
})
