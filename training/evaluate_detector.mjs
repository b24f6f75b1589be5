#!/usr/bin/env node
/**
 * What a face detector finds in labelled photographs, by the package's own FaceDetector.
 *
 *     node training/evaluate_detector.mjs --faces FACES [--detector models/detector/detector.safetensors]
 *         [--empty FOLDER] [--draw OUT] [--json FILE] [--confidence 0.5] [--every N]
 *
 * FACES has labels.json and the photographs it names: portraits of roles `truth` and `reference` are looked at as they are, at a
 * quarter of the size, and after `degrade` (strength 8, the seed is the picture's number); those of role `whole` as they are.
 * FOLDER holds pictures without faces. OUT gets every whole photograph and the worst portraits, with boxes and landmarks: green
 * from the labels, red as found. Errors of landmarks are means over the five points, by the labels' distance of the eyes.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { degrade } from '@iconface/native/degrade'
import { FaceDetector } from '@iconface/native/networks'

const OWN = fileURLToPath(new URL('../models/detector/detector.safetensors', import.meta.url))

const { values: options } = parseArgs({
  options: {
    faces: { type: 'string' },
    detector: { type: 'string', default: OWN },
    empty: { type: 'string' },
    draw: { type: 'string' },
    json: { type: 'string' },
    confidence: { type: 'string', default: '0.5' },
    every: { type: 'string', default: '1' }, // only every so many-th portrait, for a first look
  },
})
if (options.faces === undefined) throw new Error('--faces names the folder with labels.json')
const confidence = Number(options.confidence)
const every = Number(options.every)
const STRENGTH = 8
/** What must be found in whole photographs. */
const LEAST_EYES = 20
const MOST_TILT = 45
const WORST = 24

const { files } = JSON.parse(readFileSync(path.join(options.faces, 'labels.json'), 'utf8'))
const portraits = files.filter(({ role }) => role === 'truth' || role === 'reference').filter((_, i) => i % every === 0)
const whole = files.filter(({ role }) => role === 'whole')
const detector = await FaceDetector.load(options.detector)

async function pixelsOf(file, width) {
  let picture = sharp(file).toColourspace('srgb').removeAlpha()
  if (width !== undefined) picture = picture.resize(width)
  const { data, info } = await picture.raw().toBuffer({ resolveWithObject: true })
  return { data, width: info.width, height: info.height, channels: 3 }
}

/** A label in the coordinates of a copy `scale` times as large. */
function scaled({ box: [left, top, width, height], landmarks }, scale) {
  return {
    box: [left, top, left + width, top + height].map((v) => v * scale),
    landmarks: landmarks.map((point) => point.map((v) => (v + 0.5) * scale - 0.5)),
  }
}

function overlap(a, b) {
  const side = (from, to) => Math.max(0, Math.min(a[to], b[to]) - Math.max(a[from], b[from]))
  const area = ([left, top, right, bottom]) => (right - left) * (bottom - top)
  const common = side(0, 2) * side(1, 3)
  return common / (area(a) + area(b) - common)
}

const distance = ([x, y], [u, v]) => Math.hypot(x - u, y - v)
const eyesOf = ({ landmarks: [left, right] }) => distance(left, right)

/** Mean distance of the five points, by the labels' distance of the eyes. */
function landmarkError(label, face) {
  const errors = label.landmarks.map((point, i) => distance(point, face.landmarks[i]))
  return errors.reduce((sum, e) => sum + e) / 5 / eyesOf(label)
}

/** Gives each label the found face that overlaps it most: by at least 0.4, or with landmarks within a fifth of the eyes. */
function matched(labels, faces) {
  const left = new Set(faces)
  const pairs = labels.map((label) => {
    const fits = [...left]
      .map((face) => ({ face, share: overlap(label.box, face.box), error: landmarkError(label, face) }))
      .filter(({ share, error }) => share >= 0.4 || error < 0.2)
      .sort((a, b) => b.share - a.share)
    if (fits.length > 0) left.delete(fits[0].face)
    return { label, ...fits[0] }
  })
  return { pairs, others: [...left] }
}

function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted.length === 0 ? NaN : sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]
}

const percent = (value) => `${(100 * value).toFixed(2)} %`

function summary(results) {
  const errors = results.flatMap(({ pairs }) => pairs.filter(({ face }) => face).map(({ error }) => error))
  return {
    faces: results.reduce((sum, { pairs }) => sum + pairs.length, 0),
    found: errors.length,
    false: results.reduce((sum, { others }) => sum + others.length, 0),
    landmarkMedian: quantile(errors, 0.5),
    landmark95: quantile(errors, 0.95),
    missed: results.flatMap(({ name, pairs }) => pairs.filter(({ face }) => !face).map(() => name)),
  }
}

function print(what, { faces, found, false: wrong, landmarkMedian, landmark95, missed }) {
  const errors = `landmarks off by ${percent(landmarkMedian)} of the eye distance (median), ${percent(landmark95)} (95 %)`
  console.log(`${what}: ${found} of ${faces} found, ${wrong} false; ${errors}`)
  if (missed.length > 0) console.log(`  missed in ${[...new Set(missed)].slice(0, 20).join(', ')}`)
}

async function drawn(name, picture, labels, faces) {
  if (options.draw === undefined) return
  const stroke = Math.max(1, Math.round(Math.max(picture.width, picture.height) / 500))
  const shape = ({ box: [left, top, right, bottom], landmarks }, colour) =>
    `<rect x="${left}" y="${top}" width="${right - left}" height="${bottom - top}" fill="none" stroke="${colour}" stroke-width="${stroke}"/>` +
    landmarks.map(([x, y]) => `<circle cx="${x + 0.5}" cy="${y + 0.5}" r="${1.3 * stroke}" fill="${colour}"/>`).join('')
  const scores = faces.map(
    ({ box: [left, top], score }) =>
      `<text x="${left}" y="${top - 2}" font-size="${7 * stroke}" fill="red">${score.toFixed(2)}</text>`,
  )
  const marks = [...labels.map((l) => shape(l, 'lime')), ...faces.map((f) => shape(f, 'red')), ...scores].join('')
  const { width, height } = picture
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${marks}</svg>`
  mkdirSync(options.draw, { recursive: true })
  await sharp(picture.data, { raw: { width, height, channels: 3 } })
    .composite([{ input: Buffer.from(svg) }])
    .jpeg({ quality: 85 })
    .toFile(path.join(options.draw, `${name}.jpg`))
}

/** Every portrait as `make` gives it; the worst are drawn. */
async function lookAtPortraits(what, make) {
  const results = []
  for (const [number, entry] of portraits.entries()) {
    const picture = await make(path.join(options.faces, entry.file), entry, number)
    const label = scaled(entry, picture.width / entry.width)
    const faces = await detector.detect(picture, { confidence })
    results.push({ name: path.basename(entry.file, '.jpg'), entry, number, faces, ...matched([label], faces) })
  }
  const report = summary(results)
  print(what, report)
  const badness = ({ pairs: [{ face, error }], others }) => (face ? error + others.length : 10)
  if (options.draw !== undefined) {
    for (const [rank, result] of [...results]
      .sort((a, b) => badness(b) - badness(a))
      .slice(0, WORST)
      .entries()) {
      const picture = await make(path.join(options.faces, result.entry.file), result.entry, result.number)
      const name = `${what.replaceAll(' ', '-')}-${String(rank).padStart(2, '0')}-${result.name}`
      await drawn(name, picture, [result.pairs[0].label], result.faces)
    }
  }
  return report
}

async function lookAtWhole() {
  const results = []
  for (const entry of whole) {
    const picture = await pixelsOf(path.join(options.faces, entry.file))
    const faces = await detector.detect(picture, { confidence })
    const labels = entry.faces.map((face) => ({ ...scaled(face, 1), roll: face.roll }))
    const name = path.basename(entry.file, '.jpg')
    const result = { name, ...matched(labels, faces) }
    await drawn(name, picture, labels, faces)
    // Smaller or more tilted faces may be found or not; either is right.
    const asked = ({ label }) => eyesOf(label) >= LEAST_EYES && Math.abs(label.roll) <= MOST_TILT
    results.push({ ...result, pairs: result.pairs.filter(asked) })
  }
  const report = summary(results)
  print('whole photographs', report)
  return report
}

async function lookAtEmpty(folder) {
  const names = readdirSync(folder).filter((name) => /\.(jpe?g|png|webp)$/i.test(name))
  let [found, pixels] = [0, 0]
  for (const name of names) {
    const picture = await pixelsOf(path.join(folder, name))
    const faces = await detector.detect(picture, { confidence })
    pixels += picture.width * picture.height
    found += faces.length
    if (faces.length > 0) {
      console.log(`  ${name}: ${faces.map(({ score }) => score.toFixed(2)).join(', ')}`)
      await drawn(`empty-${path.parse(name).name}`, picture, [], faces)
    }
  }
  console.log(
    `pictures without faces: ${found} false in ${names.length} pictures, ${(pixels / 1e6).toFixed(0)} megapixels`,
  )
  return { pictures: names.length, false: found, megapixels: pixels / 1e6 }
}

const report = {
  whole: await lookAtWhole(),
  portraits: await lookAtPortraits('portraits', (file) => pixelsOf(file)),
  quarter: await lookAtPortraits('portraits at a quarter', (file, { width }) => pixelsOf(file, Math.round(width / 4))),
  degraded: await lookAtPortraits('degraded portraits', (file, _, seed) => degrade(file, { strength: STRENGTH, seed })),
  ...(options.empty !== undefined && { empty: await lookAtEmpty(options.empty) }),
}
await detector.dispose()
if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`)
