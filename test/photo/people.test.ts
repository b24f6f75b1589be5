// Who is who: the best assignment, against all of them tried out.
import t from 'tap'
import { matchPeople, meanFace, similarityOf } from '../../dist/photo/people.js'
import { Random } from '../../dist/util/random.js'

/** The largest sum of what similarities are above `least`, of all ways to give people to faces. */
function bestSum(similarities: readonly number[][], least: number, taken = new Set<number>(), face = 0): number {
  if (face === similarities.length) return 0
  let best = bestSum(similarities, least, taken, face + 1)
  for (const [person, similarity] of similarities[face]!.entries()) {
    if (taken.has(person) || similarity < least) continue
    const rest = bestSum(similarities, least, new Set([...taken, person]), face + 1)
    best = Math.max(best, similarity - least + rest)
  }
  return best
}

t.test('no assignment is better, nobody has two faces, and no pair is below the threshold', (t) => {
  const random = new Random(5, 'people')
  for (let round = 0; round < 400; round++) {
    const [faces, people] = [random.index(6), 1 + random.index(4)]
    const similarities = Array.from({ length: faces }, () =>
      Array.from({ length: people }, () => Math.round(20 * random.uniform(-1, 1)) / 20),
    )
    const least = 0.2
    const persons = matchPeople(similarities, least)
    const named = persons.filter((person) => person !== null)
    const sum = persons.reduce<number>((s, p, face) => s + (p === null ? 0 : similarities[face]![p]! - least), 0)
    const right =
      persons.length === faces &&
      new Set(named).size === named.length &&
      persons.every((p, face) => p === null || similarities[face]![p]! >= least) &&
      Math.abs(sum - bestSum(similarities, least)) < 1e-9
    if (!right) t.fail(JSON.stringify({ similarities, persons }))
  }
  t.pass('400 random photographs')
  t.end()
})

t.test('relatives: the most similar pair may have to wait', (t) => {
  // The first face resembles the mother most, but the second can be nobody else.
  const similarities = [
    [0.62, 0.6],
    [0.61, 0.1],
  ]
  t.same(matchPeople(similarities, 0.2), [1, 0])
  t.same(matchPeople([[0.1], [0.19]], 0.2), [null, null], 'nobody below the threshold')
  t.same(matchPeople([[0.2]], 0.2), [0], 'at the threshold')
  t.same(matchPeople([], 0.2), [])
  t.end()
})

t.test('similarity of embeddings', (t) => {
  const [a, b] = [Float32Array.of(2, 0), Float32Array.of(0, 3)]
  t.equal(similarityOf(a, Float32Array.of(5, 0)), 1)
  t.equal(similarityOf(a, b), 0)
  t.equal(similarityOf(a, Float32Array.of(0, 0)), 0, 'nobody')
  t.equal(similarityOf(null, b), 0)
  t.same(
    [...meanFace([a, b])!].map((x) => x.toFixed(3)),
    ['0.555', '0.832'],
    'recognisable faces count more',
  )
  t.equal(meanFace([]), null)
  t.end()
})
