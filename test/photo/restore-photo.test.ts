// Whole photographs: which faces are restored, with whose references, what stays as it is, and what is refused.
import t from 'tap'
import { join } from 'node:path'
import sharp from 'sharp'
import { IConFace, type PhotoOptions, type PhotoProgress } from '../../dist/index.js'
import { findsMarks, type Mark, markedPhoto, randomDetector } from '../fixtures/marked-faces'
import { scratch, tinyModel } from '../fixtures/tiny'

const STEPS = { steps: 1, guidance: 1 }
const MARKS: readonly Mark[] = [
  { left: 60, top: 60, width: 60, height: 80 },
  { left: 300, top: 80, width: 50, height: 66 },
  { left: 500, top: 250, width: 40, height: 54 },
]
const PHOTO = markedPhoto(640, 400, MARKS)

async function load(): Promise<IConFace> {
  return IConFace.load(await tinyModel(), { threads: 2, detector: await randomDetector(scratch) })
}

/** Numbers of the pixels that are not as they were. */
function changed(before: { data: Uint8Array }, after: { data: Uint8Array | Uint16Array }, channels: number): number[] {
  return [
    ...new Set(
      Array.from(after.data.keys(), (i) => i)
        .filter((i) => before.data[i] !== after.data[i])
        .map((i) => Math.floor(i / channels)),
    ),
  ]
}

t.test('all faces, the largest first, and every other byte as it was', async (t) => {
  findsMarks(t)
  await using model = await load()
  const result = await model.restorePhoto(PHOTO, [], STEPS)
  t.match(result, { width: 640, height: 400, channels: 3 })
  t.same(
    result.faces.map(({ index, box, status, person, reason }) => ({ index, box, status, person, reason })),
    MARKS.map(({ left, top, width, height }, index) => {
      return { index, box: [left, top, width, height], status: 'restored', person: null, reason: null }
    }),
  )
  const inMasks = new Set<number>()
  for (const { mask } of result.faces) {
    mask!.data.forEach((share, i) => {
      const [x, y] = [mask!.left + (i % mask!.width), mask!.top + Math.floor(i / mask!.width)]
      if (share > 0) inMasks.add(y * 640 + x)
    })
  }
  const pixels = changed(PHOTO, result, 3)
  t.ok(pixels.length > 5000, `${pixels.length} pixels are restored`)
  t.ok(
    pixels.every((pixel) => inMasks.has(pixel)),
    'all of them within the masks',
  )
  const { crop, restored } = result.faces[0]!
  t.match(crop, { width: 64, height: 64 })
  t.match(restored, { width: 64, height: 64 })
  t.same(Object.keys(result.timings), ['read', 'detect', 'references', 'crop', 'match', 'restore', 'paste', 'total'])
})

t.test('faces that are not meant are not touched', async (t) => {
  findsMarks(t)
  await using model = await load()
  const restored = async (options: PhotoOptions) => {
    const { faces, data } = await model.restorePhoto(PHOTO, [], { ...STEPS, ...options })
    for (const [i, { left, top, width, height }] of MARKS.entries()) {
      const pixels = Array.from(
        { length: width * height },
        (_, k) => (top + Math.floor(k / width)) * 640 + left + (k % width),
      )
      const same = pixels.every((pixel) => [0, 1, 2].every((c) => data[3 * pixel + c] === PHOTO.data[3 * pixel + c]))
      t.equal(same, faces[i]!.status === 'kept', `face ${i} of ${JSON.stringify(options)}`)
    }
    return faces.filter(({ status }) => status === 'restored').map(({ index }) => index)
  }
  t.same(await restored({ faces: 'largest' }), [0])
  t.same(await restored({ faces: 'center' }), [1])
  t.same(await restored({ faces: [2, 0] }), [0, 2])
  t.same(await restored({ faces: [] }), [])
  t.same(await restored({ faces: ({ box: [x], score }) => x > 200 && score === 0.9 }), [1, 2])
  t.same(await restored({ maxFaces: 2 }), [0, 1])
  t.same(await restored({ minFace: 60 }), [0, 1])
  const { faces } = await model.restorePhoto(PHOTO, [], { ...STEPS, maxFaces: 1, minFace: 60 })
  t.match(faces[1], { status: 'kept', reason: /^1 larger faces are restored \(maxFaces\)$/, crop: null, mask: null })
  t.match(faces[2], { status: 'kept', reason: /54 px large, less than minFace \(60\)/ })
})

t.test('neighbours: a kept face whose neighbour is restored keeps every pixel that is nearer to it', async (t) => {
  findsMarks(t)
  await using model = await load()
  const marks = [
    { left: 200, top: 100, width: 80, height: 100 },
    { left: 290, top: 105, width: 70, height: 90 },
  ]
  const photo = markedPhoto(640, 400, marks)
  for (const chosen of [0, 1]) {
    const { data, faces } = await model.restorePhoto(photo, [], { ...STEPS, faces: [chosen] })
    const { left, top, width, height } = marks[1 - chosen]!
    let touched = 0
    for (let y = top + 10; y < top + height - 10; y++) {
      for (let x = left + 5; x < left + width - 5; x++) {
        for (let c = 0; c < 3; c++) touched += data[3 * (y * 640 + x) + c] === photo.data[3 * (y * 640 + x) + c] ? 0 : 1
      }
    }
    t.equal(touched, 0, `face ${1 - chosen}`)
    t.equal(faces[chosen]!.status, 'restored')
  }
  const alone = await model.restorePhoto(photo, [], { ...STEPS, faces: [0] })
  const both = await model.restorePhoto(photo, [], STEPS)
  const centre = 3 * (150 * 640 + 240)
  t.same(
    [...both.data.subarray(centre, centre + 3)],
    [...alone.data.subarray(centre, centre + 3)],
    'and both are whole',
  )
})

t.test('alignments give the same result without looking', async (t) => {
  const looks = findsMarks(t)
  await using model = await load()
  const first = await model.restorePhoto(PHOTO, [], { ...STEPS, cropScale: 1.2, cropShift: 0.05, border: 'reflect101' })
  const { faces } = JSON.parse(JSON.stringify(first)) as typeof first
  t.same(faces[0]!.alignment!.cropScale, 1.2)
  const before = looks.length
  const again = await model.restorePhoto(PHOTO, [], { ...STEPS, alignments: faces.map(({ alignment }) => alignment!) })
  t.equal(looks.length, before)
  t.ok(Buffer.from(again.data).equals(Buffer.from(first.data)))
  t.equal(again.faces[0]!.score, null)
  const outside = faces[2]!.alignment!
  await t.rejects(model.restorePhoto(markedPhoto(40, 40, []), [], { ...STEPS, alignments: [outside] }), {
    code: 'ERR_ICONFACE_INVALID_ARGUMENT',
    message: /within the photograph of 40 x 40 pixels for alignments\[0\]/,
  })
  await t.rejects(model.restorePhoto(PHOTO, [], { alignments: [{ ...outside, size: 7 }] }), {
    code: 'ERR_ICONFACE_INVALID_ARGUMENT',
    message: /alignments\[0\]: .*alignment\.size/,
  })
})

t.test('enlarged: faces lie where they lay, and alignments are those of the photograph', async (t) => {
  findsMarks(t)
  await using model = await load()
  const { width, height, faces, data } = await model.restorePhoto(PHOTO, [], { ...STEPS, faces: [0], upscale: 2 })
  t.same([width, height, data.length], [1280, 800, 1280 * 800 * 3])
  t.same(faces[0]!.box, [60, 60, 60, 80])
  const { mask } = faces[0]!
  const middle = [mask!.left + mask!.width / 2, mask!.top + mask!.height / 2]
  t.ok(Math.abs(middle[0]! - 180) < 20 && Math.abs(middle[1]! - 200) < 40, String(middle))
  const raw = { width: 640, height: 400, channels: 3 as const }
  const expected = await sharp(PHOTO.data, { raw }).resize(1280, 800, { kernel: 'lanczos3' }).raw().toBuffer()
  const at = 3 * (700 * 1280 + 300)
  t.same([...data.subarray(at, at + 60)], [...expected.subarray(at, at + 60)], 'the background by Lanczos')
})

t.test('progress counts faces, and an abort leaves nothing', async (t) => {
  findsMarks(t)
  await using model = await load()
  const reports: PhotoProgress[] = []
  await model.restorePhoto(PHOTO, [], { ...STEPS, onProgress: (report) => void reports.push(report) })
  const stages = [...new Set(reports.map(({ stage }) => stage))]
  t.same(
    stages.filter((stage) => ['read', 'detect', 'sample', 'paste'].includes(stage)),
    ['read', 'detect', 'sample', 'paste'],
  )
  const sampled = reports.filter(({ stage }) => stage === 'sample')
  t.same([...new Set(sampled.map(({ face }) => face))], [0, 1, 2])
  t.ok(sampled.every(({ faces }) => faces === 3))
  t.ok(
    sampled.every(({ done }, i) => done >= (sampled[i - 1]?.done ?? 0) && done <= 1),
    'done never falls',
  )
  const controller = new AbortController()
  const stopped = model.restorePhoto(PHOTO, [], {
    ...STEPS,
    signal: controller.signal,
    onProgress: ({ stage, face }) => void (stage === 'sample' && face === 1 && controller.abort('enough')),
  })
  await t.rejects(stopped, { code: 'ERR_ICONFACE_ABORTED', cause: 'enough' })
  const failing = model.restorePhoto(PHOTO, [], {
    ...STEPS,
    onProgress: ({ stage }) => {
      if (stage === 'paste') throw new Error('mine')
    },
  })
  await t.rejects(failing, { message: 'mine' })
})

t.test('people: each gets the face that resembles them', async (t) => {
  findsMarks(t)
  await using model = await load()
  const whole = await model.restorePhoto(PHOTO, [], { ...STEPS, faces: [0, 1] })
  const crop = (i: number) => ({ ...whole.faces[i]!.crop!, channels: 3 as const })
  const people = { second: [crop(1)], first: [crop(0)] }
  const { faces } = await model.restorePhoto(PHOTO, [], { ...STEPS, people, matchThreshold: 0.9 })
  t.match(faces[0], { person: 'first', status: 'restored', restored: { identity: { source: 'references' } } })
  t.match(faces[1], { person: 'second', status: 'restored' })
  t.ok(faces[0]!.similarity! > 0.99 && faces[1]!.similarity! > 0.99)
  const strict = { ...STEPS, people: { first: [crop(0)] }, unmatched: 'keep' as const }
  const one = await model.restorePhoto(PHOTO, [], strict)
  t.same(
    one.faces.map(({ status, person }) => [status, person]),
    [
      ['restored', 'first'],
      ['kept', null],
      ['kept', null],
    ],
  )
  t.match(one.faces[1]!.reason, /resembles none of the references enough \(unmatched\)/)
  const list = await model.restorePhoto(PHOTO, [crop(1)], { ...STEPS, unmatched: 'keep' })
  t.same(
    list.faces.map(({ person }) => person),
    [null, 'references', null],
    'one list: the most similar face only',
  )
  await t.rejects(model.restorePhoto(PHOTO, [crop(0)], { people }), {
    code: 'ERR_ICONFACE_INVALID_ARGUMENT',
    message: /none where people are given for references/,
  })
})

t.test('references: without a face, with several', async (t) => {
  findsMarks(t)
  await using model = await load()
  const none = markedPhoto(300, 200, [])
  const several = markedPhoto(400, 300, [
    { left: 20, top: 20, width: 60, height: 80 },
    { left: 200, top: 50, width: 90, height: 120 },
  ])
  const { warnings } = await model.restorePhoto(PHOTO, [none, several], { ...STEPS, faces: [0] })
  const said = warnings.filter(({ code }) => code !== 'WARN_ICONFACE_RANDOM_WEIGHTS').map(String)
  t.match(said[0], /^no face was found in reference 1 \(looked at as .*\): it is left out/)
  t.match(said[1], /^reference 2 shows 2 faces: the largest was taken, from 200, 50 to 290, 170; give a picture/)
})

t.test('nothing that can be restored', async (t) => {
  const looks = findsMarks(t)
  await using model = await load()
  await t.rejects(model.restorePhoto(markedPhoto(640, 400, []), [], STEPS), {
    code: 'ERR_ICONFACE_NO_FACE',
    message:
      /no face in the photograph \(looked at as 1024 x 640 px above 0\.5, 1024 x 640 px above 0\.45, 1024 x 640 px above 0\.3, 1536 x 960 px above 0\.5.* 2048 x 1280 px above 0\.3\); give a photograph that shows/,
  })
  t.ok(
    looks.every(({ confidence }) => confidence === 0.3),
    'one look for all confidences',
  )
  const tiny = markedPhoto(640, 640, [{ left: 300, top: 300, width: 8, height: 8 }])
  const seen = await model.restorePhoto(tiny, [], STEPS)
  t.match(seen.faces, [{ status: 'kept', reason: /8 px large, less than minFace \(24\)/ }], '8 px, at a larger look')
  t.ok(Buffer.from(seen.data).equals(Buffer.from(tiny.data)))
  const narrow = markedPhoto(3000, 8, [])
  await t.rejects(model.restorePhoto(narrow, [], STEPS), { code: 'ERR_ICONFACE_NO_FACE', message: /too narrow/ })
})

t.test('faces at the edge, and a photograph that is only a face', async (t) => {
  findsMarks(t)
  await using model = await load()
  const cut = markedPhoto(640, 400, [
    { left: -20, top: 100, width: 60, height: 80 },
    { left: 560, top: 340, width: 80, height: 60 },
  ])
  const { faces } = await model.restorePhoto(cut, [], STEPS)
  t.same(
    faces.map(({ status }) => status),
    ['restored', 'restored'],
  )
  const only = markedPhoto(100, 140, [{ left: 0, top: 0, width: 100, height: 140 }])
  t.match((await model.restorePhoto(only, [], STEPS)).faces, [{ status: 'restored', box: [0, 0, 100, 140] }])
})

t.test('a panorama is looked at in sections, and no face is found twice', async (t) => {
  const looks = findsMarks(t)
  await using model = await load()
  const marks = [100, 1180, 2390, 3800].map((left, i) => ({ left, top: 50, width: 90 - i, height: 120 - i }))
  const panorama = markedPhoto(4000, 240, marks)
  const { faces } = await model.restorePhoto(panorama, [], { ...STEPS, faces: [] })
  t.same(
    faces.map(({ box: [left] }) => Math.round(left)),
    [100, 1180, 2390, 3800],
  )
  t.ok(looks.length > 5 && looks.every(({ width, height }) => width <= 3 * height + 1), `${looks.length} sections`)
})

t.test('a large photograph is looked at reduced, and once more for faces that fill it', async (t) => {
  const looks = findsMarks(t)
  await using model = await load()
  const large = markedPhoto(4000, 3000, [{ left: 1000, top: 600, width: 800, height: 1000 }])
  const { faces } = await model.restorePhoto(large, [], { ...STEPS, faces: [] })
  t.same(
    looks.map(({ width, height }) => [width, height]),
    [
      [2309, 1732],
      [853, 640],
    ],
  )
  t.equal(faces.length, 1)
  const [left, top, width, height] = faces[0]!.box
  t.ok(
    [left - 1000, top - 600, width - 800, height - 1000].every((away) => Math.abs(away) < 8),
    String(faces[0]!.box),
  )
})

t.test('options that are wrong', async (t) => {
  await using model = await load()
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const wrong: [object, RegExp][] = [
    [{ faces: 'some' }, /'all', 'largest', 'center'.*for faces/],
    [{ faces: [-1] }, /for faces/],
    [{ maxFaces: 0 }, /for maxFaces/],
    [{ minFace: -1 }, /for minFace/],
    [{ people: [] }, /for people/],
    [{ people: { mother: [] } }, /for people\.mother/],
    [{ matchThreshold: 2 }, /for matchThreshold/],
    [{ unmatched: 'drop' }, /for unmatched/],
    [{ alignments: [] }, /for alignments/],
    [{ cropScale: 9 }, /for cropScale/],
    [{ border: 'wrap' }, /for border/],
    [{ softness: 5 }, /for softness/],
    [{ upscale: 3 }, /1, 2 or 4 for upscale/],
    [{ keepLocation: 1 }, /for keepLocation/],
    [{ align: 'face' }, /unknown option 'align'/],
    [{ onProgress: 5 }, /for onProgress/],
  ]
  for (const [options, message] of wrong) {
    await t.rejects(model.restorePhoto(PHOTO, [], options as PhotoOptions), { code, message }, JSON.stringify(options))
  }
  findsMarks(t)
  await t.rejects(model.restorePhoto(PHOTO, [], { faces: [3] }), { code, message: /numbers below 3.*received 3/ })
  await t.rejects(model.restorePhoto(join(scratch, 'gone.jpg')), {
    code: 'ERR_ICONFACE_FILE_NOT_FOUND',
    message: /the photograph/,
  })
  await t.rejects(IConFace.load(await tinyModel(), { detector: join(scratch, 'gone') }), {
    code: 'ERR_ICONFACE_FILE_NOT_FOUND',
  })
})
