// Whom evaluations draw is frozen: people of their own, whom neither training nor its check set has, in states and with
// damage that their number and the seed decide.
import t from 'tap'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { degrade, strengthFor } from '../../dist/degrade/index.js'
import { syntheticCases, type SyntheticOptions } from '../../dist/evaluate/index.js'
import type { ImageInput, RawImage } from '../../dist/index.js'
import { portraitIdentity, portraitState, renderPortrait } from '../../dist/portraits/index.js'

const SIZE = 64
const FIRST = 1_000_000

const bytes = (image: ImageInput) => Buffer.from((image as RawImage).data)

async function drawn(person: number, state: number): Promise<Buffer> {
  return Buffer.from((await renderPortrait(portraitIdentity(person), portraitState(state), SIZE)).data)
}

t.test('people, states and degradations, each by its seed', async (t) => {
  for (const [what, options, truth, references, damage] of [
    ['the first', { count: 1, references: 2 }, [0, 0], [1, 2], 31],
    ['the second', { count: 2, references: 1 }, [1, 32], [33], 63],
    ['of another seed', { count: 2, references: 1, seed: 3 }, [1, 9_600_032], [9_600_033], 9_600_063],
    ['other references', { count: 1, references: 1, otherReferences: true }, [0, 0], [9], 31],
  ] as [string, SyntheticOptions, [number, number], number[], number][]) {
    const one = syntheticCases({ severities: ['severe'], ...options }).at(-1)!
    const pictures = await one.load(SIZE)
    const [person, state] = [FIRST + truth[0], truth[1]]
    t.equal(one.name, `person ${person}`)
    t.ok((await drawn(person, state)).equals(bytes(pictures.truth)), `${what}: the truth`)
    for (const [i, seed] of references.entries())
      t.ok((await drawn(person, seed)).equals(bytes(pictures.references[i]!)), `${what}: reference ${i + 1}`)
    t.equal(pictures.references.length, references.length)
    const input = await degrade(pictures.truth, { strength: strengthFor('severe', damage), seed: damage })
    t.ok(Buffer.from(input.data).equals(bytes(pictures.input)), `${what}: the input`)
  }
})

t.test('the largest seeds are still whole numbers of their own', async (t) => {
  const last = syntheticCases({ count: 100_000, seed: 2 ** 31 - 1, references: 0, severities: ['mild'] }).at(-1)!
  t.equal(last.name, `person ${FIRST + 99_999}`)
  const state = ((2 ** 31 - 1) * 100_000 + 99_999) * 32
  t.ok(Number.isSafeInteger(state + 31))
  const { truth } = await last.load(SIZE)
  t.ok((await drawn(FIRST + 99_999, state)).equals(bytes(truth)))
})

t.test('training, its check set and evaluations have no person in common', async (t) => {
  const script = readFileSync(join(__dirname, '..', '..', 'training', 'run_tiny.sh'), 'utf8')
  const set = (name: string) => {
    const [, options] = new RegExp(`make_data\\.mjs --out "\\$run/${name}" (.*)`).exec(script)!
    const number = (option: string, otherwise?: number) =>
      Number(new RegExp(`--${option} (\\d+)`).exec(options!)?.[1] ?? otherwise)
    const first = number('first', 0)
    return { first, end: first + number('identities') }
  }
  t.same(
    [set('train'), set('check')],
    [
      { first: 0, end: 900 },
      { first: 500_000, end: 500_220 },
    ],
  )
  t.ok(set('train').end <= set('check').first && set('check').end <= FIRST)
})
