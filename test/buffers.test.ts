// What callers may do to their buffers while a job reads them: anything. A job sees the pixels of the moment of the
// call.
import t, { type Test } from 'tap'
import { join } from 'node:path'
import { synthesizeCheckpoint } from '../dist/prepare/synthesize.js'
import { IConFace, type ImageInput } from '../dist/index.js'
import { scratchFolder, started, useFakeAddon } from './fixtures/fake'

const addon = useFakeAddon()
const folder = join(scratchFolder(), 'tiny')
const SIDE = 64
const BYTES = SIDE * SIDE * 3
let model: IConFace

t.before(async () => {
  await synthesizeCheckpoint('tiny', folder)
  model = await IConFace.load(folder)
})
t.teardown(() => model.dispose())

const raw = (data: Uint8Array, transfer?: boolean) => ({
  data,
  width: SIDE,
  height: SIDE,
  channels: 3 as const,
  transfer,
})

/** Starts a restore of `image`, lets the caller do its worst, and gives what the job then sees. */
async function seen(image: ImageInput, worst: () => void): Promise<Uint8Array> {
  const count = addon.fake.jobs.length + 1
  const restoring = model.restore(image)
  worst()
  const running = await started(addon, count)
  worst()
  const { data } = running.job.pixels[0]!
  running.finish()
  await restoring
  return data
}

function same(t: Test, data: Uint8Array, value: number): void {
  t.equal(data.length, BYTES)
  t.ok(
    data.every((byte) => byte === value),
    `all are ${value}`,
  )
}

t.test('overwritten: the job has a copy', async (t) => {
  const data = new Uint8Array(BYTES).fill(1)
  same(t, await seen(raw(data), () => data.fill(99)), 1)
})

t.test('detached by a transfer: the job has a copy', async (t) => {
  const data = new Uint8Array(BYTES).fill(2)
  let elsewhere: ArrayBuffer | undefined
  const detach = () => void (elsewhere ??= structuredClone(data.buffer, { transfer: [data.buffer] }))
  same(t, await seen(raw(data), detach), 2)
  t.equal(data.length, 0)
})

t.test('resizable and shrunk: the job has a copy', async (t) => {
  const Resizable = ArrayBuffer as unknown as new (
    n: number,
    o: { maxByteLength: number },
  ) => ArrayBuffer & {
    resize(n: number): void
  }
  const buffer = new Resizable(BYTES, { maxByteLength: BYTES })
  same(t, await seen(raw(new Uint8Array(buffer).fill(3)), () => buffer.resize(0)), 3)
})

t.test('shared memory: read in place', async (t) => {
  const data = new Uint8Array(new SharedArrayBuffer(BYTES + 8), 8).fill(4)
  const found = await seen(raw(data), () => {})
  same(t, found, 4)
  t.equal(found.buffer, data.buffer)
  t.equal(found.byteOffset, 8)
  same(t, await seen(raw(data, true), () => {}), 4)
})

t.test('transfer: taken over, without a copy, and lost to the caller', async (t) => {
  const data = new Uint8Array(BYTES).fill(5)
  same(t, await seen(raw(data, true), () => t.equal(data.length, 0)), 5)
})

t.test('detached before the call: an error, not an empty picture', async (t) => {
  const data = new Uint8Array(BYTES)
  structuredClone(data.buffer, { transfer: [data.buffer] })
  const error = {
    code: 'ERR_ICONFACE_INVALID_ARGUMENT',
    message: /12288 bytes .* received a Uint8Array of 0 bytes; .*detached/,
  }
  await t.rejects(model.restore(raw(data)), error)
  await t.rejects(model.restore(data.buffer), { code: 'ERR_ICONFACE_INVALID_IMAGE', message: /detached/ })
  await t.rejects(model.restore(data), { code: 'ERR_ICONFACE_INVALID_IMAGE', message: /detached/ })
})

t.test("Node's pool of small Buffers: the right bytes are copied, and the pool is never taken", async (t) => {
  const pooled = Buffer.from([7, 7, 7, 8, 8, 8])
  t.ok(pooled.buffer.byteLength > pooled.length)
  const image = { data: pooled, width: 2, height: 1, channels: 3 as const }
  const found = await seen(image, () => pooled.fill(99))
  t.same([...found], [7, 7, 7, 8, 8, 8])
  await t.rejects(model.restore({ ...image, transfer: true }), {
    code: 'ERR_ICONFACE_INVALID_ARGUMENT',
    message: /a view of its whole buffer \(\d+ bytes\) where transfer is true for input\.data/,
  })
})

t.test('encoded bytes are copied too', async (t) => {
  const { default: sharp } = await import('sharp')
  const background = { r: 6, g: 6, b: 6 }
  const bytes = new Uint8Array(
    await sharp({ create: { width: SIDE, height: SIDE, channels: 3, background } })
      .png()
      .toBuffer(),
  )
  same(t, await seen(bytes, () => bytes.fill(0)), 6)
})

t.test('nothing is taken over when another picture of the call is refused', async (t) => {
  const data = new Uint8Array(BYTES)
  await t.rejects(model.restore(raw(data, true), [raw(new Uint8Array(1))]), { message: /reference 1\.data/ })
  t.equal(data.length, BYTES)
})

t.test('nothing is taken over when the call is refused', async (t) => {
  const gone = await IConFace.load(folder)
  await gone.dispose()
  const data = new Uint8Array(BYTES)
  await t.rejects(gone.restore(raw(data, true)), { code: 'ERR_ICONFACE_DISPOSED' })
  await t.rejects(gone.embed(raw(data, true)), { code: 'ERR_ICONFACE_DISPOSED' })
  const signal = AbortSignal.abort()
  await t.rejects(model.restore(raw(data, true), [], { signal }), { code: 'ERR_ICONFACE_ABORTED' })
  await t.rejects(model.embed(raw(data, true), { signal }), { code: 'ERR_ICONFACE_ABORTED' })
  t.equal(data.length, BYTES)
})
