// What callers may do to their buffers while the addon reads them: anything (test/buffers.test.ts shows what a job is
// given; here it runs). The result is that of the pixels at the time of the call.
import t from 'tap'
import { createContext, runInContext } from 'node:vm'
import { IConFace, type ImageInput, type RawImage } from '../../dist/index.js'
import { collectGarbage, picture, QUICK, tinyModel } from '../fixtures/tiny'

const SIDE = 48
const BYTES = SIDE * SIDE * 3
const original = Uint8Array.from(picture(1, SIDE).data)
const raw = (data: Uint8Array, transfer?: boolean): RawImage => ({
  data,
  width: SIDE,
  height: SIDE,
  channels: 3,
  transfer,
})
let model: IConFace
let expected: Uint8Array

t.before(async () => {
  model = await IConFace.load(await tinyModel(), { threads: 2 })
  expected = (await model.restore(raw(original), [raw(original)], QUICK)).data
})
t.teardown(() => model.dispose())

interface Case {
  what: string
  make: () => Uint8Array
  transfer?: boolean
  /** Done right after the call, and again whenever the job reports. */
  harm?: (data: Uint8Array) => void
}

const resizable = () => {
  const buffer = new (ArrayBuffer as unknown as new (length: number, options: object) => ArrayBuffer)(BYTES, {
    maxByteLength: 2 * BYTES,
  })
  const data = new Uint8Array(buffer)
  data.set(original)
  return data
}
const copy = () => Uint8Array.from(original)
const realm = createContext()
/** Bytes of another realm, over what `buffer` says. */
const foreign =
  (buffer: string, type = 'Uint8Array') =>
  () => {
    const data = runInContext(`new ${type}(${buffer})`, realm) as Uint8Array
    data.set(original)
    return data
  }
const growable = `new SharedArrayBuffer(${BYTES}, { maxByteLength: ${2 * BYTES} })`
const grow = (data: Uint8Array) => {
  const buffer = data.buffer as unknown as { byteLength: number; grow(n: number): void }
  if (buffer.byteLength === BYTES) buffer.grow(2 * BYTES)
}
const detach = (data: Uint8Array) =>
  void (data.byteLength && structuredClone(data.buffer, { transfer: [data.buffer as ArrayBuffer] }))

const cases: Case[] = [
  { what: 'overwritten', make: copy, harm: (data) => void data.fill(255) },
  { what: 'transferred elsewhere and collected', make: copy, harm: (data) => (detach(data), collectGarbage()) },
  { what: 'referred to by nobody', make: copy, harm: () => collectGarbage() },
  {
    what: 'resizable, and shrunk to nothing',
    make: resizable,
    harm: (data) => (data.buffer as unknown as { resize(n: number): void }).resize(0),
  },
  {
    what: 'shared memory',
    make: () => {
      const data = new Uint8Array(new SharedArrayBuffer(BYTES))
      data.set(original)
      return data
    },
  },
  {
    what: 'in the pool of small buffers',
    make: () => Buffer.concat([Buffer.from(original)]),
    harm: (data) => void data.fill(0),
  },
  {
    what: 'in the middle of a larger buffer',
    make: () => {
      const all = new Uint8Array(BYTES + 99)
      all.set(original, 41)
      return all.subarray(41, 41 + BYTES)
    },
    harm: (data) => void data.fill(3),
  },
  { what: 'of another realm, overwritten', make: foreign(`${BYTES}`), harm: (data) => void data.fill(255) },
  {
    what: 'of another realm, clamped',
    make: foreign(`${BYTES}`, 'Uint8ClampedArray'),
    harm: (data) => void data.fill(9),
  },
  {
    what: 'of another realm, transferred elsewhere and collected',
    make: foreign(`${BYTES}`),
    harm: (data) => (detach(data), collectGarbage()),
  },
  {
    what: 'a Buffer over a buffer of another realm, transferred elsewhere and collected',
    make: () => {
      const data = Buffer.from(foreign(`${BYTES}`)().buffer)
      data.set(original)
      return data
    },
    harm: (data) => (detach(data), collectGarbage()),
  },
  { what: 'of another realm, referred to by nobody', make: foreign(`${BYTES}`), harm: () => collectGarbage() },
  {
    what: 'of another realm, resizable, and shrunk to nothing',
    make: foreign(`new ArrayBuffer(${BYTES}, { maxByteLength: ${BYTES} })`),
    harm: (data) => (data.buffer as unknown as { resize(n: number): void }).resize(0),
  },
  {
    what: 'of another realm, taken over',
    make: foreign(`${BYTES}`),
    transfer: true,
    harm: (data) => t.equal(data.byteLength, 0),
  },
  {
    what: 'shared memory of another realm',
    make: foreign(`new SharedArrayBuffer(${BYTES})`),
    harm: () => collectGarbage(),
  },
  { what: 'shared memory of another realm, growing', make: foreign(growable), harm: grow },
  { what: 'taken over', make: copy, transfer: true, harm: () => collectGarbage() },
  { what: 'resizable and taken over', make: resizable, transfer: true, harm: (data) => t.equal(data.byteLength, 0) },
]

for (const { what, make, transfer, harm } of cases) {
  t.test(what, async (t) => {
    const views: Uint8Array[] = []
    const image = () => {
      const data = make()
      if (!what.endsWith('referred to by nobody')) views.push(data)
      return raw(data, transfer)
    }
    const spoil = () => views.forEach((data) => harm?.(data))
    const restoring = model.restore(image(), [image()], { ...QUICK, onProgress: spoil })
    spoil()
    if (views.length === 0) collectGarbage()
    t.ok(Buffer.compare((await restoring).data, expected) === 0)
  })
}

const wasm: RawImage = {
  data: runInContext('new Uint8Array(new WebAssembly.Memory({ initial: 1 }).buffer)', realm) as Uint8Array, // 64 KiB that cannot be detached
  width: 128,
  height: 128,
  channels: 4,
  transfer: true,
}

t.test('two pictures in one buffer', async (t) => {
  const data = copy()
  await t.rejects(model.restore(raw(data, true), [raw(data, true)], QUICK), {
    code: 'ERR_ICONFACE_INVALID_ARGUMENT',
    message: /reference 1\.transfer/,
  })
  t.equal(data.byteLength, BYTES, 'nothing is taken over')
  const { data: result } = await model.restore(raw(data, true), [raw(data)], QUICK)
  t.ok(Buffer.compare(result, expected) === 0, 'one is copied before the other takes it over')
})

t.test('what cannot be read is refused with a reason', async (t) => {
  const gone = copy()
  detach(gone)
  const wrong: [string, ImageInput, RegExp][] = [
    ['detached', raw(gone), /detached or empty/],
    ['detached, encoded', gone, /no bytes/],
    ['detached buffer', gone.buffer, /detached|no bytes/],
    ['too short', raw(original.subarray(1)), /6911 bytes/],
    ['of another type', raw(new Uint16Array(BYTES) as unknown as Uint8Array), /Uint16Array/],
    ['memory of WebAssembly, to take over', wasm, /can be detached/],
    ['part of a buffer, to take over', raw(new Uint8Array(BYTES + 1).subarray(1), true), /whole buffer/],
  ]
  for (const [what, image, message] of wrong) {
    await t.rejects(model.restore(image), { message, code: /INVALID_(ARGUMENT|IMAGE)/ }, what)
    await t.rejects(model.restore(raw(original), [image]), { message, code: /INVALID_(ARGUMENT|IMAGE)/ }, what)
  }
})
