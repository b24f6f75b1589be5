#!/usr/bin/env node
/**
 * Makes a data set for training: pictures of people in several states, and degraded versions of each.
 *
 *     node training/make_data.mjs --out DIR --identities 1000 --states 6 --versions 2
 *     node training/make_data.mjs --out DIR --first 500000 --identities 200     # people nobody trains on
 *     node training/make_data.mjs --out DIR --photos FOLDER                     # photos: one folder for each person
 *
 * Files, row-major, of M pictures sorted by person, each with V degraded versions of side S:
 *
 *     data.json       { size, pictures: M, versions: V, identities, landmarks: L, first, states }
 *     clean.u8        [M, S, S, 3] R, G, B
 *     degraded.u8     [M, V, S, S, 3]
 *     strength.f32    [M, V] 0 to 16
 *     identity.i32    [M] person of the picture, from 0
 *     landmarks.f32   [M, L, 2] x, y in pixels; absent for photos
 *     done.u8         [M] 1 where a picture is finished: run the same command again to go on
 */
import { fork } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { ftruncateSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { degrade, trainingStrength } from '@iconface/native/degrade'
import { PORTRAIT_LANDMARKS, portraitIdentity, portraitState, renderPortrait } from '@iconface/native/portraits'

const { values: options } = parseArgs({
  options: {
    out: { type: 'string' },
    photos: { type: 'string' },
    first: { type: 'string', default: '0' },
    identities: { type: 'string', default: '1000' },
    states: { type: 'string', default: '6' },
    versions: { type: 'string', default: '2' },
    size: { type: 'string', default: '128' },
    processes: { type: 'string', default: '2' },
    part: { type: 'string' }, // which of the processes this is; the command itself has none
  },
})
if (options.out === undefined) throw new Error('--out names the folder of the data set')

const whole = (name, least = 1) => {
  const value = Number(options[name])
  if (!Number.isInteger(value) || value < least)
    throw new Error(`expected a whole number from ${least} for --${name} but received ${options[name]}`)
  return value
}
const [size, versions, first] = [whole('size'), whole('versions'), whole('first', 0)]
const source = options.photos === undefined ? drawn() : photographed(options.photos)
const { pictures } = source
const picture = size * size * 3
/** Bytes of one picture's row in every file. */
const FILES = {
  'clean.u8': picture,
  'degraded.u8': versions * picture,
  'strength.f32': versions * 4,
  'identity.i32': 4,
  ...(source.landmarks > 0 && { 'landmarks.f32': source.landmarks * 8 }),
  'done.u8': 1,
}

/** People from their seeds, `--states` pictures of each. */
function drawn() {
  const [identities, states] = [whole('identities'), whole('states')]
  return {
    pictures: identities * states,
    identities,
    states,
    landmarks: PORTRAIT_LANDMARKS.length,
    identityOf: (m) => Math.floor(m / states),
    seedOf: (m) => (first + Math.floor(m / states)) * 1000 + (m % states),
    async read(m) {
      const { data, landmarks } = await renderPortrait(
        portraitIdentity(first + this.identityOf(m)),
        portraitState(this.seedOf(m)),
        size,
      )
      return { data, landmarks: Float32Array.from(landmarks.flat()) }
    },
  }
}

/** Aligned photos, one folder for each person. */
function photographed(folder) {
  const people = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) =>
      readdirSync(path.join(folder, name))
        .sort()
        .map((file) => path.join(folder, name, file)),
    )
    .filter((files) => files.length > 0)
  const files = people.flatMap((paths, identity) => paths.map((file) => ({ identity, file })))
  if (files.length === 0) throw new Error(`${folder} has no folder with a photo`)
  return {
    pictures: files.length,
    identities: people.length,
    landmarks: 0,
    identityOf: (m) => files[m].identity,
    seedOf: (m) => first * 1000 + m,
    async read(m) {
      const shrunk = sharp(files[m].file, { autoOrient: true }).toColourspace('srgb').removeAlpha().resize(size, size)
      return { data: await shrunk.raw().toBuffer() }
    },
  }
}

/** Creates the files, or checks that those in the folder are of the same data set. */
function prepare() {
  const description = {
    size,
    pictures,
    versions,
    identities: source.identities,
    states: source.states,
    first,
    landmarks: source.landmarks,
  }
  const json = `${JSON.stringify(description, null, 2)}\n`
  const file = path.join(options.out, 'data.json')
  mkdirSync(options.out, { recursive: true })
  if (existsSync(file) && readFileSync(file, 'utf8') !== json)
    throw new Error(`${options.out} holds another data set (${file} differs); name another folder`)
  for (const [name, bytes] of Object.entries(FILES)) {
    const fd = openSync(path.join(options.out, name), 'a')
    ftruncateSync(fd, pictures * bytes)
    closeSync(fd)
  }
  writeFileSync(file, json)
}

/** Every `step`-th picture from `start` that is not done yet. */
async function make(start, step) {
  sharp.concurrency(1)
  const files = Object.fromEntries(
    Object.keys(FILES).map((name) => [name, openSync(path.join(options.out, name), 'r+')]),
  )
  const put = (name, m, data) =>
    writeSync(
      files[name],
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      0,
      data.byteLength,
      m * FILES[name],
    )
  const flag = new Uint8Array(1)
  for (let m = start; m < pictures; m += step) {
    readSync(files['done.u8'], flag, 0, 1, m)
    if (flag[0] === 1) continue
    const { data, landmarks } = await source.read(m)
    const degraded = new Uint8Array(versions * picture)
    const strengths = new Float32Array(versions)
    for (let v = 0; v < versions; v++) {
      const seed = source.seedOf(m) * 16 + v
      strengths[v] = trainingStrength(seed)
      const image = { data, width: size, height: size, channels: 3 }
      degraded.set((await degrade(image, { strength: strengths[v], seed })).data, v * picture)
    }
    put('clean.u8', m, data)
    put('degraded.u8', m, degraded)
    put('strength.f32', m, strengths)
    put('identity.i32', m, Int32Array.of(source.identityOf(m)))
    if (landmarks) put('landmarks.f32', m, landmarks)
    put('done.u8', m, Uint8Array.of(1)) // last: a picture cut short is made again
  }
}

function runAll(processes) {
  prepare()
  const finished = () => readFileSync(path.join(options.out, 'done.u8')).reduce((sum, done) => sum + done, 0)
  const timer = setInterval(() => console.log(`${finished()} of ${pictures} pictures`), 10_000)
  const script = fileURLToPath(import.meta.url)
  const ends = Array.from({ length: processes }, (_, part) => {
    const child = fork(script, [...process.argv.slice(2), '--part', String(part)])
    return new Promise((resolve, reject) =>
      child.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`process ${part} ended with ${code}`)))),
    )
  })
  return Promise.all(ends).finally(() => {
    clearInterval(timer)
    console.log(`${finished()} of ${pictures} pictures`)
  })
}

if (options.part === undefined) await runAll(whole('processes'))
else await make(whole('part', 0), whole('processes'))
