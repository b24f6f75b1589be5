// EXIF of a result: upright, without thumbnail and, unless asked for, without the place.
import t from 'tap'
import sharp from 'sharp'
import { tidyExif } from '../../dist/picture/exif.js'

async function exifOf(): Promise<Buffer> {
  const picture = sharp({ create: { width: 4, height: 4, channels: 3, background: 'red' } })
  const exif = {
    IFD0: { Make: 'Camera', Copyright: 'me' },
    IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '51/1 30/1 123456/1000' },
  }
  const { exif: bytes } = await sharp(
    await picture.withExif(exif).withMetadata({ orientation: 6 }).jpeg().toBuffer(),
  ).metadata()
  return bytes!
}

/** What a JPEG with this EXIF says. */
async function read(tiff: Buffer) {
  const jpeg = await sharp({ create: { width: 4, height: 4, channels: 3, background: 'red' } })
    .jpeg()
    .toBuffer()
  const body = Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), tiff])
  const head = Buffer.from([0xff, 0xe1, (body.length + 2) >> 8, (body.length + 2) & 255])
  const { orientation, exif } = await sharp(
    Buffer.concat([jpeg.subarray(0, 2), head, body, jpeg.subarray(2)]),
  ).metadata()
  return { orientation, text: exif!.toString('latin1') }
}

t.test('orientation and place', async (t) => {
  const exif = await exifOf()
  const place = Buffer.alloc(8)
  place.writeUInt32LE(123456, 0)
  place.writeUInt32LE(1000, 4)
  t.ok(exif.includes(place), 'the place is there')
  const tidy = tidyExif(exif, { keepLocation: false })!
  t.notOk(tidy.includes(place), 'its numbers are gone, not only what points to them')
  t.match(await read(tidy), { orientation: 1, text: /Camera/ })
  const kept = tidyExif(exif, { keepLocation: true })!
  t.ok(kept.includes(place))
  t.match(await read(kept), { orientation: 1 })
  t.ok(exif.includes(place), 'the original is not written into')
})

t.test('bytes that are no EXIF', (t) => {
  t.equal(tidyExif(Buffer.from('nothing'), { keepLocation: false }), null)
  t.equal(tidyExif(Buffer.from('II*\0\xff\xff\xff\xff', 'latin1'), { keepLocation: false }), null)
  t.end()
})
