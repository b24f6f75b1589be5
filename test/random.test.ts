// What a seed means is frozen: every draw of the generator of portraits and degradations, as another implementation of
// sfc32, of Marsaglia's method and of PTRS gave it (in Python, written from their publications).
import t from 'tap'
import { Random } from '../dist/util/random.js'

const times = <T>(count: number, draw: () => T): T[] => Array.from({ length: count }, draw)

t.test('bits, by seed and purpose', async (t) => {
  const bits = (seed: number, purpose: string) => {
    const random = new Random(seed, purpose)
    return times(4, () => random.bits())
  }
  t.same(bits(0, 'frozen'), [1761398673, 2859849052, 2456285204, 2668253140])
  t.same(bits(1, 'frozen'), [3750001728, 2479043891, 4274698712, 778989375])
  t.same(bits(2 ** 53 - 1, 'frozen'), [2571643278, 3371050513, 478962271, 3877629303])
  t.notSame(bits(0, 'other'), bits(0, 'frozen'))
})

t.test('every kind of draw, one after the other', async (t) => {
  const random = new Random(7, 'frozen')
  t.same(
    times(3, () => random.uniform(-1, 3)),
    [1.6428663553670049, 0.25085271149873734, 1.4797451552003622],
  )
  t.same(
    times(8, () => random.index(10)),
    [9, 6, 8, 8, 4, 8, 2, 4],
  )
  t.same(
    times(8, () => random.chance(0.3)),
    [false, false, false, false, false, false, false, true],
  )
  t.same(
    times(8, () => random.weighted([1, 0, 2, 5])),
    [3, 0, 3, 3, 2, 3, 3, 3],
  )
  t.same(
    times(8, () => random.pick({ a: 3, b: 1, c: 2 })),
    ['a', 'a', 'c', 'a', 'a', 'b', 'c', 'c'],
  )
  t.same(random.shuffle([1, 2, 3, 4, 5, 6, 7]), [7, 6, 1, 5, 4, 2, 3])
  t.same(
    times(2, () => random.bell()),
    [0.19134394964203238, -0.5606149402447045],
  )
  const normals = [
    0.0021495868975938393, 1.1883975709514798, -0.007499387009011306, 2.3934547810834106, 0.304151484596914,
  ]
  for (const expected of normals) t.ok(Math.abs(random.normal() - expected) < 1e-12, `${expected}`)
  t.same(
    times(8, () => random.poisson(3)),
    [1, 0, 1, 2, 5, 8, 5, 5],
  )
  t.same(
    times(8, () => random.poisson(40)),
    [41, 40, 36, 44, 45, 40, 32, 33],
  )
  t.equal(random.branch().bits(), 1266687337)
  t.equal(random.bits(), 1201194003)
})

t.test('ends of ranges', async (t) => {
  const random = new Random(1, 'ends')
  const draws = times(5000, () => [random.uniform(2, 3), random.index(3), random.bell(), random.weighted([0, 1, 0])])
  t.ok(draws.every(([uniform]) => uniform! >= 2 && uniform! < 3))
  t.same([...new Set(draws.map(([, index]) => index))].sort(), [0, 1, 2])
  t.ok(draws.every(([, , bell]) => bell! >= -1 && bell! <= 1))
  t.ok(
    draws.every(([, , , weighted]) => weighted === 1),
    'what weighs nothing is never drawn',
  )
  t.notOk(times(100, () => random.chance(0)).includes(true))
  t.notOk(times(100, () => random.chance(1)).includes(false))
})
