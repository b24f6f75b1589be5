// FaceDetector: published files, what the network's numbers mean, the decisions around it, and what it refuses.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import sharp from 'sharp'
import type { ImageInput, RgbImage } from '../dist/image.js'
import { writeSafetensors } from '../dist/formats/safetensors-writer.js'
import { FaceDetector } from '../dist/networks/index.js'
import { OpContext } from '../dist/ops/index.js'
import { decodeFaces, type DetectedFace, priorAt, withoutOverlaps } from '../dist/photo/anchors.js'
import { detectionAttempts, detectorSize, selectFace } from '../dist/photo/policy.js'
import { detectorShapes, type DetectorSizes } from './fixtures/reference/retinaface'
import type { Weights } from './fixtures/reference/matrix'
import { randomWeights } from './fixtures/random-weights'
import { numbers } from './fixtures/tensors'

const folder = t.testdir({})
const SIZES: DetectorSizes = {
  backbone: 'mobilenet',
  stem: 4,
  stages: [[6, 8, 8, 10, 12], [14, 13], [18]],
  pyramid: 12,
}
const weights = randomWeights(31, detectorShapes(SIZES))
const picture = { ...numbers(32).picture(45, 70, 3), height: 45, width: 70 } as unknown as RgbImage
const BROAD = { shortSide: 0, confidence: 0.5, overlap: 0.4 }

async function write(name: string, tensors: Weights, rename = (name: string) => name): Promise<string> {
  const file = join(folder, name)
  const stored = [...tensors].map(([name, { shape, v }]) => ({
    name: rename(name),
    dtype: 'F32' as const,
    shape,
    data: Float32Array.from(v),
  }))
  await writeSafetensors(file, stored)
  return file
}

t.test('the same faces under every published naming', async (t) => {
  await using detector = await FaceDetector.load(await write('fx.safetensors', weights))
  const faces = await detector.detect(picture, BROAD)
  t.ok(faces.length > 0)
  t.ok(faces.every(({ score }, i) => score > 0.5 && score <= (faces[i - 1]?.score ?? 1)))
  const other = (name: string) =>
    `module.${name}`
      .replace('module.fx.', 'module.body.')
      .replace(/(bbox|class|landmark)_head\.\w+\.(\d)\./, (_, kind: string, i: string) => {
        const title = { bbox: 'Bbox', class: 'Class', landmark: 'Landmark' }[kind]!
        return `${title}Head.${i}.conv1x1.`
      })
  await using renamed = await FaceDetector.load(await write('body.safetensors', weights, other), { threads: 1 })
  t.strictSame(await renamed.detect(picture, BROAD), faces)
})

t.test('a picture that is enlarged gives places in its own pixels', async (t) => {
  const ops = new OpContext()
  const pixels = { dtype: 'u8' as const, shape: [45, 70, 3], data: picture.data }
  const { out } = await ops.run('detector_input', { pixels }, { height: 90, width: 140, outDtype: 'u8' })
  const bgr = out.data as Uint8Array
  const enlarged = { width: 140, height: 90, data: bgr.map((_, i) => bgr[i - (i % 3) + 2 - (i % 3)]!) }
  await using detector = await FaceDetector.load(await write('small.safetensors', weights))
  const expected = await detector.detect(enlarged, BROAD)
  t.ok(expected.length > 0)
  const faces = await detector.detect(picture, { ...BROAD, shortSide: 90 })
  const halved = ({ box, score, landmarks }: DetectedFace) => ({
    box: box.map((x) => x / 2),
    score,
    landmarks: landmarks.map(([x, y]) => [x / 2, y / 2]),
  })
  t.strictSame(faces, expected.map(halved))
})

t.test('decoding', (t) => {
  const count = 6 // one cell on each level
  t.throws(() => priorAt(count, 8, 8), /6 priors/)
  const predictions = {
    boxes: new Float32Array(4 * count),
    logits: new Float32Array(2 * count).fill(-9),
    landmarks: new Float32Array(10 * count),
  }
  predictions.logits.set([0, 2], 0) // the anchor of 16 px
  predictions.boxes.set([5, 0, 0, Math.log(2) / 0.2], 0)
  predictions.landmarks.set([-5, 10], 0)
  const [face, ...others] = decodeFaces(predictions, 8, 8, { confidence: 0.6, overlap: 0.4, candidates: 9, faces: 9 })
  t.strictSame(others, [])
  t.ok(Math.abs(face!.score - 1 / (1 + Math.exp(-2))) < 1e-12)
  const near = (a: readonly number[], b: number[]) => a.every((v, i) => Math.abs(v - b[i]!) < 1e-5)
  t.ok(near(face!.box, [4, -12, 20, 20]), String(face!.box))
  t.ok(near(face!.landmarks[0], [-4, 20]), String(face!.landmarks[0]))
  t.ok(near(face!.landmarks[4], [4, 4]))
  const even = decodeFaces(predictions, 8, 8, { confidence: 0.5, overlap: 0.4, candidates: 9, faces: 9 })
  t.equal(even.length, 1, 'a score at the threshold is not above it')
  t.end()
})

t.test('priors', (t) => {
  // 64 x 40 pixels: cells of 8 (5 rows of 8), of 16 (3 of 4), of 32 (2 of 2), two sides in each.
  const of = (row: number) => priorAt(row, 40, 64).map((v, i) => v * (i % 2 ? 40 : 64))
  t.strictSame(of(0), [4, 4, 16, 16])
  t.strictSame(of(1), [4, 4, 32, 32])
  t.strictSame(of(2), [12, 4, 16, 16])
  t.strictSame(of(2 * 8 + 1), [4, 12, 32, 32])
  t.strictSame(of(2 * 40 - 1), [60, 36, 32, 32])
  t.strictSame(of(2 * 40), [8, 8, 64, 64])
  t.strictSame(of(2 * 40 + 1), [8, 8, 128, 128])
  t.strictSame(of(2 * 52 - 1), [56, 40, 128, 128])
  t.strictSame(of(2 * 52), [16, 16, 256, 256])
  t.strictSame(of(2 * 56 - 1), [48, 48, 512, 512])
  t.throws(() => priorAt(2 * 56, 40, 64), /112 priors/)
  t.end()
})

t.test('only so many candidates are looked at, best first', (t) => {
  const count = 2 * 16 + 2 * 4 + 2 // 32 x 32 pixels
  const predictions = {
    boxes: new Float32Array(4 * count),
    logits: new Float32Array(2 * count).fill(-9),
    landmarks: new Float32Array(10 * count),
  }
  // Of the first row of cells: two anchors in one place, and the one three cells further.
  for (const [row, logit] of [
    [0, -7],
    [2, -8],
    [6, -8.5],
  ] as const)
    predictions.logits[2 * row + 1] = logit
  predictions.boxes[4 * 2] = -5 // half a side to the left: onto the first
  const rows = (candidates: number, faces = 9) =>
    decodeFaces(predictions, 32, 32, { confidence: 0.6, overlap: 0.4, candidates, faces }).map(({ box }) => box[0])
  t.strictSame(rows(3), [-4, 20])
  t.strictSame(rows(2), [-4], 'the third is not looked at, although the second is dropped')
  t.strictSame(rows(1), [-4])
  t.strictSame(rows(9, 1), [-4], 'one face at most')
  t.end()
})

t.test('5000 candidates and 750 faces', async (t) => {
  const same = new Map(weights)
  for (const head of ['class_head', 'bbox_head'])
    for (const level of [0, 1, 2]) {
      const name = `${head}.${head}.${level}`
      for (const part of ['weight', 'bias']) {
        const { shape } = weights.get(`${name}.${part}`)!
        const v = new Float64Array(shape.reduce((a, b) => a * b, 1))
        same.set(`${name}.${part}`, {
          shape,
          v: head === 'class_head' && part === 'bias' ? v.map((_, i) => (i % 2 ? 9 : -9)) : v,
        })
      }
    }
  await using detector = await FaceDetector.load(await write('same.safetensors', same))
  const grey = { width: 640, height: 640, data: new Uint8Array(640 * 640 * 3).fill(90) }
  // All 16,800 anchors score alike, so the first 5,000 are taken: rows 0 to 31 of the 80 x 80 cells with two anchors
  // each.
  t.equal((await detector.detect(grey, { overlap: 1 })).length, 750)
  const apart = await detector.detect(grey, { overlap: 0 })
  // Boxes of 16 pixels whose last ones count touch what is two cells away: every third of 80 columns and of 31 whole
  // rows.
  t.equal(apart.length, 27 * 11)
  t.equal(Math.max(...apart.map(({ box }) => (box[1] + box[3]) / 2)), 8 * 30 + 4)
})

const faceOf = (box: DetectedFace['box'], score = 1): DetectedFace => ({
  box,
  score,
  landmarks: [
    [0, 0],
    [0, 0],
    [0, 0],
    [0, 0],
    [0, 0],
  ],
})

t.test('overlaps', (t) => {
  const a = faceOf([0, 0, 9, 9])
  const shifted = faceOf([5, 0, 14, 9]) // 50 of 150 pixels
  const far = faceOf([30, 0, 39, 9])
  t.strictSame(withoutOverlaps([a, shifted, far], 0.33, 9), [a, far])
  t.strictSame(withoutOverlaps([a, shifted, far], 50 / 150, 9), [a, shifted, far], 'only more than that')
  t.strictSame(withoutOverlaps([a, shifted, far], 0.33, 1), [a], 'no more than asked for')
  t.end()
})

t.test('policy', (t) => {
  t.strictSame(
    detectionAttempts(1000, 0.5).map(({ shortSide, confidence }) => [shortSide, confidence]),
    [
      [1000, 0.5],
      [1000, 0.45],
      [1000, 0.3],
      [1280, 0.5],
      [1280, 0.45],
      [1280, 0.3],
    ],
  )
  t.strictSame(detectorSize(101, 100, 150), { height: 152, width: 150, scale: 1.5 })
  t.strictSame(detectorSize(103, 100, 150), { height: 154, width: 150, scale: 1.5 })
  t.strictSame(detectorSize(100, 101, 150), { height: 150, width: 152, scale: 1.5 }, '151.5: to even')
  t.strictSame(detectorSize(100, 102, 150), { height: 150, width: 153, scale: 1.5 })
  t.strictSame(detectorSize(100, 103, 150), { height: 150, width: 154, scale: 1.5 }, '154.5: to even')
  t.strictSame(detectorSize(200, 300, 0), { height: 200, width: 300, scale: 1 })
  t.strictSame(detectorSize(150, 151, 150), { height: 150, width: 151, scale: 1 }, 'large enough')
  t.strictSame(detectorSize(149, 298, 150), { height: 150, width: 300, scale: 150 / 149 })
  const confidences = (first: number) => [...new Set(detectionAttempts(640, first).map(({ confidence }) => confidence))]
  t.strictSame(confidences(0.6), [0.6, 0.45, 0.3])
  t.strictSame(confidences(0.4), [0.4, 0.3], 'none above the one asked for')
  t.strictSame(confidences(0.125), [0.12], 'in the middle: to even')
  t.strictSame(confidences(0.375), [0.38, 0.3])
  t.strictSame(confidences(0.145), [0.14], 'which is less than it looks')
  t.strictSame(confidences(0.555), [0.56, 0.45, 0.3], 'which is more')
  t.strictSame([...new Set(detectionAttempts(960, 0.3).map(({ shortSide }) => shortSide))], [960, 1280])
  const faces = [faceOf([0, 0, 10, 10], 0.9), faceOf([0, 0, 40, 20], 0.7), faceOf([45, 45, 55, 55], 0.8)]
  t.equal(selectFace(faces, 'largest', 100, 100), 1)
  t.equal(selectFace(faces, 'center', 100, 100), 2)
  t.equal(selectFace(faces, 'highest_score', 100, 100), 0)
  t.equal(selectFace([faces[0]!, faces[0]!], 'largest', 100, 100), 0, 'the first on a tie')
  t.end()
})

t.test('find', async (t) => {
  await using detector = await FaceDetector.load(await write('find.safetensors', weights))
  const faces = await detector.detect(picture, BROAD)
  const found = await detector.find(picture, { ...BROAD, selection: 'highest_score' })
  t.strictSame(found, faces[0])
  const blind = new Map(weights)
  for (const level of [0, 1, 2]) {
    const name = `class_head.class_head.${level}`
    const shape = weights.get(`${name}.weight`)!.shape
    blind.set(`${name}.weight`, { shape, v: new Float64Array(shape[0]! * shape[1]!) })
    blind.set(`${name}.bias`, { shape: [4], v: Float64Array.from([9, -9, 9, -9]) })
  }
  await using nothing = await FaceDetector.load(await write('blind.safetensors', blind))
  t.strictSame(await nothing.detect(picture), [])
  const options = { ...BROAD, shortSide: 64, confidence: 0.9 }
  const own = { ...picture, data: Uint8Array.from(picture.data) }
  const later = detector.find(own, options) // looks several times
  own.data.fill(0)
  structuredClone(own.data.buffer, { transfer: [own.data.buffer] })
  t.strictSame(await later, await detector.find(picture, options))
  const long = { width: 1400, height: 100, data: new Uint8Array(1400 * 100 * 3) }
  const untried = {
    code: 'ERR_ICONFACE_NO_FACE',
    message: /64 px above 0.3, 960 px above 0.6.*960 px above 0.3\)/,
  }
  await t.rejects(nothing.find(long, { shortSide: 64 }), untried, '1280 px would be 17920 px wide')
  const message = /no face in the picture.*64 px above 0.6, 64 px above 0.45.*1280 px above 0.3/
  await t.rejects(nothing.find(picture, { shortSide: 64 }), { code: 'ERR_ICONFACE_NO_FACE', message })
})

t.test('pictures of every kind are looked at, and decoded as everywhere', async (t) => {
  await using detector = await FaceDetector.load(await write('kinds.safetensors', weights))
  const { data, width, height } = picture
  const png = await sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer()
  const opaque = Uint8Array.from({ length: width * height * 4 }, (_, i) =>
    i % 4 < 3 ? data[3 * (i >> 2) + (i % 4)]! : 9,
  )
  const grey = {
    data: Uint8Array.from({ length: width * height }, (_, i) => i % 251),
    width,
    height,
    channels: 1 as const,
  }
  const expected = await detector.detect(picture, BROAD)
  t.ok(expected.length > 0)
  const kinds: [string, ImageInput][] = [
    ['bytes', png],
    ['a data: URL', `data:image/png;base64,${png.toString('base64')}`],
    ['RGB', { ...picture, channels: 3 }],
    ['RGBA', { data: opaque, width, height, channels: 4 }],
  ]
  for (const [what, image] of kinds) t.strictSame(await detector.detect(image, BROAD), expected, what)
  t.strictSame(await detector.find(png, BROAD), await detector.find(picture, BROAD))
  const spread = Uint8Array.from({ length: width * height * 3 }, (_, i) => grey.data[Math.floor(i / 3)]!)
  t.strictSame(
    await detector.detect(grey, BROAD),
    await detector.detect({ data: spread, width, height }, BROAD),
    'grey',
  )
  await t.rejects(detector.detect('gone.png'), {
    code: 'ERR_ICONFACE_FILE_NOT_FOUND',
    message: /^the picture: gone\.png/,
  })
})

t.test('what it refuses', async (t) => {
  const argument = 'ERR_ICONFACE_INVALID_ARGUMENT'
  const checkpoint = 'ERR_ICONFACE_INVALID_CHECKPOINT'
  const detector = await FaceDetector.load(await write('refuse.safetensors', weights))
  await t.rejects(detector.detect({ ...picture, width: 71 }), { code: argument, message: /9585 bytes \(RGB\)/ })
  await t.rejects(detector.detect({ ...picture, width: 0 }), { code: argument })
  await t.rejects(detector.detect({ width: 1, height: 1 } as RgbImage), { code: argument, message: /data/ })
  await t.rejects(detector.detect(null as unknown as RgbImage), { code: argument, message: /the picture/ })
  const long = { width: 2600, height: 100, data: new Uint8Array(2600 * 100 * 3) }
  await t.rejects(detector.detect(long), { code: argument, message: /2600 x 100, looked at as 16640 x 640/ })
  t.strictSame(await detector.detect(picture, { confidence: undefined } as object), await detector.detect(picture))
  await t.rejects(detector.detect(picture, { confidence: 2 }), { code: argument, message: /confidence/ })
  await t.rejects(detector.detect(picture, { shortside: 5 } as object), { code: argument, message: /shortSide/ })
  await t.rejects(detector.find(picture, { selection: 'smallest' as 'largest' }), { code: argument })
  await detector.dispose()
  await t.rejects(detector.detect(picture), { code: 'ERR_ICONFACE_DISPOSED' })

  await t.rejects(FaceDetector.load(join(folder, 'absent')), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
  writeFileSync(join(folder, 'no.safetensors'), 'not one')
  await t.rejects(FaceDetector.load(join(folder, 'no.safetensors')), { code: checkpoint })
  const other = await write('other.safetensors', new Map([['something', { shape: [1], v: new Float64Array(1) }]]))
  await t.rejects(FaceDetector.load(other), { code: checkpoint, message: /RetinaFace/ })
  for (const [name, shape] of [
    ['fx.stage2.0.1.0.weight', [14, 11, 1, 1]],
    ['fx.stage1.3.0.0.weight', [8, 2, 3, 3]],
    ['fpn.merge1.1.running_var', [13]],
    ['ssh2.conv7x7_3.0.weight', [3, 3, 5, 5]],
    ['landmark_head.landmark_head.1.bias', [10]],
    ['fpn.output3.0.weight', [16, 18, 1, 1]],
  ] as [string, number[]][]) {
    const wrong = new Map(weights)
    wrong.set(name, { shape, v: new Float64Array(shape.reduce((a, b) => a * b, 1)) })
    const message = new RegExp(name.replaceAll('.', '\\.').replace('\\.1\\.running_var', ''))
    await t.rejects(FaceDetector.load(await write('wrong.safetensors', wrong)), { code: checkpoint, message }, name)
    const missing = new Map(weights)
    missing.delete(name)
    await t.rejects(FaceDetector.load(await write('missing.safetensors', missing)), { code: checkpoint }, name)
  }
  const bottleneck = new Map(
    randomWeights(33, detectorShapes({ backbone: 'resnet', stem: 4, stages: [[4], [5], [6], [7]], pyramid: 8 })),
  )
  bottleneck.set('fx.layer1.0.conv3.weight', { shape: [16, 4, 1, 1], v: new Float64Array(64) })
  await t.rejects(FaceDetector.load(await write('r50.safetensors', bottleneck)), {
    code: checkpoint,
    message: /ResNet-34/,
  })
  const refused = async (sizes: Partial<DetectorSizes>, message: RegExp) => {
    const tensors = randomWeights(34, detectorShapes({ ...SIZES, ...sizes }))
    await t.rejects(FaceDetector.load(await write('sizes.safetensors', tensors)), { code: checkpoint, message })
  }
  await refused({ pyramid: 6 }, /fpn\.output1 must make a multiple of 4 channels, not 6/)
  await refused({ pyramid: 0 }, /fpn\.output1\.0\.weight.* is empty/)
  await refused({ stem: 0 }, /fx\.stage1\.0\.0\.weight.* is empty/)
  await refused({ stages: [[6, 8, 8], [14], [18]] }, /fx\.stage1\.4\.0\.0/)
  const twice = new Map([...weights, ['module.fpn.merge1.0.weight', weights.get('fpn.merge1.0.weight')!]] as const)
  await t.rejects(FaceDetector.load(await write('twice.safetensors', twice)), {
    code: checkpoint,
    message: /one tensor/,
  })

  for (const head of ['class_head', 'bbox_head', 'landmark_head']) {
    const broken = new Map(weights)
    const name = `${head}.${head}.0.bias`
    const { shape } = weights.get(name)!
    broken.set(name, { shape, v: new Float64Array(shape[0]!).fill(NaN) })
    await using unusable = await FaceDetector.load(await write('nan.safetensors', broken))
    await t.rejects(unusable.detect(picture), { code: 'ERR_ICONFACE_NUMERICAL' }, head)
  }
  const huge = new Map(weights)
  huge.set('bbox_head.bbox_head.0.bias', { shape: [8], v: new Float64Array(8).fill(4000) })
  await using infinite = await FaceDetector.load(await write('huge.safetensors', huge))
  await t.rejects(infinite.find(picture, { ...BROAD, selection: 'center' }), { code: 'ERR_ICONFACE_NUMERICAL' })
})
