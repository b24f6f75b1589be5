// faceCrop: bilinear crops against a reference written out in float64, borders, large faces, and what is refused.
import t from 'tap'
import { BORDER_MODES } from '../../dist/photo/alignment.js'
import { faceCrop } from '../../dist/photo/face-crop.js'
import { allocatePixels, checkPixels, type PhotoPixels } from '../../dist/photo/pixels.js'
import { type AffineMatrix, inverseOf } from '../../dist/photo/similarity.js'
import { faceAt, photograph } from '../fixtures/photo'
import { cropped } from '../fixtures/reference/photo'
import { numbers } from '../fixtures/tensors'

const { uniform } = numbers(11)
const whole = (least: number, most: number) => least + Math.floor(uniform() * (most - least + 1))
const noise = (width: number, height: number, channels: number, bits: 8 | 16) =>
  photograph(width, height, channels, bits, () => uniform() * 2 ** bits)
const refused = (message: RegExp) => ({ code: 'ERR_ICONFACE_INVALID_ARGUMENT', message })

t.test('every kind of pixels, every border, faces within and outside', async (t) => {
  for (let i = 0; i < 60; i++) {
    const [channels, bits, border] = [(i % 4) + 1, i % 8 < 4 ? 8 : 16, BORDER_MODES[i % 3]!] as const
    const photo = noise(whole(1, 60), whole(1, 60), channels, bits)
    const size = whole(16, 40)
    const place = {
      x: uniform() * 80 - 10,
      y: uniform() * 80 - 10,
      side: size * (0.1 + 1.8 * uniform()),
      angle: 7 * uniform(),
    }
    const alignment = faceAt(place, { size, border })
    const { data, ...shape } = await faceCrop(photo, alignment)
    t.strictSame(shape, { width: size, height: size, channels: channels < 3 ? 1 : 3 })
    t.equal(data.BYTES_PER_ELEMENT, bits / 8)
    const expected = cropped(photo, inverseOf(alignment.matrix), size, border, bits === 16)
    t.ok(
      expected.every((value, k) => value === data[k]),
      `${JSON.stringify(place)} ${channels} x ${bits} ${border}`,
    )
  }
})

t.test('a pixel that covers more than 2 x 2 is the mean of several', async (t) => {
  for (const [covers, n] of [
    [2.5, 2],
    [4.2, 4],
  ] as const) {
    const photo = noise(190, 170, 3, covers < 3 ? 8 : 16)
    const size = 32
    const alignment = faceAt({ x: 90, y: 85, side: size * covers, angle: 0.4 }, { size, border: 'reflect' })
    const { data } = await faceCrop(photo, alignment)
    const m = inverseOf(alignment.matrix)
    const shift = 0.5 / n - 0.5
    const fine: AffineMatrix = [
      m[0] / n,
      m[1] / n,
      m[2] + (m[0] + m[1]) * shift,
      m[3] / n,
      m[4] / n,
      m[5] + (m[3] + m[4]) * shift,
    ]
    const values = cropped(photo, fine, size * n, 'reflect', covers > 3)
    const mean = (x: number, y: number, c: number) => {
      let sum = 0
      for (let j = 0; j < n; j++)
        for (let i = 0; i < n; i++) sum += values[((y * n + j) * size * n + x * n + i) * 3 + c]!
      return Math.floor((sum + Math.floor((n * n) / 2)) / (n * n))
    }
    const wrong = data.findIndex((v, i) => v !== mean(Math.floor(i / 3) % size, Math.floor(i / 3 / size), i % 3))
    t.equal(wrong, -1, `${covers} pixels to one`)
  }
})

t.test('fine detail does not fold over', async (t) => {
  const photo = photograph(600, 600, 1, 8, (x, y) => ((x + y) % 2) * 255)
  const { data } = await faceCrop(photo, faceAt({ x: 300, y: 300, side: 320, angle: 0.2 }, { size: 64 }))
  const [least, most] = [Math.min(...data), Math.max(...data)]
  t.ok(least > 90 && most < 165, `a checkerboard is grey: ${least} to ${most}`)
})

t.test('results do not depend on the threads', async (t) => {
  const photo = noise(300, 200, 3, 8)
  const alignment = faceAt({ x: 140, y: 90, side: 150, angle: 1 }, { size: 128 })
  const one = await faceCrop(photo, alignment, { threads: 1 })
  const three = await faceCrop(photo, alignment, { threads: 3 })
  t.ok(Buffer.from(one.data).equals(Buffer.from(three.data)))
})

t.test('pixels that cannot be', async (t) => {
  const photo = allocatePixels(20, 10, 3)
  const alignment = faceAt({ x: 10, y: 5, side: 16, angle: 0 }, { size: 16 })
  const crop = (change: object) => faceCrop({ ...photo, ...change } as PhotoPixels, alignment)
  await t.rejects(
    crop({ data: new Uint8Array(600) }),
    refused(/photo\.data.*SharedArrayBuffer|SharedArrayBuffer.*photo\.data/),
  )
  await t.rejects(crop({ data: new Uint8Array(new SharedArrayBuffer(599)) }), refused(/600 values \(20 x 10 x 3\)/))
  await t.rejects(
    crop({ data: new Float32Array(new SharedArrayBuffer(2400)) }),
    refused(/a Uint8Array or a Uint16Array/),
  )
  await t.rejects(crop({ width: 0 }), refused(/photo\.width/))
  await t.rejects(crop({ height: 70000 }), refused(/photo\.height/))
  await t.rejects(crop({ channels: 5 }), refused(/photo\.channels/))
  await t.rejects(crop({ width: 65535, height: 65535 }), refused(/photo\.width x height/))
  await t.rejects(faceCrop(null as never, alignment), refused(/photo/))
  await t.rejects(faceCrop(photo, { ...alignment, size: 1e9 }), refused(/alignment\.size/))
  await t.rejects(faceCrop(photo, alignment, { threads: 0 }), refused(/threads/))
  await t.rejects(faceCrop(photo, alignment, { signals: 0 } as never), refused(/did you mean 'signal'/))
  await t.rejects(faceCrop(photo, alignment, { signal: AbortSignal.abort('enough') }), {
    code: 'ERR_ICONFACE_ABORTED',
    cause: 'enough',
  })
  t.throws(() => allocatePixels(65535, 65535, 4, 16), refused(/width x height/))
  t.throws(() => allocatePixels(10, 10, 3, 12 as never), refused(/bits/))
  t.throws(() => checkPixels('photo', []), refused(/photo/))
})
