// Colours of every depth, profile and format, against float64 arithmetic from the profile's own numbers.
import t, { type Test } from 'tap'
import sharp from 'sharp'
import { capturePictures } from '../dist/image.js'
import { tiff, withChunk, withProfile } from './fixtures/encoded'
import { type Profile, type ProfileName, PROFILES, toSrgb } from './fixtures/icc'

/** Levels of 255 that a decoded colour may be off. */
const TOLERANCE = 2
const LEVELS = [0, 30, 80, 200, 255]
const COLOURS = LEVELS.flatMap((r) => LEVELS.flatMap((g) => LEVELS.map((b) => [r, g, b])))
const GREYS = Array.from({ length: 125 }, (_, i) => [2 * i + 4])
const WIDTH = 25
/** Every colour once in the upper rows, and again below. */
const HEIGHT = 10

const FORMATS: Record<
  string,
  { depths: number[]; grey: boolean; encode(image: sharp.Sharp, depth: number): sharp.Sharp }
> = {
  png: { depths: [8, 16], grey: true, encode: (image) => image.png() },
  tiff: { depths: [8, 16], grey: true, encode: (image) => image.tiff({ compression: 'lzw' }) },
  jpeg: { depths: [8], grey: true, encode: (image) => image.jpeg({ quality: 100, chromaSubsampling: '4:4:4' }) },
  webp: { depths: [8], grey: false, encode: (image) => image.webp({ lossless: true }) },
  avif: {
    depths: [8, 10, 12],
    grey: false,
    encode: (image, depth) =>
      image.avif({ lossless: true, bitdepth: depth as 8, chromaSubsampling: '4:4:4', effort: 0 }),
  },
}

/** The picture, with numbers that mean what the profile says. */
async function encoded(format: string, depth: number, profile: Profile | null, colours: number[][]): Promise<Buffer> {
  const [channels, deep] = [colours[0]!.length as 1 | 3, depth > 8]
  const values = [...colours, ...colours].flat()
  // Numbers between those of 8 bits, but for the ends.
  const data = deep ? Uint16Array.from(values, (v) => v * 257 + (v > 0 && v < 255 ? 101 : 0)) : Uint8Array.from(values)
  const space = { grey: deep ? 'grey16' : 'b-w', rgb: deep ? 'rgb16' : 'srgb' }[channels === 1 ? 'grey' : 'rgb']
  const raw = { width: WIDTH, height: HEIGHT, channels }
  const png = await sharp(data as Uint8Array, { raw })
    .toColourspace(space)
    .png()
    .toBuffer()
  const base = profile ? withProfile(png, profile.bytes) : png
  if (format === 'png') return base
  return FORMATS[format]!.encode(sharp(base).toColourspace(space).keepIccProfile(), depth).toBuffer()
}

/** The numbers in the file, 0 to 1: JPEG's are not quite those that were encoded. */
async function storedNumbers(bytes: Buffer): Promise<number[][]> {
  const { space, depth, bitsPerSample = 16 } = await sharp(bytes).metadata()
  const kind = depth === 'ushort' ? 'ushort' : 'uchar'
  const image = sharp(bytes, { ignoreIcc: true }).toColourspace(space).raw({ depth: kind })
  const { data, info } = await image.toBuffer({ resolveWithObject: true })
  const full = kind === 'uchar' ? 255 : (2 ** bitsPerSample - 1) * 2 ** (16 - bitsPerSample)
  const values = kind === 'uchar' ? data : new Uint16Array(data.buffer, data.byteOffset, data.length / 2)
  return Array.from({ length: WIDTH * HEIGHT }, (_, i) =>
    Array.from({ length: info.channels }, (_, c) => values[i * info.channels + c]! / full),
  )
}

async function read(image: Buffer) {
  const [picture] = capturePictures([{ name: 'input', image }], 1e8)
  return picture!.read()
}

/** The largest difference of any channel, and where it is. */
function worst(found: Uint8Array, wanted: number[][]): { levels: number; where: string } {
  let result = { levels: 0, where: '' }
  for (const [i, colour] of wanted.entries()) {
    const got = [...found.subarray(3 * i, 3 * i + 3)]
    const levels = Math.max(...colour.map((v, c) => Math.abs(v - got[c]!)))
    const where = `${String(got)} where ${colour.map((v) => v.toFixed(1)).join()} is right`
    if (!(levels <= result.levels)) result = { levels, where }
  }
  return result
}

async function check(t: Test, format: string, depth: number, name: ProfileName | 'none', grey: boolean) {
  const profile = name === 'none' ? null : PROFILES[name]
  const bytes = await encoded(format, depth, profile, grey ? GREYS : COLOURS)
  const { hasProfile, depth: stored, channels } = await sharp(bytes).metadata()
  const what = `${format}, ${depth} bits, ${grey ? 'grey' : 'RGB'}, ${name}`
  t.equal(hasProfile, profile !== null, `${what}: the file has its profile`)
  t.match(
    { stored, channels },
    { stored: depth > 8 ? 'ushort' : 'uchar', channels: grey ? 1 : 3 },
    `${what}: and its depth`,
  )
  const { data, width, height, warnings } = await read(bytes)
  t.match({ width, height, warnings }, { width: WIDTH, height: HEIGHT, warnings: [] })
  t.equal(data.length, WIDTH * HEIGHT * 3)
  const { levels, where } = worst(
    data,
    (await storedNumbers(bytes)).map((colour) => toSrgb(colour, profile)),
  )
  t.ok(levels <= TOLERANCE, `${what}: ${levels.toFixed(2)} levels (${where})`)
}

const RGB = ['none', 'sRGB', 'Adobe RGB', 'Display P3', 'ProPhoto'] as const
const GREY = ['none', 'grey 1.8', 'grey 2.2'] as const

for (const [format, { depths, grey }] of Object.entries(FORMATS)) {
  t.test(format, async (t) => {
    for (const depth of depths) {
      for (const name of RGB) await check(t, format, depth, name, false)
      for (const name of grey ? GREY : []) await check(t, format, depth, name, true)
    }
  })
}

t.test('known colours', async (t) => {
  // By hand: what Adobe RGB 200, 80, 60 is in sRGB.
  t.match(toSrgb([200 / 255, 80 / 255, 60 / 255], PROFILES['Adobe RGB']).map(Math.round), [230, 79, 56])
  t.match(toSrgb([0.2, 0.4, 0.6], PROFILES.sRGB).map(Math.round), [51, 102, 153], 'sRGB is itself')
  for (const depth of [8, 16]) {
    const { data } = await read(
      await encoded(
        'png',
        depth,
        PROFILES['Adobe RGB'],
        COLOURS.map(() => [200, 80, 60]),
      ),
    )
    t.ok(worst(data, [[230, 79, 56]]).levels <= 1, `${depth} bits: ${String(data.subarray(0, 3))}`)
  }
})

t.test('alpha and orientation of deep pictures with a profile', async (t) => {
  const colours = [
    [220, 30, 20],
    [10, 200, 30],
  ]
  const raw = { width: 2, height: 1, channels: 4 } as const
  const values = Uint16Array.from(colours.flatMap((colour, i) => [...colour, 128 + i]).map((v) => v * 257))
  const png = await sharp(values as never, { raw })
    .toColourspace('rgb16')
    .png()
    .toBuffer()
  t.match(await sharp(png).metadata(), { channels: 4, depth: 'ushort' })
  const bare = await read(withProfile(png, PROFILES.sRGB.bytes))
  t.match(bare, { width: 2, height: 1, channels: 3 })
  t.ok(worst(bare.data, colours).levels <= 1, String(bare.data))

  const data = Uint16Array.from(colours.flat().map((v) => v * 257))
  const turned = tiff({ width: 2, height: 1, kind: 'rgb', data, profile: PROFILES.sRGB.bytes, orientation: 6 })
  const upright = await read(turned)
  t.match(upright, { width: 1, height: 2, channels: 3 })
  t.ok(worst(upright.data, colours).levels <= 1, String(upright.data))
})

t.test('a grey picture with an RGB profile is grey light of that profile', async (t) => {
  const size = { width: 16, height: 16, kind: 'grey' } as const
  const values = Array.from({ length: 256 }, (_, i) => i)
  for (const name of ['sRGB', 'Adobe RGB', 'ProPhoto'] as const) {
    const wanted = values.map((v) => toSrgb([v / 255, v / 255, v / 255], PROFILES[name]))
    for (const data of [Uint8Array.from(values), Uint16Array.from(values, (v) => v * 257)]) {
      const found = await read(tiff({ ...size, data, profile: PROFILES[name].bytes }))
      const { levels, where } = worst(found.data, wanted)
      t.ok(levels <= TOLERANCE, `${name}, ${data.BYTES_PER_ELEMENT} bytes: ${levels.toFixed(2)} (${where})`)
      t.same(found.warnings, [])
    }
  }
})

t.test('a profile that is a table goes through lcms, at 16 bits too', async (t) => {
  const rgb = { width: 8, height: 8, channels: 3 } as const
  const colour = Uint8Array.from({ length: 192 }, (_, i) => [200, 80, 60][i % 3]!)
  const press = await sharp(colour, { raw: rgb })
    .toColourspace('cmyk')
    .withIccProfile('cmyk')
    .tiff({ compression: 'lzw' })
    .toBuffer()
  const { icc } = await sharp(press).metadata()
  const reference = await sharp(press).toColourspace('srgb').raw().toBuffer()
  t.ok(worst(reference, [[200, 80, 60]]).levels < 30, 'sharp, 8 bits: near the colour it was printed from')
  const ink = (scale: number) => Array.from({ length: 256 }, (_, i) => [20, 180, 190, 15][i % 4]! * scale)
  const whole = { width: 8, height: 8, kind: 'cmyk' } as const
  for (const profile of [icc, undefined]) {
    const eight = tiff({ ...whole, data: Uint8Array.from(ink(1)), profile })
    const wanted = [...(await sharp(eight).toColourspace('srgb').raw().toBuffer()).subarray(0, 3)]
    for (const bytes of [eight, tiff({ ...whole, data: Uint16Array.from(ink(257)), profile })]) {
      const { data, warnings } = await read(bytes)
      t.ok(worst(data, [wanted]).levels <= TOLERANCE, `${String(data.subarray(0, 3))} is near ${String(wanted)}`)
      t.same(warnings, [])
    }
  }
  t.ok(worst((await read(press)).data, [[...reference.subarray(0, 3)]]).levels === 0, 'a CMYK file of sharp')
})

t.test('floating point: light without a profile, numbers of the profile with one', async (t) => {
  const data = Float32Array.from({ length: 192 }, (_, i) => [0.5, 0.2, -0.1][i % 3]!)
  const image = { width: 8, height: 8, kind: 'rgb', format: 'float', data } as const
  const bare = await read(tiff(image))
  t.ok(worst(bare.data, [[187.5, 123.6, 0]]).levels <= TOLERANCE, `light: ${String(bare.data.subarray(0, 3))}`)
  const { data: adobe } = await read(tiff({ ...image, profile: PROFILES['Adobe RGB'].bytes }))
  t.ok(worst(adobe, [toSrgb([0.5, 0.2, 0], PROFILES['Adobe RGB'])]).levels <= TOLERANCE, String(adobe.subarray(0, 3)))
  const integers = { ...image, format: 'whole', data: new Uint32Array(192).fill(2 ** 31) } as const
  await t.rejects(read(tiff(integers)), { code: 'ERR_ICONFACE_INVALID_IMAGE', message: /samples of type uint/ })
})

t.test('what is said about colours and not followed is a warning', async (t) => {
  const png = await encoded('png', 8, null, COLOURS)
  const numbers = (...values: number[]) => {
    const bytes = Buffer.alloc(4 * values.length)
    values.forEach((value, i) => bytes.writeUInt32BE(value, 4 * i))
    return bytes
  }
  const srgb = [31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000]
  const p3 = [31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000]
  const whole = { width: 1, height: 1, kind: 'rgb', data: Uint8Array.of(200, 80, 60) } as const
  const cases: [what: string, bytes: Buffer, message: RegExp | null][] = [
    ['nothing said', png, null],
    ['the gamma of sRGB', withChunk(png, 'gAMA', numbers(45455)), null],
    ['another gamma', withChunk(png, 'gAMA', numbers(100000)), /its gAMA chunk is not followed/],
    ['the chromaticities of sRGB', withChunk(png, 'cHRM', numbers(...srgb)), null],
    ['others', withChunk(png, 'cHRM', numbers(...p3)), /its cHRM chunk is not followed/],
    ['another gamma beside sRGB', withChunk(withChunk(png, 'gAMA', numbers(100000)), 'sRGB', Buffer.of(0)), null],
    ['a code for HDR', withChunk(png, 'cICP', Buffer.of(9, 16, 0, 1)), /its cICP chunk is not followed/],
    [
      'another gamma beside a profile',
      withChunk(withProfile(png, PROFILES.ProPhoto.bytes), 'gAMA', numbers(100000)),
      null,
    ],
    ['a profile that libpng drops', withProfile(png, PROFILES['grey 1.8'].bytes), /its iCCP chunk is not followed/],
    [
      'a grey profile of a colour picture',
      tiff({ ...whole, profile: PROFILES['grey 1.8'].bytes }),
      /one for grey pictures/,
    ],
    ['no profile at all', tiff({ ...whole, profile: Buffer.alloc(200, 7) }), /its colour profile is damaged/],
    ['half a profile', tiff({ ...whole, profile: PROFILES.ProPhoto.bytes.subarray(0, 300) }), /its colour profile is/],
  ]
  for (const [what, bytes, message] of cases) {
    const { warnings } = await read(bytes)
    t.equal(warnings.length, message ? 1 : 0, `${what}: ${String(warnings)}`)
    if (message) t.match(warnings[0], { code: 'WARN_ICONFACE_COLOURS', message }, what)
  }
})
