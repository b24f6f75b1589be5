// How long the rest of a restore takes, told by a made-up clock.
import t, { type Test } from 'tap'
import { Pace } from '../dist/util/pace.js'

const plan = { identity: 10, encode: 300, condition: 10, sample: 1200, decode: 250 }
/** Operations per millisecond of each stage: they differ by far more than on a real machine. */
const rates: Record<string, number> = { identity: 1, encode: 10, condition: 1, sample: 2, decode: 5 }
const took = (stage: keyof typeof plan) => plan[stage] / rates[stage]!
const whole = Object.keys(plan).reduce((ms, stage) => ms + took(stage as keyof typeof plan), 0)

/** Reports as a restore makes them: at the beginning of each stage, then at every `pieces`-th of it. */
function* reports(pieces: number) {
  let elapsed = 0
  for (const stage of ['prepare', ...Object.keys(plan)]) {
    const work = plan[stage as keyof typeof plan] ?? 0
    yield { stage, done: 0, elapsed, left: whole - elapsed }
    if (work === 0) continue
    for (let i = 1; i <= pieces; i++) {
      const at = elapsed + (took(stage as keyof typeof plan) * i) / pieces
      yield { stage, done: (work * i) / pieces, elapsed: at, left: whole - at }
    }
    elapsed += took(stage as keyof typeof plan)
  }
}

const close = (t: Test, found: number | null, expected: number, what: string) =>
  t.ok(found !== null && Math.abs(found - expected) < 1e-6 * whole, `${what}: ${found} for ${expected}`)

t.test('nothing is known before the first operation', async (t) => {
  const pace = new Pace()
  t.equal(pace.milliseconds(plan), null)
  const course = pace.follow(plan)
  t.same(course.at('prepare', 0, 0), { done: 0, etaMs: null })
  t.same(course.at('identity', 0, 3), { done: 0, etaMs: null })
  t.same(course.at('identity', 5, 8), { done: 5 / 1770, etaMs: 1765 }, 'then one rate is taken for all')
  t.equal(pace.milliseconds(plan), null, 'a restore that has not ended a stage teaches nothing')
})

t.test('the second restore knows every stage', async (t) => {
  const pace = new Pace()
  const first = pace.follow(plan)
  for (const { stage, done, elapsed } of reports(3)) first.at(stage, done, elapsed)
  first.end(whole)
  close(t, pace.milliseconds(plan), whole, 'all of it, beforehand')
  close(t, pace.milliseconds({ ...plan, sample: 2400 }), whole + took('sample'), 'twice the steps')
  const second = pace.follow(plan)
  let before = 0
  for (const { stage, done, elapsed, left } of reports(4)) {
    const distance = second.at(stage, done, elapsed)
    close(t, distance.etaMs, left, `${stage} ${done}`)
    t.ok(distance.done >= before && distance.done <= 1, `${distance.done} of it`)
    before = distance.done
  }
  t.equal(before, 1)
})

t.test('while pictures are encoded the first time, the estimate is of the right size', async (t) => {
  const course = new Pace().follow({ encode: 300, sample: 1200, decode: 250 })
  course.at('encode', 0, 1000)
  for (const picture of [1, 2, 3]) {
    // 100 operations take 100 ms; what is to come does as many in a millisecond.
    const { etaMs } = course.at('encode', 100 * picture, 1000 + 100 * picture)
    t.equal(etaMs, 1750 - 100 * picture, `after picture ${picture}`)
  }
  t.equal(course.at('sample', 0, 1300).etaMs, 1450)
  t.equal(course.at('sample', 600, 1900).etaMs, 850)
})

t.test('this restore counts more than the last one', async (t) => {
  const pace = new Pace()
  const first = pace.follow({ sample: 100 })
  first.at('sample', 0, 0)
  first.end(100)
  const slower = pace.follow({ sample: 100 })
  t.equal(slower.at('sample', 0, 0).etaMs, 100)
  t.equal(slower.at('sample', 50, 150).etaMs, 150)
})

t.test('stages that never come, clocks that stand and empty plans', async (t) => {
  const pace = new Pace()
  t.same(pace.follow({}).at('decode', 0, 5), { done: 0, etaMs: 0 })
  const course = pace.follow({ decode: 10, compare: 10 })
  course.at('decode', 0, 7)
  t.same(course.at('decode', 10, 7), { done: 0.5, etaMs: null }, 'no time has passed')
  course.end(7)
  t.equal(pace.milliseconds({ decode: 10 }), null)
})
