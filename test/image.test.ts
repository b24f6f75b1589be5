// Pictures in, whatever they come as; results out as files.
import t, { type Test } from 'tap'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import sharp from 'sharp'
import { capturePictures, type ImageInput } from '../dist/image.js'
import { Restoration } from '../dist/restoration.js'
import { sameBytes } from './fixtures/bytes'
import { scratchFolder } from './fixtures/fake'
import { sharedFolder } from './fixtures/shared'

const scratch = scratchFolder()

async function read(image: ImageInput, maxPixels = 1e8) {
  const [picture] = capturePictures([{ name: 'reference 2', image }], maxPixels)
  return picture!.read()
}

/** RGB of one pixel. */
async function pixel(image: ImageInput, x = 0, y = 0): Promise<number[]> {
  const { data, width, channels } = await read(image)
  return [...data.subarray((y * width + x) * channels, (y * width + x) * channels + 3)]
}

function near(t: Test, found: number[], wanted: number[], tolerance: number, what: string): void {
  t.ok(
    found.length === wanted.length && found.every((v, i) => Math.abs(v - wanted[i]!) <= tolerance),
    `${what}: ${String(found)} is near ${String(wanted)}`,
  )
}

const COLOUR = { r: 184, g: 50, b: 30 }
const plain = (width = 4, height = 2) => sharp({ create: { width, height, channels: 3, background: COLOUR } })

t.test('a path, a file URL, bytes and an ArrayBuffer give the same pixels', async (t) => {
  const bytes = await plain().png().toBuffer()
  const path = join(scratch, 'a b.png')
  writeFileSync(path, bytes)
  const buffer = new Uint8Array(bytes).buffer
  const all = await Promise.all([path, pathToFileURL(path), bytes, new Uint8Array(buffer), buffer].map((i) => read(i)))
  for (const picture of all) {
    t.match(picture, { width: 4, height: 2, channels: 3 })
    t.same([...picture.data], Array.from({ length: 8 }, () => [184, 50, 30]).flat())
  }
})

t.test('every accepted format decodes', async (t) => {
  for (const format of ['jpeg', 'png', 'webp', 'tiff', 'gif', 'avif'] as const) {
    near(t, await pixel(await plain(32, 32).toFormat(format).toBuffer(), 9, 9), [184, 50, 30], 6, format)
  }
})

t.test('all eight EXIF orientations show the same picture', async (t) => {
  // A red corner, top left, in a picture that stands upright: 2 wide, 3 high.
  const upright = Buffer.from([255, 0, 0, ...new Array<number>(15).fill(0)])
  const picture = () => sharp(upright, { raw: { width: 2, height: 3, channels: 3 } })
  // How to turn the upright picture into what a camera stores under each orientation.
  const stored: Record<number, (s: sharp.Sharp) => Promise<Buffer>> = {
    1: (s) => s.png().toBuffer(),
    2: (s) => s.flop().png().toBuffer(),
    3: (s) => s.rotate(180).png().toBuffer(),
    4: (s) => s.flip().png().toBuffer(),
    5: async (s) =>
      sharp(await s.rotate(90).png().toBuffer())
        .flop()
        .png()
        .toBuffer(),
    6: (s) => s.rotate(270).png().toBuffer(),
    7: async (s) =>
      sharp(await s.rotate(270).png().toBuffer())
        .flop()
        .png()
        .toBuffer(),
    8: (s) => s.rotate(90).png().toBuffer(),
  }
  for (const [orientation, store] of Object.entries(stored)) {
    const bytes = await sharp(await store(picture()))
      .withMetadata({ orientation: Number(orientation) })
      .png()
      .toBuffer()
    const { data, width, height } = await read(bytes)
    t.same({ width, height, red: data.indexOf(255) }, { width: 2, height: 3, red: 0 }, `orientation ${orientation}`)
  }
})

t.test('colours arrive as 8-bit sRGB', async (t) => {
  const p3 = await plain().withIccProfile('p3').png().toBuffer()
  near(t, await pixel(p3), [184, 50, 30], 2, 'Display P3')
  const stored = [...(await sharp(p3, { ignoreIcc: true }).raw().toBuffer()).subarray(0, 3)]
  t.notSame(stored, [184, 50, 30], 'the stored numbers were others')
  near(t, await pixel(await plain().toColourspace('rgb16').png().toBuffer()), [184, 50, 30], 1, '16 bits')
  near(
    t,
    await pixel(await plain(16, 16).toColourspace('cmyk').jpeg().toBuffer(), 8, 8),
    [184, 50, 30],
    24,
    'CMYK, whose gamut is smaller',
  )
  const grey = await pixel(await plain().greyscale().png().toBuffer())
  t.ok(grey[0] === grey[1] && grey[1] === grey[2], `grey has three equal channels: ${String(grey)}`)
})

t.test('alpha is dropped, not blended', async (t) => {
  const half = sharp({ create: { width: 2, height: 2, channels: 4, background: { ...COLOUR, alpha: 0.5 } } })
  near(t, await pixel(await half.png().toBuffer()), [184, 50, 30], 1, 'RGBA')
})

t.test('an animation gives its first frame', async (t) => {
  const frames = Buffer.concat([Buffer.alloc(12, 200), Buffer.alloc(12, 20)])
  const gif = await sharp(frames, { raw: { width: 2, height: 4, channels: 3, pageHeight: 2 } })
    .gif()
    .toBuffer()
  t.equal((await sharp(gif).metadata()).pages, 2)
  t.match(await read(gif), { width: 2, height: 2, data: { 0: 200 } })
})

t.test('raw pixels', async (t) => {
  const raw = (channels: 1 | 2 | 3 | 4, ...values: number[]) => ({
    data: Uint8Array.from(values),
    width: 2,
    height: 1,
    channels,
  })
  t.same([...(await read(raw(1, 10, 20))).data], [10, 10, 10, 20, 20, 20])
  t.same([...(await read(raw(2, 10, 0, 20, 255))).data], [10, 10, 10, 20, 20, 20])
  t.match(await read(raw(3, 1, 2, 3, 4, 5, 6)), { channels: 3, data: { 0: 1, 5: 6 } })
  t.match(await read(raw(4, 1, 2, 3, 0, 5, 6, 7, 0)), { channels: 4, data: { 0: 1, 7: 0 } })
  const clamped = { ...raw(3), data: Uint8ClampedArray.from([1, 2, 3, 4, 5, 6]) }
  t.same([...(await read(clamped)).data], [1, 2, 3, 4, 5, 6])
})

t.test('every refusal names the picture and the reason', async (t) => {
  const png = await plain(64, 64).png().toBuffer()
  const jpeg = await sharp({
    create: {
      width: 64,
      height: 64,
      channels: 3,
      background: COLOUR,
      noise: { type: 'gaussian', mean: 128, sigma: 60 },
    },
  })
    .jpeg()
    .toBuffer()
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
  const bad: [string, unknown, string, RegExp][] = [
    ['a missing file', join(scratch, 'none.png'), 'FILE_NOT_FOUND', /none\.png does not exist/],
    ['a folder', scratch, 'INVALID_IMAGE', /is not a file/],
    ['text', Buffer.from('hello'), 'INVALID_IMAGE', /unsupported image format/],
    ['an SVG', Buffer.from(svg), 'INVALID_IMAGE', /type svg/],
    ['no bytes', new Uint8Array(0), 'INVALID_IMAGE', /no bytes/],
    ['half a PNG', png.subarray(0, png.length >> 1), 'INVALID_IMAGE', /read error|pngload|libspng/],
    ['half a JPEG', jpeg.subarray(0, jpeg.length >> 1), 'INVALID_IMAGE', /premature end/],
    ['another kind of URL', new URL('https://example.org/a.png'), 'INVALID_ARGUMENT', /expected a file: URL/],
    ['a number', 7, 'INVALID_ARGUMENT', /expected a path.*received 7/],
    ['null', null, 'INVALID_ARGUMENT', /received null/],
    ['an empty path', '', 'INVALID_ARGUMENT', /received ""/],
    [
      'too little data',
      { data: new Uint8Array(11), width: 2, height: 2, channels: 3 },
      'INVALID_ARGUMENT',
      /12 bytes \(2 x 2 x 3\)/,
    ],
    [
      'a wrong type',
      { data: [1, 2, 3], width: 1, height: 1, channels: 3 },
      'INVALID_ARGUMENT',
      /a Uint8Array for reference 2\.data/,
    ],
    [
      'a width of 0',
      { data: new Uint8Array(0), width: 0, height: 1, channels: 3 },
      'INVALID_ARGUMENT',
      /\.width but received 0/,
    ],
    [
      'five channels',
      { data: new Uint8Array(5), width: 1, height: 1, channels: 5 },
      'INVALID_ARGUMENT',
      /\.channels but received 5/,
    ],
    [
      'transfer: 1',
      { data: new Uint8Array(3), width: 1, height: 1, channels: 3, transfer: 1 },
      'INVALID_ARGUMENT',
      /\.transfer/,
    ],
  ]
  for (const [what, image, code, message] of bad) {
    const reading = (async () => read(image as ImageInput))()
    await t.rejects(reading, { code: `ERR_ICONFACE_${code}`, message }, what)
    await t.rejects(reading, { message: /reference 2/ }, `${what}: says which`)
  }
})

t.test('a picture of too many pixels is refused before it is decoded', async (t) => {
  const bomb = await sharp({ create: { width: 12_000, height: 12_000, channels: 3, background: COLOUR } })
    .png()
    .toBuffer()
  const before = process.memoryUsage().rss
  await t.rejects(read(bomb), { code: 'ERR_ICONFACE_INVALID_IMAGE', message: /12000 x 12000 pixels.*maxPixels/ })
  t.ok(process.memoryUsage().rss - before < 100e6, 'without the memory it would need')
  const raw = { data: new Uint8Array(12), width: 2, height: 2, channels: 3 as const }
  t.throws(() => capturePictures([{ name: 'input', image: raw }], 3), { code: 'ERR_ICONFACE_INVALID_IMAGE' })
})

t.test('damaged files give errors or pictures, nothing else', async (t) => {
  const noise = { type: 'gaussian', mean: 128, sigma: 60 } as const
  const source = sharp({ create: { width: 24, height: 24, channels: 3, background: COLOUR, noise } })
  let refused = 0
  for (const format of ['jpeg', 'png', 'webp'] as const) {
    const good = await source.clone().toFormat(format).toBuffer()
    for (let i = 0; i < 100; i++) {
      const bytes = Buffer.from(good)
      bytes[(i * 7919) % bytes.length]! ^= 1 + ((i * 31) % 255)
      const picture = await read(bytes).catch((error: { code: string }) => error)
      if ('code' in picture) {
        refused++
        if (picture.code !== 'ERR_ICONFACE_INVALID_IMAGE') t.fail(`${format} ${i}: ${picture.code}`)
      }
    }
  }
  t.ok(refused > 30, `${refused} of 300 refused`)
})

t.test('a result', async (t) => {
  const data = new Uint8Array(32 * 16 * 3).map((_, i) => (i % 3 === 0 ? 184 : 50))
  const identity = {
    source: 'none',
    anchor: null,
    norms: new Float32Array(),
    weights: new Float32Array(),
    before: null,
    after: null,
  } as const
  const result = new Restoration({ data, width: 32, height: 16, seed: 1, identity, timings: {} })
  const folder = join(scratch, 'out')
  mkdirSync(folder)

  await t.test('is written in the format its name says, whole', async (t) => {
    for (const [extension, format] of Object.entries({
      png: 'png',
      jpg: 'jpeg',
      JPEG: 'jpeg',
      webp: 'webp',
      tif: 'tiff',
      avif: 'heif',
    })) {
      const path = join(folder, `face.${extension}`)
      await result.toFile(path)
      t.match(await sharp(path).metadata(), { format, width: 32, height: 16, channels: 3 }, extension)
    }
    await result.toFile(pathToFileURL(join(folder, 'face.png')))
    t.ok(sameBytes(new Uint8Array(await sharp(join(folder, 'face.png')).raw().toBuffer()), data), 'PNG loses nothing')
    t.same(readdirSync(folder).sort(), ['face.JPEG', 'face.avif', 'face.jpg', 'face.png', 'face.tif', 'face.webp'])
  })

  await t.test('leaves nothing behind when it cannot be written', async (t) => {
    await t.rejects(result.toFile(join(folder, 'face.bmp')), {
      code: 'ERR_ICONFACE_INVALID_ARGUMENT',
      message: /'png' or 'jpg'/,
    })
    await t.rejects(result.toFile(join(folder, 'none', 'face.png')), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
    mkdirSync(join(folder, 'taken.png'))
    await t.rejects(result.toFile(join(folder, 'taken.png')), { code: 'ERR_ICONFACE_IO', message: /taken\.png/ })
    t.notOk(readdirSync(folder).some((name) => name.endsWith('.tmp')))
    const before = readFileSync(join(folder, 'face.png'))
    await t.rejects(result.toFile(join(folder, 'face.png'), { quality: 101 }), {
      code: 'ERR_ICONFACE_INVALID_ARGUMENT',
    })
    t.same(readFileSync(join(folder, 'face.png')), before)
  })

  await t.test('encodes to a buffer, and hands a copy to sharp', async (t) => {
    t.match(await sharp(await result.toBuffer()).metadata(), { format: 'png' })
    const [small, large] = await Promise.all([result.toBuffer('webp', { quality: 1 }), result.toBuffer('webp')])
    t.ok(small.length <= large.length)
    const pipeline = result.toSharp()
    data[0] = 0
    t.equal((await pipeline.raw().toBuffer())[0], 184)
    await t.rejects(result.toBuffer('bmp' as 'png'), { code: 'ERR_ICONFACE_INVALID_ARGUMENT' })
    await t.rejects(result.toBuffer('png', { qualty: 3 } as object), { message: /did you mean 'quality'/ })
  })
})

const photos = sharedFolder('photos/deg_crop')
t.test('the photographs', { skip: !photos && 'shared/photos is not here' }, async (t) => {
  for (const name of readdirSync(photos!)) {
    t.match(await read(join(photos!, name)), { width: 512, height: 512, channels: 3 }, name)
  }
})
