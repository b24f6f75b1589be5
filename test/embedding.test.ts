// One face has one embedding: `embed` and `restore` look at it in the same way.
import t, { type Test } from 'tap'
import { IConFace } from '../dist/index.js'
import { picture, tinyModel } from './fixtures/tiny'

/** Equal but for the last bit: the unit vectors are divided in two places. */
function same(t: Test, found: Float32Array | null, wanted: Float32Array, what: string): void {
  t.ok(found && Math.max(...wanted.map((v, i) => Math.abs(v - found[i]!))) < 1e-6, what)
}

t.test('embed finds what a restore of the same size anchors on', async (t) => {
  await using model = await IConFace.load(await tinyModel())
  const { size } = model.info.defaults
  const [wide, square] = [{ ...picture(1, 96), width: 128, height: 72 }, picture(2, size)]
  for (const side of [undefined, 32, 48, 64]) {
    for (const face of [wide, square]) {
      const { embedding, norm } = await model.embed(face, side === undefined ? {} : { size: side })
      const options = { steps: 1, guidance: 1, size: side ?? size }
      const { identity } = await model.restore(picture(3), [face], options)
      same(t, identity.anchor, embedding, `${face.width} x ${face.height} as the reference, size ${side}`)
      t.ok(Math.abs(identity.norms[0]! / norm - 1) < 1e-5, 'and its norm')
    }
  }
  const [small, large] = await Promise.all([32, 64].map((side) => model.embed(wide, { size: side })))
  t.ok(
    small!.embedding.some((v, i) => Math.abs(v - large!.embedding[i]!) > 1e-3),
    'the size matters',
  )
  const own = await model.restore(wide, [], { steps: 1, guidance: 1, size: 48 })
  t.equal(own.identity.source, 'degraded')
  same(t, own.identity.anchor, (await model.embed(wide, { size: 48 })).embedding, 'the input itself')
})

t.test('options of embed', async (t) => {
  await using model = await IConFace.load(await tinyModel())
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  await t.rejects(model.embed(picture(1), { size: 33 }), { code, message: /a multiple of 16 from 16 to 4096 for size/ })
  await t.rejects(model.embed(picture(1), { sise: 32 } as object), { code, message: /did you mean 'size'/ })
  await t.rejects(model.embed(picture(1), { strict: 1 as never }), { code, message: /true or false for strict/ })
})
