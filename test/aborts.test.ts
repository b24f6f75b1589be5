// Signals and callbacks of everything that takes time beside a model: asked after every wait, to the last one.
import t from 'tap'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { convertWeights } from '../dist/prepare/convert.js'
import { prepareModel } from '../dist/prepare/prepare.js'
import { synthesizeCheckpoint } from '../dist/prepare/synthesize.js'
import { degrade } from '../dist/degrade/index.js'
import { evaluate, type EvaluateOptions, type EvaluationCase } from '../dist/evaluate/index.js'
import { type IConFace, Restoration } from '../dist/index.js'
import { checkSignal } from '../dist/options.js'
import { plain } from './fixtures/fake'
import { picture, scratch, tinyModel } from './fixtures/tiny'

const ABORTED = { code: 'ERR_ICONFACE_ABORTED' }
const face = plain(32, 32, 90)

/** A model that gives the same face for everything, and counts. */
function stub() {
  const counts = { restores: 0 }
  const info = { name: 'stub', folder: '', synthesized: true, variant: 'Full', identityEncoder: false, warnings: [] }
  const restore = async () => {
    counts.restores++
    return new Restoration({
      data: face.data,
      width: 32,
      height: 32,
      seed: 1,
      timings: { total: 1 },
      identity: {
        source: 'none' as const,
        anchor: null,
        before: null,
        after: null,
        norms: new Float32Array(),
        weights: new Float32Array(),
      },
    })
  }
  const defaults = { size: 32, steps: 1, guidance: 1 }
  const model = { info: { ...info, defaults }, precision: 'f32', restore, embed: () => Promise.reject(new Error()) }
  return { model: model as unknown as IConFace, counts }
}

const CASE: EvaluationCase = {
  name: 'one',
  severity: 'none',
  references: 1,
  load: async () => ({ input: face, truth: face, references: [face], landmarks: null }),
}
const ONCE = { references: [0] }

t.test('an evaluation is stopped wherever the signal fires', async (t) => {
  const places: Record<string, (abort: () => void) => [EvaluationCase, EvaluateOptions]> = {
    'before it begins': (abort) => {
      abort()
      return [CASE, {}]
    },
    'while a case loads': (abort) => [{ ...CASE, load: (size) => (abort(), CASE.load(size)) }, {}],
    'at the first report': (abort) => [CASE, { onProgress: ({ step }) => step === 0 && abort() }],
    'at the last report': (abort) => [CASE, { onProgress: ({ step }) => step === 1 && abort() }],
    'when the last case is done': (abort) => [CASE, { onCase: abort }],
  }
  for (const [place, make] of Object.entries(places)) {
    const { model, counts } = stub()
    const controller = new AbortController()
    const [one, options] = make(() => controller.abort(place))
    const { signal } = controller
    await t.rejects(evaluate(model, [one], { ...ONCE, ...options, signal }), { ...ABORTED, cause: place }, place)
    t.equal(counts.restores, /last/.test(place) ? 1 : 0, place)
  }
  t.match(await evaluate(stub().model, [CASE], { ...ONCE, signal: new AbortController().signal }), { failures: [] })
})

t.test('what callbacks of an evaluation reject with ends it', async (t) => {
  for (const name of ['onProgress', 'onCase']) {
    const { model, counts } = stub()
    const mistake = new RangeError(name)
    const late = async () => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      throw mistake
    }
    const error = await evaluate(model, [CASE], { ...ONCE, [name]: late }).catch((error: unknown) => error)
    t.equal(error, mistake)
    t.equal(counts.restores, name === 'onCase' ? 1 : 0)
  }
})

t.test(
  'a degradation is stopped when its picture is there, and takes no buffer over when it is stopped before',
  async (t) => {
    const controller = new AbortController()
    const { signal } = controller
    const running = degrade(picture(1), { strength: 0, seed: 1, signal })
    controller.abort()
    await t.rejects(running, ABORTED)
    const data = new Uint8Array(face.data)
    await t.rejects(degrade({ ...face, data, transfer: true }, { strength: 4, seed: 1, signal }), ABORTED)
    t.equal(data.length, face.data.length)
  },
)

t.test('files are not finished when the signal fires with the last byte', async (t) => {
  const folder = await tinyModel()
  const outputs = join(scratch, 'outputs')
  const last = () => {
    const controller = new AbortController()
    const onProgress = ({ bytes, totalBytes }: { bytes: number; totalBytes: number }) => {
      if (bytes === totalBytes) controller.abort()
    }
    return { signal: controller.signal, onProgress }
  }
  await synthesizeCheckpoint('tiny', outputs)
  const before = readdirSync(outputs)
  const converted = join(outputs, 'converted.safetensors')
  await t.rejects(convertWeights(join(folder, 'adapter.safetensors'), converted, last()), ABORTED)
  t.same(readdirSync(outputs), before)

  const synthesized = join(scratch, 'synthesized')
  await t.rejects(synthesizeCheckpoint('tiny', synthesized, last()), ABORTED)
  t.notOk(existsSync(join(synthesized, 'iconface.json')))

  const prepared = join(scratch, 'prepared')
  await t.rejects(prepareModel([folder], prepared, { signal: AbortSignal.abort() }), ABORTED)
  t.notOk(existsSync(prepared))
})

t.test('an AbortSignal is what can be listened to, and left', async (t) => {
  const { signal } = new AbortController()
  t.doesNotThrow(() => checkSignal(signal))
  t.doesNotThrow(() => checkSignal({ aborted: false, addEventListener() {}, removeEventListener() {} }))
  for (const wrong of [null, {}, { aborted: false, addEventListener() {} }, { aborted: 0 }, new EventTarget(), 5])
    t.throws(() => checkSignal(wrong), { code: 'ERR_ICONFACE_INVALID_ARGUMENT', message: /AbortSignal for signal/ })
})
