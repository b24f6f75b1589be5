// restore() and embed() of pictures that are no aligned crops, and of those that are.
import t from 'tap'
import { isIConFaceError, type Align, IConFace } from '../../dist/index.js'
import { TEMPLATE_512 } from '../../dist/photo/alignment.js'
import { fitsTemplate } from '../../dist/photo/template-fit.js'
import { findsMarks, markedPhoto, randomDetector } from '../fixtures/marked-faces'
import { picture, QUICK, scratch, tinyModel } from '../fixtures/tiny'

async function load(): Promise<IConFace> {
  return IConFace.load(await tinyModel(), { threads: 2, detector: await randomDetector(scratch) })
}

/** A square crop in which a mark's landmarks lie where the template has them. */
const FITTING = markedPhoto(128, 128, [{ left: 36, top: 37, width: 56, height: 69 }])
const ELSEWHERE = markedPhoto(320, 320, [{ left: 30, top: 40, width: 60, height: 80 }])
const WIDE = markedPhoto(400, 300, [
  { left: 30, top: 40, width: 60, height: 80 },
  { left: 200, top: 100, width: 90, height: 120 },
])

t.test('the template, and both sides of what still fits', (t) => {
  const moved = (scale: number, degrees: number, shift: number) => {
    const [c, s] = [Math.cos((degrees * Math.PI) / 180) * scale, Math.sin((degrees * Math.PI) / 180) * scale]
    const points = TEMPLATE_512.map(([x, y]) => {
      const [u, v] = [x - 255.5, y - 255.5]
      return [255.5 + c * u - s * v + 512 * shift, 255.5 + s * u + c * v] as const
    })
    return points as unknown as typeof TEMPLATE_512
  }
  t.ok(fitsTemplate(TEMPLATE_512, 512))
  for (const [fits, other] of [
    [moved(1.24, 0, 0), moved(1.26, 0, 0)],
    [moved(1 / 1.24, 0, 0), moved(1 / 1.26, 0, 0)],
    [moved(1, 11.9, 0), moved(1, 12.1, 0)],
    [moved(1, 0, 0.099), moved(1, 0, 0.101)],
  ] as const) {
    t.ok(fitsTemplate(fits, 512))
    t.notOk(fitsTemplate(other, 512))
  }
  t.notOk(fitsTemplate(TEMPLATE_512, 1024), 'the same face in a larger picture')
  t.end()
})

t.test('what is looked at, and what becomes of it', async (t) => {
  const looks = findsMarks(t)
  await using model = await load()
  const restore = async (image: Parameters<typeof model.restore>[0], align: Align) => {
    looks.length = 0
    const { alignment, warnings } = await model.restore(image, [], { ...QUICK, align })
    const codes = warnings
      .map(({ code }) => code.replace('WARN_ICONFACE_', ''))
      .filter((code) => code !== 'RANDOM_WEIGHTS')
    return [looks.length, alignment !== null, codes.filter((code) => code !== 'SIZE' && code !== 'REDUCED')]
  }
  t.same(await restore(picture(1, 48), 'auto'), [0, false, []], 'too small to hold more than a face')
  t.same(await restore(FITTING, 'auto'), [1, false, []], 'a crop is left as it is')
  t.same(await restore(ELSEWHERE, 'auto'), [1, true, []], 'a square photograph is aligned')
  t.same(await restore(picture(1, 128), 'auto'), [1, false, ['NO_FACE']], 'a square without a face')
  t.same(await restore(WIDE, 'auto'), [1, true, ['SEVERAL_FACES']], 'the largest of two faces')
  t.same(await restore(FITTING, 'face'), [1, true, []], 'aligned in any case')
  t.same(await restore(WIDE, 'none'), [0, false, ['CROPPED']], 'the centre, with a warning')
})

t.test('no face: every attempt, and the way out', async (t) => {
  findsMarks(t)
  await using model = await load()
  const none = markedPhoto(300, 200, [])
  const error = {
    code: 'ERR_ICONFACE_NO_FACE',
    message:
      /no face in input \(looked at as 960 x 640 px above 0\.6, 960 x 640 px above 0\.45, .*1920 x 1280 px above 0\.3\).*align: 'none' \(--align none\)/,
  }
  await t.rejects(model.restore(none, [], { ...QUICK, align: 'auto' }), error)
  await t.rejects(model.restore(picture(1, 128), [], { ...QUICK, align: 'face' }), { code: error.code })
  await t.rejects(model.restore(FITTING, [none], { ...QUICK, align: 'auto' }), { message: /no face in reference 1/ })
  await t.rejects(model.embed(none, { align: 'auto' }), { code: error.code, message: /no face in image/ })
  const wrong = model.restore(none, [], { ...QUICK, align: 'centre' as Align })
  await t.rejects(wrong, { code: 'ERR_ICONFACE_INVALID_ARGUMENT', message: /'auto' or 'face' or 'none' for align/ })
})

t.test('a face is embedded as a restore embeds it', async (t) => {
  findsMarks(t)
  await using model = await load()
  const [whole, crop] = await Promise.all([
    model.embed(ELSEWHERE, { align: 'auto' }),
    model.restorePhoto(ELSEWHERE, [], { steps: 1, guidance: 1 }).then(({ faces }) => {
      return model.embed({ ...faces[0]!.crop!, channels: 3 }, { align: 'none' })
    }),
  ])
  t.same([...whole.embedding], [...crop.embedding])
})

t.test('a detector that is not there', async (t) => {
  const error: unknown = await IConFace.load(await tinyModel(), { detector: 'gone.safetensors' }).catch(
    (e: unknown) => e,
  )
  t.ok(isIConFaceError(error) && error.code === 'ERR_ICONFACE_FILE_NOT_FOUND', String(error))
})
