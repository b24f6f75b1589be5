// A reference of somebody else is named.
import t from 'tap'
import { join } from 'node:path'
import { degrade } from '../dist/degrade/index.js'
import { IConFace } from '../dist/index.js'
import { portraitIdentity, portraitState, renderPortrait } from '../dist/portraits/index.js'
import { strangerWarnings } from '../dist/strangers.js'

const MODEL = join(__dirname, '..', 'models', 'tiny')

/** Raw embeddings: each the sum of axes with these amounts, none of length 1. */
function embeddings(...faces: Record<number, number>[]): Float32Array {
  const out = new Float32Array(512 * faces.length)
  for (const [i, face] of faces.entries()) {
    for (const [axis, amount] of Object.entries(face)) out[512 * i + Number(axis)] = 20 * amount
  }
  return out
}

const named = (values: Float32Array) => strangerWarnings(values).map(({ message }) => message.split(' may ')[0])

t.test('both sides of the limits', (t) => {
  const at = (cosine: number) => ({ 0: cosine, 1: Math.sqrt(1 - cosine * cosine) })
  const same = { 0: 1 }
  t.same(named(embeddings(same, at(0.149))), ['reference 1'], 'beside the degraded picture alone')
  t.same(named(embeddings(same, at(0.151))), [])
  t.same(named(embeddings(same, same, at(0.199))), ['reference 2'], 'beside other references')
  t.same(named(embeddings(same, at(0.201), same)), [])
  t.same(named(embeddings(same)), [], 'nobody to compare with')
  t.same(named(embeddings()), [])
  t.same(named(embeddings(same, { 1: 1 }, { 2: 1 }, same)), ['reference 1', 'reference 2'], 'each stranger')
  t.same(named(embeddings({ 0: 1, 1: 1 }, { 0: 1 }, { 2: 1 })), ['reference 2'], 'and nobody on its account')
  t.same(named(embeddings(same, {}, same)), [], 'a picture without a face tells nothing')
  t.same(named(embeddings({}, same, { 1: 1 })).length, 1)
  const [warning] = strangerWarnings(embeddings(same, same, at(0)))
  t.match(warning, {
    code: 'WARN_ICONFACE_OTHER_PERSON',
    message: /its similarity .* is 0\.00, less than 0\.2; leave it/,
  })
  t.end()
})

t.test('drawn people, through restore', async (t) => {
  await using model = await IConFace.load(MODEL)
  const draw = async (person: number, state: number) => {
    const { data, width, height } = await renderPortrait(portraitIdentity(person), portraitState(state), 128)
    return { data, width, height, channels: 3 as const }
  }
  const [person, stranger] = [2_000_002, 2_000_003]
  const input = await degrade(await draw(person, 2000), { strength: 6, seed: 3 })
  const references = [await draw(person, 2001), await draw(person, 2002)]
  const restore = async (...given: Parameters<typeof model.restore>[1] & {}) =>
    (await model.restore(input, given, { steps: 1 })).warnings.map(({ code, message }) => [
      code,
      message.split(' may ')[0],
    ])
  t.same(await restore(...references), [])
  t.same(await restore(references[0]!), [])
  const other = await draw(stranger, 3001)
  t.same(await restore(references[0]!, other, references[1]!), [['WARN_ICONFACE_OTHER_PERSON', 'reference 2']])
  t.same(await restore(other), [['WARN_ICONFACE_OTHER_PERSON', 'reference 1']])
})
