// Photographs of every kind: what they come as is what they go as.
import t from 'tap'
import { join } from 'node:path'
import { writeFileSync } from 'node:fs'
import sharp from 'sharp'
import { IConFace, type PhotoOptions } from '../../dist/index.js'
import { alignFace } from '../../dist/photo/alignment.js'
import { withProfile } from '../fixtures/encoded'
import { PROFILES } from '../fixtures/icc'
import { landmarksOf, markedPhoto } from '../fixtures/marked-faces'
import { scratch, tinyModel } from '../fixtures/tiny'

const MARK = { left: 100, top: 60, width: 40, height: 54 }
const ALIGNMENT = alignFace(landmarksOf(MARK), { size: 64 })
const PHOTO = markedPhoto(240, 180, [])
const GIVEN: PhotoOptions = { steps: 1, guidance: 1, alignments: [ALIGNMENT] }
const from = ({ data, width, height, channels }: ReturnType<typeof markedPhoto>) =>
  sharp(data, { raw: { width, height, channels } })

async function restored(model: IConFace, image: Buffer | string, options: PhotoOptions = {}) {
  return model.restorePhoto(image, [], { ...GIVEN, ...options })
}

t.test('depth, channels and bytes', async (t) => {
  await using model = await IConFace.load(await tinyModel(), { threads: 2 })
  const grey = await from(PHOTO).toColourspace('b-w').png().toBuffer()
  const alpha = await from(markedPhoto(240, 180, [], 4))
    .png()
    .toBuffer()
  const deep = await from(PHOTO).toColourspace('rgb16').png().toBuffer()
  for (const [what, image, channels, depth] of [
    ['grey', grey, 1, 'uchar'],
    ['alpha', alpha, 4, 'uchar'],
    ['16 bits', deep, 3, 'ushort'],
  ] as const) {
    const result = await restored(model, image)
    t.equal(result.channels, channels, what)
    const { data: before, info } = await sharp(image)
      .toColourspace(what === 'grey' ? 'b-w' : what === '16 bits' ? 'rgb16' : 'srgb')
      .raw({ depth })
      .toBuffer({ resolveWithObject: true })
    const values = depth === 'ushort' ? new Uint16Array(before.buffer, before.byteOffset, before.length / 2) : before
    t.equal(values.length, result.data.length, `${what}: ${info.channels}`)
    const corner = 20 * channels
    t.same([...result.data.subarray(0, corner)], [...values.subarray(0, corner)], `${what}: outside the mask`)
    const middle = (90 * 240 + 120) * channels
    t.not(result.data[middle], values[middle], `${what}: within`)
    if (channels === 4) {
      t.ok(
        values.every((value, i) => i % 4 !== 3 || value === result.data[i]),
        'alpha is kept',
      )
    }
    const written = join(scratch, 'out.png')
    await result.toFile(written)
    const back = await sharp(written).metadata()
    t.match(back, { channels, depth }, what)
    const again = await sharp(written).toColourspace(back.space).raw({ depth }).toBuffer()
    t.ok(
      again.equals(Buffer.from(result.data.buffer, result.data.byteOffset, result.data.byteLength)),
      `${what}: written as it is`,
    )
  }
})

t.test('a profile is kept, and colours mean the same in it', async (t) => {
  await using model = await IConFace.load(await tinyModel(), { threads: 2 })
  for (const space of ['srgb', 'rgb16'] as const) {
    const png = withProfile(await from(PHOTO).toColourspace(space).png().toBuffer(), PROFILES['Display P3'].bytes)
    const result = await restored(model, png)
    const { icc, depth } = await sharp(await result.toBuffer('png')).metadata()
    t.ok(icc?.equals(PROFILES['Display P3'].bytes), space)
    t.equal(depth, space === 'srgb' ? 'uchar' : 'ushort')
    const jpeg = await sharp(await result.toBuffer('jpg')).metadata()
    t.match(jpeg, { format: 'jpeg', chromaSubsampling: '4:4:4', depth: 'uchar' })
    t.ok(jpeg.icc?.equals(PROFILES['Display P3'].bytes))
    t.same(
      result.warnings.filter(({ code }) => code !== 'WARN_ICONFACE_RANDOM_WEIGHTS'),
      [],
    )
  }
})

t.test('EXIF and density', async (t) => {
  await using model = await IConFace.load(await tinyModel(), { threads: 2 })
  const exif = {
    IFD0: { Copyright: 'me' },
    IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '51/1 30/1 0/1' },
  }
  const turned = await from(PHOTO)
    .rotate(90)
    .withExif(exif)
    .withMetadata({ orientation: 8 })
    .jpeg({ quality: 95 })
    .toBuffer()
  for (const keepLocation of [false, true]) {
    const result = await restored(model, turned, { keepLocation })
    t.same([result.width, result.height], [240, 180], 'upright')
    for (const format of ['jpg', 'png', 'webp', 'avif'] as const) {
      const written = await sharp(await result.toBuffer(format)).metadata()
      t.match(written.exif?.toString('latin1'), /me/, `${format}: EXIF`)
      t.ok((written.orientation ?? 1) === 1, `${format}: upright`)
      const gps = written.exif!.includes(Buffer.from([0x25, 0x88])) || written.exif!.includes(Buffer.from([0x88, 0x25]))
      t.equal(gps, keepLocation, `${format}: GPS`)
    }
  }
  const dense = await from(PHOTO).withMetadata({ density: 300 }).png().toBuffer()
  t.equal((await sharp(await (await restored(model, dense)).toBuffer('png')).metadata()).density, 300)
})

t.test('what cannot be kept becomes sRGB, with a warning; faults are errors', async (t) => {
  await using model = await IConFace.load(await tinyModel(), { threads: 2 })
  const cmyk = await from(PHOTO).toColourspace('cmyk').jpeg().toBuffer()
  const result = await restored(model, cmyk)
  t.match(result, { channels: 3 })
  t.match(
    result.warnings.find(({ code }) => code === 'WARN_ICONFACE_CONVERTED')?.message,
    /the photograph: it is in CMYK/,
  )
  const jpeg = await from(PHOTO).jpeg().toBuffer()
  const half = jpeg.subarray(0, jpeg.length / 2)
  await t.rejects(restored(model, half), {
    code: 'ERR_ICONFACE_INVALID_IMAGE',
    message: /the photograph.*rows are missing/,
  })
  const tail = await restored(model, jpeg.subarray(0, jpeg.length - 2))
  t.match(tail.warnings.find(({ code }) => code === 'WARN_ICONFACE_DAMAGED')?.message, /the decoder complains/)
  const frames = await sharp([await from(PHOTO).png().toBuffer(), await from(PHOTO).negate().png().toBuffer()], {
    join: { animated: true },
  })
    .gif()
    .toBuffer()
  t.match(await restored(model, frames), { width: 240, height: 180 }, 'the first frame of an animation')
  const path = join(scratch, 'no.jpg')
  writeFileSync(path, 'no picture')
  await t.rejects(restored(model, path), { code: 'ERR_ICONFACE_INVALID_IMAGE', message: /no\.jpg/ })
})
