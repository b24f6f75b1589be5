// pasteBack: masks and pixels against a reference written out in float64, what is left untouched, and what is refused.
import t from 'tap'
import type { Alignment } from '../../dist/photo/alignment.js'
import { faceCrop } from '../../dist/photo/face-crop.js'
import { pasteBack, type PasteMask, type RestoredFace } from '../../dist/photo/paste-back.js'
import { allocatePixels, type PhotoPixels } from '../../dist/photo/pixels.js'
import { type AffineMatrix, inverseOf } from '../../dist/photo/similarity.js'
import { copyOf, faceAt, photograph } from '../fixtures/photo'
import { rint, sampled, softMask } from '../fixtures/reference/photo'
import { numbers } from '../fixtures/tensors'

const { uniform } = numbers(21)
const whole = (least: number, most: number) => least + Math.floor(uniform() * (most - least + 1))
const noise = (width: number, height: number, channels: number, bits: 8 | 16 = 8) =>
  photograph(width, height, channels, bits, () => uniform() * 2 ** bits)
const refused = (message: RegExp) => ({ code: 'ERR_ICONFACE_INVALID_ARGUMENT', message })
const toCrop = ({ inverse }: Alignment) => inverseOf(inverse.map(Math.fround) as unknown as AffineMatrix)

/** The mask's value at a pixel of the photograph. */
const shareAt = ({ left, top, width, height, data }: PasteMask, x: number, y: number) =>
  x < left || y < top || x >= left + width || y >= top + height ? 0 : data[(y - top) * width + x - left]!

/** What a restored face gives at a pixel, rounded; black beyond it. */
function restoredAt(m: AffineMatrix, face: RestoredFace, x: number, y: number, c: number): number {
  const value = (i: number, j: number) => {
    const inside = i >= 0 && j >= 0 && i < face.width && j < face.width
    return inside ? face.data[(j * face.width + i) * face.channels + c]! : 0
  }
  return Math.floor(sampled(m, x, y, value) + 0.5)
}

t.test('masks and pixels of faces within, at the border and beside a photograph', async (t) => {
  for (let i = 0; i < 40; i++) {
    const [channels, bits, beyond] = [(i % 4) + 1, i % 8 < 4 ? 8 : 16, i % 2 ? 'black' : 'photograph'] as const
    const [width, height, size] = [whole(1, 70), whole(1, 70), whole(16, 32)]
    const photo = noise(width, height, channels, bits)
    const place = { x: uniform() * 70, y: uniform() * 70, side: size * 3 ** (2 * uniform() - 1), angle: 7 * uniform() }
    const alignment = faceAt(place, { size })
    const restored = noise(size, size, channels < 3 ? 1 : 3, bits) as RestoredFace
    const softness = 0.25 * whole(1, 16)
    const pasted = copyOf(photo)
    const mask = await pasteBack(pasted, restored, alignment, { softness, beyond, maskType: 'f32' })
    const m = toCrop(alignment)
    const expected = softMask(m, size, width, height, softness)
    let [worstShare, worstValue, differing] = [0, 0, 0]
    for (let pixel = 0; pixel < width * height; pixel++) {
      const [x, y] = [pixel % width, Math.floor(pixel / width)]
      const weight = expected.mask(x, y)
      const share = beyond === 'black' ? weight : weight * expected.coverage[pixel]!
      worstShare = Math.max(worstShare, Math.abs(shareAt(mask, x, y) - share))
      for (let c = 0; c < channels; c++) {
        const at = pixel * channels + c
        const isAlpha = c === channels - 1 && channels % 2 === 0
        const mixed = weight * restoredAt(m, restored, x, y, isAlpha ? 0 : c) + (1 - share) * photo.data[at]!
        const value = isAlpha ? photo.data[at]! : rint(mixed)
        worstValue = Math.max(worstValue, Math.abs(pasted.data[at]! - value))
        if (pasted.data[at] !== value) differing++
      }
    }
    const what = `${width} x ${height} x ${channels} of ${bits} bits, ${beyond}, softness ${softness}, ${JSON.stringify(place)}`
    t.ok(worstShare <= 5e-6, `the mask differs by ${worstShare}: ${what}`)
    t.ok(worstValue <= 1, `pixels differ by ${worstValue}: ${what}`)
    t.ok(differing <= (bits === 8 ? 1e-3 : 0.2) * photo.data.length, `${differing} values differ: ${what}`)
  }
})

t.test('large masks are computed on a coarser grid', async (t) => {
  const [width, height, size] = [1500, 1300, 64]
  const photo = allocatePixels(width, height, 1)
  const alignment = faceAt({ x: 700, y: 600, side: 1400, angle: 0.3 }, { size })
  const white = photograph(size, size, 1, 8, () => 255) as RestoredFace
  for (const softness of [1, 4]) {
    const mask = await pasteBack(photo, white, alignment, { softness, beyond: 'black', maskType: 'f32' })
    const expected = softMask(toCrop(alignment), size, width, height, softness)
    t.ok(expected.radius > 100, `a radius of ${expected.radius}`)
    let worst = 0
    for (let i = 0; i < 60; i++) {
      const [x, y] = [whole(0, width - 1), whole(0, height - 1)]
      worst = Math.max(worst, Math.abs(shareAt(mask, x, y) - expected.mask(x, y)))
    }
    t.ok(worst < 1e-4, `softness ${softness}: ${worst}`)
  }
})

t.test('an unrestored crop changes nothing', async (t) => {
  const check = async (photo: PhotoPixels, alignment: Alignment, softness: number, what: string) => {
    const pasted = copyOf(photo)
    const crop = (await faceCrop(photo, alignment)) as RestoredFace
    const mask = await pasteBack(pasted, crop, alignment, { softness })
    t.ok(Math.max(...mask.data) === 255, 'the face is in the mask')
    const most = Math.max(...Array.from(pasted.data, (value, i) => Math.abs(value - photo.data[i]!)))
    t.ok(most <= 1, `${what}, softness ${softness}: ${most}`)
  }
  for (const softness of [0.25, 1, 4]) {
    await check(
      noise(90, 80, 3),
      faceAt({ x: 43.5, y: 39.5, side: 64, angle: 0 }, { size: 64 }),
      softness,
      'noise in place',
    )
    await check(
      noise(90, 80, 3),
      faceAt({ x: 13.5, y: 70.5, side: 64, angle: 0 }, { size: 64 }),
      softness,
      'at the border',
    )
    const smooth = photograph(120, 110, 3, 8, (x, y, c) => 128 + 100 * Math.sin((x + 2 * y) / 60 + c))
    const turned = faceAt({ x: 61.3, y: 52.7, side: 64, angle: 0.5 }, { size: 64 })
    await check(smooth, turned, softness, 'a smooth picture, turned')
  }
})

t.test("bytes outside the mask are the photograph's own", async (t) => {
  for (const channels of [1, 2, 3, 4]) {
    const photo = noise(80, 60, channels)
    const pasted = copyOf(photo)
    const restored = noise(48, 48, channels < 3 ? 1 : 3) as RestoredFace // of another size than the crop
    const mask = await pasteBack(pasted, restored, faceAt({ x: 30, y: 30, side: 30, angle: 0.7 }, { size: 32 }))
    let changed = 0
    for (let i = 0; i < photo.data.length; i++) {
      if (pasted.data[i] === photo.data[i]) continue
      changed++
      const pixel = Math.floor(i / channels)
      t.ok(channels % 2 === 1 || i % channels !== channels - 1, 'alpha stays')
      // A share below 1/510 is 0 in 8 bits, and may still move a value by one.
      const share = shareAt(mask, pixel % 80, Math.floor(pixel / 80))
      if (share === 0) t.ok(Math.abs(pasted.data[i]! - photo.data[i]!) <= 1, 'a change beyond the mask')
    }
    t.ok(changed > 300, `${changed} values of ${channels} channels`)
    t.ok(mask.left > 0 && mask.top > 0 && mask.left + mask.width < 80, 'the mask is a part')
  }
})

t.test('a face beside the photograph touches nothing', async (t) => {
  const photo = noise(40, 30, 3)
  const pasted = copyOf(photo)
  const alignment = faceAt({ x: 500, y: -300, side: 60, angle: 1 }, { size: 16 })
  const mask = await pasteBack(pasted, noise(16, 16, 3) as RestoredFace, alignment)
  t.match(mask, { width: 0, height: 0 })
  t.equal(mask.data.length, 0)
  t.ok(Buffer.from(pasted.data).equals(Buffer.from(photo.data)))
})

t.test('results do not depend on the threads, and calls keep their order', async (t) => {
  const photo = noise(200, 150, 3)
  const faces = [0, 1, 2].map((i) => ({
    restored: noise(64, 64, 3) as RestoredFace,
    alignment: faceAt({ x: 80 + 20 * i, y: 70, side: 90, angle: i }, { size: 64 }),
  }))
  const paste = async (threads: number, wait: boolean) => {
    const pasted = copyOf(photo)
    const running = []
    for (const { restored, alignment } of faces) {
      running.push(pasteBack(pasted, restored, alignment, { threads }))
      if (wait) await running.at(-1)
    }
    const masks = await Promise.all(running)
    return [pasted.data, ...masks.map(({ data }) => data)].map((data) => Buffer.from(data).toString('base64'))
  }
  const expected = await paste(1, true)
  t.strictSame(await paste(3, true), expected)
  t.strictSame(await paste(2, false), expected)
})

t.test('stopped, it leaves the photograph as it was', async (t) => {
  const photo = noise(1600, 1200, 3)
  const pasted = copyOf(photo)
  const alignment = faceAt({ x: 800, y: 600, side: 1500, angle: 0.1 }, { size: 64 })
  const restored = noise(64, 64, 3) as RestoredFace
  const abort = new AbortController()
  const running = pasteBack(pasted, restored, alignment, { signal: abort.signal, softness: 4 })
  abort.abort('enough')
  await t.rejects(running, { code: 'ERR_ICONFACE_ABORTED', cause: 'enough' })
  await t.rejects(faceCrop(photo, alignment, { signal: abort.signal }), { code: 'ERR_ICONFACE_ABORTED' })
  t.ok(Buffer.from(pasted.data).equals(Buffer.from(photo.data)))
  t.ok((await pasteBack(pasted, restored, alignment)).data.includes(255), 'the next one runs')
})

t.test('what cannot be pasted', async (t) => {
  const photo = allocatePixels(40, 30, 4)
  const alignment = faceAt({ x: 20, y: 15, side: 20, angle: 0 }, { size: 16 })
  const face = noise(16, 16, 3) as RestoredFace
  const paste = (change: object, options?: object) =>
    pasteBack(photo, { ...face, ...change } as RestoredFace, alignment, options)
  await t.rejects(paste({ channels: 4 }), refused(/3, as the photograph has.*restored\.channels/))
  await t.rejects(paste({ height: 15 }), refused(/restored\.height/))
  await t.rejects(paste({ width: 5000 }), refused(/restored\.width/))
  await t.rejects(paste({ data: new Uint8Array(3) }), refused(/a Uint8Array of 768 values.*restored\.data/))
  await t.rejects(paste({ data: new Uint16Array(768) }), refused(/a Uint8Array of 768 values/))
  await t.rejects(pasteBack(photo, null as never, alignment), refused(/restored/))
  await t.rejects(paste({}, { softness: 0.2 }), refused(/0\.25 to 4 for softness/))
  await t.rejects(paste({}, { softness: NaN }), refused(/softness/))
  await t.rejects(paste({}, { beyond: 'white' }), refused(/'photograph' or 'black'/))
  await t.rejects(paste({}, { maskType: 'u16' }), refused(/'u8' or 'f32'/))
  await t.rejects(paste({}, { softnes: 1 }), refused(/did you mean 'softness'/))
  await t.rejects(pasteBack({ ...photo, data: new Uint8Array(4800) }, face, alignment), refused(/SharedArrayBuffer/))
  const enormous = faceAt({ x: 5e5, y: 5e5, side: 1e5, angle: 0.3 }, { size: 16 })
  t.match(await pasteBack(photo, face, enormous), { width: 0 }, 'an enormous face far away')
  const tiny = faceAt({ x: 20, y: 15, side: 0.3, angle: 0.3 }, { size: 64 })
  t.ok((await pasteBack(photo, face, tiny)).width < 12, 'a face of less than a pixel')
})
