// Files that decoders complain about: what is all there is decoded, with a warning; what is not is an error.
import t from 'tap'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { capturePictures, type ImageInput } from '../dist/image.js'
import { scratchFolder } from './fixtures/fake'
import { numbers } from './fixtures/tensors'

const SIDE = 96
// The same noise in every run: whether a decoder misses the end of a file depends on the last bits before it.
const { data } = numbers(1).picture(SIDE, SIDE, 3)
const source = sharp(data as Uint8Array, { raw: { width: SIDE, height: SIDE, channels: 3 } })
const whole: Record<'sequential' | 'progressive', Buffer> = { sequential: Buffer.of(), progressive: Buffer.of() }
const pixels = { sequential: Buffer.of(), progressive: Buffer.of() }
const KINDS = ['sequential', 'progressive'] as const

t.before(async () => {
  const raw = await source.raw().toBuffer()
  for (const kind of KINDS) {
    const image = sharp(raw, { raw: { width: SIDE, height: SIDE, channels: 3 } })
    whole[kind] = await image.jpeg({ quality: 90, progressive: kind === 'progressive' }).toBuffer()
    pixels[kind] = await sharp(whole[kind]).raw().toBuffer()
  }
})

async function read(image: ImageInput, strict = false) {
  const [picture] = capturePictures([{ name: 'reference 1', image }], 1e8, strict)
  return picture!.read()
}

/** Where the first segment with this marker begins. */
function segment(file: Buffer, marker: number): number {
  let at = 2
  while (file[at + 1] !== marker) at += 2 + file.readUInt16BE(at + 2)
  return at
}

const END = Buffer.of(0xff, 0xd9)
const SCAN = 0xda

/** `file` with `bytes` put in before `at`. */
function inserted(file: Buffer, at: number, ...bytes: number[]): Buffer {
  return Buffer.concat([file.subarray(0, at), Buffer.from(bytes), file.subarray(at)])
}

/** The last three bytes of the scan's header, which mean nothing in a sequential file, as some phones write them. */
function phoneScan(file: Buffer): Buffer {
  const copy = Buffer.from(file)
  const at = segment(copy, SCAN)
  copy.set([0, 0, 0], at + 2 + copy.readUInt16BE(at + 2) - 3)
  return copy
}

t.test('JPEGs whose rows are all there', async (t) => {
  for (const kind of KINDS) {
    const file = whole[kind]
    const cases: [what: string, bytes: Buffer, words: RegExp][] = [
      ['no end', file.subarray(0, -2), /premature end/],
      ['half an end', file.subarray(0, -1), /premature end/],
      ['bytes between segments', inserted(file, segment(file, 0xc4), 0, 1, 2, 3), /4 extraneous bytes/],
      ['both', inserted(file, segment(file, 0xc4), 0, 1, 2, 3).subarray(0, -2), /extraneous bytes|premature end/],
    ]
    if (kind === 'sequential') cases.push(['a phone’s scan header', phoneScan(file), /Invalid SOS parameters/])
    for (const [what, bytes, words] of cases) {
      const { data, width, height, warnings } = await read(bytes)
      t.same({ width, height }, { width: SIDE, height: SIDE })
      t.equal(Buffer.compare(data, pixels[kind]), 0, `${kind}, ${what}: every pixel`)
      t.match(warnings, [{ code: 'WARN_ICONFACE_DAMAGED', message: words }], what)
      t.match(warnings[0]!.message, /^reference 1: /)
      t.equal(warnings.length, 1)
      const strictly = read(bytes, true)
      await t.rejects(strictly, { code: 'ERR_ICONFACE_INVALID_IMAGE', message: words }, `${what}: strict`)
    }
  }
})

t.test('JPEGs with rows missing are errors, whatever else is wrong with them', async (t) => {
  for (const kind of KINDS) {
    const cut = (file: Buffer, left: number) => file.subarray(0, left)
    const file = whole[kind]
    const half = cut(file, file.length >> 1)
    const cases: [string, Buffer][] = [
      ['half', half],
      ['half, with an end', Buffer.concat([half, END])],
      ['the last row', cut(file, file.length - 40)],
      ['the last row, with an end', Buffer.concat([cut(file, file.length - 40), END])],
      ['half, and bytes between segments', inserted(half, segment(file, 0xc4), 0, 1, 2, 3)],
      ['with an end, and bytes between segments', Buffer.concat([inserted(half, segment(file, 0xc4), 9, 9), END])],
    ]
    if (kind === 'sequential') {
      cases.push(['half, a phone’s', phoneScan(file).subarray(0, file.length >> 1)])
      cases.push(['with an end, a phone’s', Buffer.concat([phoneScan(file).subarray(0, file.length >> 1), END])])
    }
    for (const [what, bytes] of cases) {
      for (const strict of [false, true]) {
        await t.rejects(read(bytes, strict), { code: 'ERR_ICONFACE_INVALID_IMAGE' }, `${kind}, ${what}, ${strict}`)
      }
      await t.rejects(read(bytes), { message: /premature end/ })
    }
  }
})

t.test('a good JPEG has no warning, by path, by bytes, with trailing bytes and with metadata', async (t) => {
  const path = join(scratchFolder(), 'good.jpg')
  writeFileSync(path, whole.sequential)
  const withMetadata = await sharp(whole.sequential)
    .withIccProfile('srgb')
    .withExif({ IFD0: { Copyright: 'x' } })
    .jpeg({ quality: 100 })
    .toBuffer()
  const trailing = Buffer.concat([whole.sequential, Buffer.from('appended by a phone')])
  for (const image of [path, whole.sequential, trailing, withMetadata]) t.same((await read(image, true)).warnings, [])
  const broken = join(scratchFolder(), 'broken.jpg')
  writeFileSync(broken, whole.sequential.subarray(0, -2))
  const { data, warnings } = await read(broken)
  t.equal(Buffer.compare(data, pixels.sequential), 0)
  t.match(warnings[0]!.message, /broken\.jpg: the decoder complains/)
})

t.test('files of every format, cut at every hundredth: an error, or every pixel', async (t) => {
  const formats = ['jpeg', 'png', 'webp', 'tiff', 'gif', 'avif'] as const
  for (const format of formats) {
    const file = await source.toFormat(format).toBuffer()
    const { data: pixels } = await read(file)
    for (let percent = 0; percent < 100; percent++) {
      const bytes = file.subarray(0, Math.floor((file.length * percent) / 100))
      const found = await read(bytes).catch((error: Error) => error)
      if (!(found instanceof Error)) t.equal(Buffer.compare(found.data, pixels), 0, `${format}, ${percent} %: whole`)
      else t.match(found, { code: 'ERR_ICONFACE_INVALID_IMAGE', message: /reference 1/ }, `${format}, ${percent} %`)
      if (percent <= 50) t.ok(found instanceof Error, `${format}, ${percent} %: no picture`)
    }
  }
})
