// Whole evaluations with a small model of random weights: what they measure is checked against the metrics themselves.
import t from 'tap'
import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import sharp from 'sharp'
import {
  type CaseResult,
  evaluate,
  type EvaluationCase,
  EvaluationPage,
  landmarkError,
  pairedCases,
  type Point,
  psnr,
  reportText,
  type ResultPictures,
  ssim,
  syntheticCases,
} from '../../dist/evaluate/index.js'
import { portraitIdentity, portraitState, renderPortrait } from '../../dist/portraits/index.js'
import { IConFace, type ImageInput, type RawImage } from '../../dist/index.js'
import { readRgb } from '../../dist/evaluate/pixels.js'
import { picture, QUICK, scratch, tinyModel } from '../fixtures/tiny'

const QUICKLY = { steps: 1, guidance: 1 }
let model: IConFace

t.before(async () => (model = await IConFace.load(await tinyModel())))
t.teardown(() => model.dispose())

const rgb = (image: { data: Uint8Array | Uint8ClampedArray; width: number; height: number }): RawImage => ({
  ...image,
  data: new Uint8Array(image.data),
  channels: 3,
})

/** Of raw pixels; comparing them one by one takes tap seconds. */
const digest = (image: unknown) =>
  createHash('sha256')
    .update((image as RawImage).data)
    .digest('hex')

async function cosine(a: RawImage, b: RawImage): Promise<number> {
  const [x, y] = [await model.embed(a), await model.embed(b)]
  return x.embedding.reduce((sum, value, i) => sum + value * y.embedding[i]!, 0)
}

t.test('drawn faces', async (t) => {
  const options = { count: 1, severities: ['moderate', 'severe'] as const, references: 2 }
  const cases = syntheticCases(options)
  t.same(
    cases.map(({ name, severity, references }) => [name, severity, references]),
    [
      ['person 1000000', 'moderate', 2],
      ['person 1000000', 'severe', 2],
    ],
  )
  const [moderate, severe] = await Promise.all(cases.map((one) => one.load(64)))
  const pixels = [severe!.truth, severe!.input, moderate!.input, ...severe!.references] as RawImage[]
  t.equal(new Set(pixels.map(digest)).size, 5, 'truth, inputs and references differ')
  t.ok(severe!.truth === moderate!.truth && severe!.references[1] === moderate!.references[1], 'drawn once for both')
  const two = syntheticCases({ ...options, count: 2 })
  const first = await two[0]!.load(64)
  await two[2]!.load(64)
  const later = await two[1]!.load(64)
  t.not(later.truth, first.truth, 'one face is kept at a time')
  t.equal(digest(later.truth), digest(first.truth))
  t.not(digest((await two[1]!.load(80)).truth), digest(first.truth), 'of one size')
  const again = await syntheticCases(options)[1]!.load(64)
  t.equal(digest(again.input), digest(severe!.input), 'the same options, the same pictures')
  t.same(again.landmarks, severe!.landmarks)
  const other = await syntheticCases({ ...options, seed: 1 })[0]!.load(64)
  t.not(digest(other.truth), digest(severe!.truth))
  t.ok(psnr(pixels[2]!, pixels[0]!) > psnr(pixels[1]!, pixels[0]!), 'severe is worse than moderate')
  const swapped = await syntheticCases({ ...options, otherReferences: true })[1]!.load(64)
  t.equal(digest(swapped.input), digest(severe!.input))
  t.equal(
    new Set([...swapped.references, ...severe!.references].map(digest)).size,
    4,
    'the same person in other states',
  )

  const { truth, landmarks } = await cases[0]!.load(128)
  const { points, interocular } = landmarks!
  t.ok(interocular > 15 && interocular < 70, `${interocular}`)
  const own = landmarkError(truth as RawImage, truth as RawImage, points, interocular)
  t.equal(own.mean, 0)
  t.ok(own.used >= points.length / 2, `${own.used} of ${points.length} landmarks can be found`)

  for (const wrong of [
    { count: 0 },
    { count: 1, seed: -1 },
    { count: 1, severities: ['bad'] },
    { count: 1, severities: [] },
    { count: 1, references: 9 },
    { count: 1, otherReferences: 1 },
    { count: 1, faces: 2 },
  ]) {
    t.throws(() => syntheticCases(wrong as never), { code: 'ERR_ICONFACE_INVALID_ARGUMENT' }, JSON.stringify(wrong))
  }
})

t.test('the landmark error is how far a drawn face really moved', async (t) => {
  const [person, state] = [portraitIdentity(1_000_001), portraitState(1, 0.6)]
  const before = await renderPortrait(person, state, 128)
  const distance = (a: Point, b: Point) => Math.hypot(a[0] - b[0], a[1] - b[1])
  const interocular = distance(before.landmarks[0]!, before.landmarks[1]!)
  for (const change of [{ cropX: state.cropX - 8 }, { tilt: state.tilt + 4 }, { smile: state.smile - 0.6 }]) {
    const after = await renderPortrait(person, { ...state, ...change }, 128)
    const moved = before.landmarks.map((point, i) => distance(point, after.landmarks[i]!) / interocular)
    const wanted = moved.reduce((a, b) => a + b) / moved.length
    const found = landmarkError(after, before, before.landmarks, interocular).mean!
    t.ok(wanted > 0.012 && Math.abs(found - wanted) < 0.01, `${Object.keys(change)}: ${found} measured, ${wanted} made`)
  }
})

t.test('an evaluation measures what its pictures show', async (t) => {
  const cases = syntheticCases({ count: 2, severities: ['severe'], references: 2 })
  const seen: [CaseResult, ResultPictures][] = []
  const steps: string[] = []
  const options = { ...QUICKLY, references: [2, 0], seed: 5 }
  const evaluation = await evaluate(model, cases, {
    ...options,
    onCase: (result, pictures) => void seen.push([result, pictures]),
    onProgress: ({ step, steps: all }) => steps.push(`${step}/${all}`),
  })
  t.same(steps, ['0/4', '1/4', '2/4', '3/4', '4/4'])
  t.match(evaluation.settings, { references: [0, 2], steps: 1, guidance: 1, seed: 5, size: 64 })
  t.same(
    evaluation.cases,
    seen.map(([result]) => result),
  )

  const [result, pictures] = seen[1]!
  const given = await cases[1]!.load(64)
  t.equal(digest(pictures.truth), digest(given.truth))
  t.same(
    result.restored.map(({ references }) => references),
    [0, 2],
  )
  const again = await model.restore(given.input, given.references, { ...QUICKLY, seed: 6 })
  t.equal(digest(pictures.restored[1]), digest(again), 'the noise of case i has seed + i')
  const inputs: ImageInput[] = [pictures.input, pictures.truth, ...pictures.references, ...pictures.restored]
  for (const input of inputs) t.equal((await model.embed(input)).embedding.length, 512, 'each is a picture itself')
  const { points, interocular } = given.landmarks!
  const judged = [
    [result.degraded, pictures.input],
    [result.restored[1]!, pictures.restored[1]!],
  ] as const
  for (const [measures, image] of judged) {
    t.equal(measures.psnr, psnr(image, pictures.truth))
    t.equal(measures.ssim, ssim(image, pictures.truth))
    t.same(measures.landmarks, landmarkError(image, pictures.truth, points, interocular))
    t.equal(measures.identity!.truth, await cosine(rgb(image), rgb(pictures.truth)))
    t.equal(measures.identity!.reference, await cosine(rgb(image), rgb(pictures.references[0]!)))
  }

  const [severe, ...others] = evaluation.summary
  t.same(others, [])
  t.match(severe, { severity: 'severe', cases: 2, rows: [{ picture: 'degraded' }, { picture: 0 }, { picture: 2 }] })
  const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length
  const row = severe!.rows[2]!
  const close = (found: number | undefined, wanted: number, what: string) =>
    t.ok(Math.abs(found! - wanted) < 1e-12, `${what}: ${found} is ${wanted}`)
  const all = evaluation.cases
  close(row.values.psnr?.mean, mean(all.map(({ restored }) => restored[1]!.psnr)), 'mean')
  close(
    row.gainOverDegraded?.ssim?.mean,
    mean(all.map(({ restored, degraded }) => restored[1]!.ssim - degraded.ssim)),
    'gain over degraded',
  )
  close(
    row.gainOverNoReferences?.psnr?.mean,
    mean(all.map(({ restored }) => restored[1]!.psnr - restored[0]!.psnr)),
    'gain over none',
  )

  const timeless = ({ cases }: typeof evaluation) =>
    cases.map((one) => ({ ...one, restored: one.restored.map((it) => ({ ...it, milliseconds: 0 })) }))
  t.same(timeless(await evaluate(model, cases, options)), timeless(evaluation), 'the same again')

  const text = reportText(evaluation)
  const lost = all.flatMap(({ degraded, restored }) => [degraded, ...restored]).map(({ landmarks }) => landmarks!.lost)
  t.ok(text.includes(`\n${lost.reduce((a, b) => a + b)} of `) && /\d landmarks were lost/.test(text), `lost: ${lost}`)
  for (const line of [
    /^severe, 2 cases +PSNR, dB +SSIM +identity, ref 1 +identity, truth +landmark error$/m,
    /^2 references +\d+\.\d\d ± /m,
    /^2 references - none +[+-]\d/m,
    /weights are random/,
  ])
    t.match(text, line)
})

t.test('a picture of another size is fitted as the model does: nothing moves', async (t) => {
  const spot = (width: number, height: number, channels: 1 | 3 | 4) => {
    const data = new Uint8Array(width * height * channels)
    const value = (x: number, y: number) =>
      255 * Math.exp(-((x + 0.5 - width / 2) ** 2 + (y + 0.5 - height / 2) ** 2) / 18)
    for (let i = 0; i < width * height; i++) {
      data.fill(Math.round(value(i % width, Math.floor(i / width))), channels * i, channels * (i + 1))
    }
    return { data, width, height, channels }
  }
  for (const [width, height, channels, size] of [
    [64, 64, 3, 512],
    [64, 64, 1, 128],
    [64, 68, 4, 160],
    [90, 64, 3, 256],
    [128, 96, 3, 48],
  ] as const) {
    const { data } = await readRgb(spot(width, height, channels), 'spot', size)
    let [sum, sumX, sumY] = [0, 0, 0]
    for (let i = 0; i < size * size; i++) {
      sum += data[3 * i]!
      sumX += data[3 * i]! * (i % size)
      sumY += data[3 * i]! * Math.floor(i / size)
    }
    const off = [sumX / sum - (size - 1) / 2, sumY / sum - (size - 1) / 2]
    t.ok(Math.hypot(...off) < 0.05, `${width} x ${height} to ${size}: the spot's centre is off by ${off}`)
  }
})

/** Writes pictures under a folder of their own: `<where>/<name>`, and a Map of what is not a picture. */
async function folderOf(name: string, files: Record<string, number | string>): Promise<string> {
  const folder = join(scratch, name)
  for (const [file, content] of Object.entries(files)) {
    const path = join(folder, file)
    mkdirSync(dirname(path), { recursive: true })
    if (typeof content === 'string') writeFileSync(path, content)
    else await sharp(picture(content, 80).data, { raw: { width: 80, height: 80, channels: 3 } }).toFile(path)
  }
  return folder
}

t.test('folders of photos, in either layout', async (t) => {
  const nested = await folderOf('nested', {
    'anna/input.png': 1,
    'anna/truth.png': 2,
    'anna/ref10.png': 3,
    'anna/ref2.png': 4,
    'anna/.hidden': '',
    'bo/input.png': 5,
    'bo/truth.webp': 6,
  })
  const flat = await folderOf('flat', {
    'input/anna.png': 1,
    'truth/anna.png': 2,
    'references/anna/10.png': 3,
    'references/anna/2.png': 4,
    'input/bo.png': 5,
    'truth/bo.webp': 6,
  })
  const run = async (folder: string) =>
    evaluate(model, await pairedCases(folder), { ...QUICKLY, references: [0, 1, 2] })
  const evaluation = await run(nested)
  t.same(
    evaluation.cases.map(({ name, restored }) => [name, restored.map(({ references }) => references)]),
    [
      ['anna', [0, 1, 2]],
      ['bo', [0]],
    ],
  )
  const [anna, bo] = evaluation.cases
  t.equal(anna!.degraded.landmarks, null)
  t.type(anna!.degraded.identity!.reference, 'number', 'the first reference is measured without being used, too')
  t.equal(bo!.degraded.identity!.reference, null)
  t.match(evaluation.summary, [
    { severity: 'as given', cases: 2, rows: [{ values: { psnr: { n: 2 } } }, {}, { values: { psnr: { n: 1 } } }, {}] },
  ])
  t.match(reportText(evaluation), /^1 reference \(1 cases?\)/m)
  const references = (await (await pairedCases(nested))[0]!.load(64)).references
  t.same(references, [join(nested, 'anna', 'ref2.png'), join(nested, 'anna', 'ref10.png')], '2 before 10')
  const numbers = (folder: typeof evaluation) => folder.summary.map(({ rows }) => rows.map(({ values }) => values))
  t.same(numbers(await run(flat)), numbers(evaluation))
  await t.rejects(evaluate(model, (await pairedCases(nested)).slice(1), { references: [3] }), {
    message: /some case has/,
  })
})

t.test('folders in which something is missing or odd', async (t) => {
  const fails = async (name: string, files: Record<string, number | string>, code: string, message: RegExp) => {
    await t.rejects(folderOf(name, files).then(pairedCases), { code: `ERR_ICONFACE_${code}`, message }, name)
  }
  const right = { 'a/input.png': 1, 'a/truth.png': 2 }
  await fails('no-truth', { 'a/input.png': 1 }, 'FILE_NOT_FOUND', /a.truth\.\* does not exist: every case needs one/)
  await fails('no-input', { 'a/truth.png': 1 }, 'FILE_NOT_FOUND', /a.input\.\* does not exist/)
  await fails(
    'extra',
    { ...right, 'a/notes.txt': 'x' },
    'INVALID_ARGUMENT',
    /notes\.txt belongs to no case; expected DIR/,
  )
  await fails('other', { ...right, 'a/other.png': 1 }, 'INVALID_ARGUMENT', /other\.png belongs to no case/)
  await fails('loose', { ...right, 'b.png': 1 }, 'INVALID_ARGUMENT', /b\.png belongs to no case/)
  await fails('deep', { ...right, 'a/b/ref.png': 1 }, 'INVALID_ARGUMENT', /a.b belongs to no case/)
  await fails(
    'twice',
    { ...right, 'a/truth.webp': 1 },
    'INVALID_ARGUMENT',
    /truth\.webp and .*truth\.png have the same name/,
  )
  await fails(
    'flat-truth',
    { 'input/a.png': 1, 'truth/b.png': 2 },
    'FILE_NOT_FOUND',
    /input.b\.\* does not exist: .*truth.b\.png is its truth/,
  )
  await fails(
    'flat-input',
    { 'input/a.png': 1, 'input/b.png': 1, 'truth/b.png': 2 },
    'FILE_NOT_FOUND',
    /truth.a\.\* does not exist: .*input.a\.png needs it/,
  )
  await fails('flat-half', { 'input/a.png': 1 }, 'FILE_NOT_FOUND', /truth does not exist/)
  await fails(
    'flat-ref',
    { 'input/a.png': 1, 'truth/a.png': 2, 'references/c/1.png': 2 },
    'FILE_NOT_FOUND',
    /input.c\.\* does not exist: .*is a reference for it/,
  )
  await fails('flat-odd', { 'input/a.png': 1, 'truth/a.png': 2, 'more/a.png': 2 }, 'INVALID_ARGUMENT', /more belongs/)
  await fails('empty', { '.hidden': '' }, 'FILE_NOT_FOUND', /empty.\* does not exist: expected DIR/)
  for (const wrong of [undefined, '', 1]) {
    await t.rejects(pairedCases(wrong as never), {
      code: 'ERR_ICONFACE_INVALID_ARGUMENT',
      message: /the path of a folder for folder but received/,
    })
  }
  await t.rejects(pairedCases(join(scratch, 'extra', 'a', 'notes.txt')), {
    code: 'ERR_ICONFACE_FILE_NOT_FOUND',
    message: /cannot list .*notes\.txt: it, or .*, is not a folder/,
  })
  await t.rejects(pairedCases(join(scratch, 'gone')), { code: 'ERR_ICONFACE_FILE_NOT_FOUND', message: /gone does not/ })
})

t.test('a case with a bad picture is listed, and the others go on', async (t) => {
  const folder = await folderOf('some-bad', {
    'anna/input.png': 1,
    'anna/truth.png': 2,
    'anna/ref1.png': 3,
    'bo/input.png': 1,
    'bo/truth.png': 'no picture',
    'cleo/input.png': 1,
    'cleo/truth.png': 2,
    'cleo/ref1.png': '',
    'dan/input.png': 4,
    'dan/truth.png': 5,
  })
  symlinkSync(join(folder, 'nowhere.png'), join(folder, 'dan', 'ref1.png'))
  await folderOf('some-bad', { 'emil/input.png': 4, 'emil/truth.png': 5, 'emil/ref1.png': 6 })
  const wide = sharp({ create: { width: 80, height: 40, channels: 3, background: 'teal' } })
  await wide.toFile(join(folder, 'emil', 'truth.png'))
  const seen: string[][] = []
  const steps: number[] = []
  const evaluation = await evaluate(model, await pairedCases(folder), {
    ...QUICKLY,
    references: [0, 1],
    onProgress: ({ step }) => steps.push(step),
    onCase: (result, _, soFar) => void seen.push([result.name, ...soFar.cases.map(({ name }) => name)]),
  })
  t.same(
    evaluation.failures.map(({ name, severity, code }) => [name, severity, code]),
    [
      ['bo', 'as given', 'ERR_ICONFACE_INVALID_IMAGE'],
      ['cleo', 'as given', 'ERR_ICONFACE_INVALID_IMAGE'],
      ['dan', 'as given', 'ERR_ICONFACE_FILE_NOT_FOUND'],
    ],
  )
  t.match(
    evaluation.failures[0]!.message,
    /^bo \(as given\): cannot use truth: .*truth\.png: .*unsupported image format/,
  )
  t.same(
    evaluation.cases.map(({ name }) => name),
    ['anna', 'emil'],
  )
  t.match(evaluation.summary, [{ cases: 2, rows: [{ values: { psnr: { n: 2 } } }, {}, {}] }])
  t.same(seen, [
    ['anna', 'anna'],
    ['emil', 'anna', 'emil'],
  ])
  t.equal(steps.at(-1), 9, 'what failed counts as done')
  const codes = (i: number) =>
    evaluation.cases[i]!.warnings.map(({ code, message }) => [code, message.split(' of ')[0]])
  t.same(codes(0), [])
  t.same(codes(1), [['WARN_ICONFACE_CROPPED', 'truth']], 'once, and nothing of the model')
  t.match(
    reportText(evaluation),
    /^3 of 5 cases could not be evaluated: bo \(ERR_ICONFACE_INVALID_IMAGE\), cleo .*dan/m,
  )

  const none = (await pairedCases(folder)).filter(({ name }) => name === 'bo' || name === 'cleo')
  await t.rejects(
    evaluate(model, none, QUICKLY),
    { code: 'ERR_ICONFACE_INVALID_IMAGE', message: /^bo / },
    'no case left',
  )
  const all = await pairedCases(folder)
  const limited = evaluate(model, all, { ...QUICKLY, maxPixels: 80 * 80 - 1 })
  await t.rejects(limited, { message: /^anna .* are more than maxPixels \(6399\); scale it down, or raise maxPixels/ })
  const stop = evaluate(model, all, { ...QUICKLY, onCase: () => Promise.reject(new Error('enough')) })
  await t.rejects(stop, { message: 'enough' }, 'what onCase throws ends it')
})

t.test('without a face encoder, identity is null and the report says so', async (t) => {
  const folder = await tinyModel()
  const faceless = join(scratch, 'faceless')
  mkdirSync(faceless)
  const {
    identity: _,
    adapter: __,
    ...config
  } = JSON.parse(readFileSync(join(folder, 'iconface.json'), 'utf8')) as Record<string, unknown>
  for (const name of ['transformer', 'autoencoder', 'prompt_embeddings']) {
    copyFileSync(join(folder, `${name}.safetensors`), join(faceless, `${name}.safetensors`))
  }
  writeFileSync(join(faceless, 'iconface.json'), JSON.stringify(config))
  await using other = await IConFace.load(faceless)
  const cases = syntheticCases({ count: 1, severities: ['mild'], references: 1 })
  const evaluation = await evaluate(other, cases, { ...QUICKLY, references: [1] })
  t.equal(evaluation.cases[0]!.degraded.identity, null)
  t.equal(evaluation.cases[0]!.restored[0]!.identity, null)
  t.equal(evaluation.summary[0]!.rows[1]!.values.identityTruth, null)
  const text = reportText(evaluation)
  t.equal(other.info.identityEncoder, false)
  await t.rejects(other.embed(picture(1)), {
    code: 'ERR_ICONFACE_UNSUPPORTED',
    message: /faceless holds no face encoder; load a checkpoint .*identity\.file/,
  })
  t.match(text, /this checkpoint has no face encoder/)
  t.notMatch(text, /identity, truth/)
})

t.test('the page needs nothing else and escapes what it shows', async (t) => {
  const name = `<script>alert("x")</script> & 'more'`
  const cases: EvaluationCase[] = [0, 1].map((i) => ({
    name: `${name} ${i}`,
    severity: '<b>',
    references: 1,
    load: async () => ({ input: picture(i + 1, 64), truth: picture(3, 64), references: [picture(4)], landmarks: null }),
  }))
  const page = new EvaluationPage()
  const evaluation = await evaluate(model, cases, { ...QUICKLY, references: [0, 1], onCase: page.add.bind(page) })
  const html = page.html({ ...evaluation, model: { ...evaluation.model, name } })
  t.notMatch(html, /<script|<b>[^dnrt\d]|alert\("/)
  t.ok(html.includes('&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &#39;more&#39; 1'))
  t.equal(html.match(/<img src="data:image\/webp;base64,[A-Za-z0-9+/=]+" alt="[^"]+">/g)!.length, 2 * 5)
  t.notMatch(html.replaceAll(/base64,[^"]+/g, ''), /https?:|src="(?!data:)|url\(|@import/)
  const [, first] = /src="data:image\/webp;base64,([^"]+)" alt="degraded"/.exec(html)!
  t.match(await sharp(Buffer.from(first!, 'base64')).metadata(), { format: 'webp', width: 64, height: 64 })
})

t.test('what stops an evaluation', async (t) => {
  const [one] = syntheticCases({ count: 1, severities: ['severe'], references: 0 })
  const bad: EvaluationCase = {
    ...one!,
    load: async () => ({ ...(await one!.load(64)), truth: join(scratch, 'gone.png') }),
  }
  await t.rejects(evaluate(model, [bad]), {
    code: 'ERR_ICONFACE_FILE_NOT_FOUND',
    message: /^person 1000000 \(severe\): truth: .*gone\.png does not exist/,
  })
  const controller = new AbortController()
  const stopped = evaluate(model, [one!], { signal: controller.signal, onProgress: () => controller.abort('enough') })
  await t.rejects(stopped, { code: 'ERR_ICONFACE_ABORTED', cause: 'enough' })
  const failing = evaluate(model, [one!], { ...QUICK, references: [0] } as never)
  await t.rejects(failing, { message: /unknown option 'size'/ })
  for (const [options, message] of [
    [{ references: [] }, /list of different numbers for references/],
    [{ references: [1, 1] }, /list of different numbers/],
    [{ references: [-1] }, /integer from 0 to 8 for references/],
    [{ seed: 0.5 }, /for seed but received 0\.5/],
    [{ steps: 0 }, /for steps but received 0/],
    [{ onCase: 1 }, /a function for onCase/],
  ] as const) {
    await t.rejects(evaluate(model, [one!], options as never), { code: 'ERR_ICONFACE_INVALID_ARGUMENT', message })
  }
  await t.rejects(evaluate(model, []), { message: /at least one case/ })
  const right = await one!.load(64)
  const loading = (pictures: unknown) => [{ ...one!, load: async () => pictures }]
  for (const [cases, message] of [
    [null, /at least one case for cases but received null/],
    [[null], /a case for cases\[0\] but received null/],
    [[one, {}], /a string for cases\[1\]\.name but received undefined/],
    [[{ ...one!, severity: 1 }], /a string for cases\[0\]\.severity but received 1/],
    [[{ ...one!, references: -1 }], /for cases\[0\]\.references but received -1/],
    [[{ ...one!, load: null }], /a function for cases\[0\]\.load but received null/],
    [loading(undefined), /person 1000000 \(severe\): .* for what load\(\) gives but received undefined/],
    [loading({}), /a list of pictures for the references of load\(\) but received undefined/],
    [loading({ references: [], landmarks: null }), /for input but received undefined/],
    [loading({ ...right, landmarks: undefined }), /for the landmarks of load\(\) but received undefined/],
    [loading({ ...right, landmarks: {} }), /pixels for landmarks but received undefined/],
    [[{ ...one!, references: 3 }], /3, as many as the case says, for the references of load\(\) but received 0/],
  ] as const) {
    const running = evaluate(model, cases as never, { ...QUICKLY, references: [0] })
    await t.rejects(running, { code: 'ERR_ICONFACE_INVALID_ARGUMENT', message }, message.source)
  }
  for (const wrong of [null, {}, IConFace, Promise.resolve(model)]) {
    await t.rejects(evaluate(wrong as never, [one!]), {
      code: 'ERR_ICONFACE_INVALID_ARGUMENT',
      message: /what IConFace\.load resolves to for model/,
    })
  }
  const thrown = new Error('mine')
  await t.rejects(
    evaluate(model, [one!], {
      ...QUICKLY,
      onCase: () => {
        throw thrown
      },
    }),
    thrown,
  )
})
