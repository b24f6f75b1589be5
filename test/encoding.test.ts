// What results are written as, read from the encoded bytes: quality, colour at full resolution, compression.
import t from 'tap'
import { mkdtempSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { type OutputFormat, Restoration } from '../dist/restoration.js'
import { scratchFolder } from './fixtures/fake'

const folder = mkdtempSync(join(scratchFolder(), 'out-'))
const [width, height] = [64, 48]
/** Stripes of one pixel in colour alone, which half of the resolution cannot hold, and a slope of brightness. */
const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
  const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)]
  return (x % 2 ? [200, 60, 60] : [20, 137, 60])[i % 3]! + y
})
const identity = {
  source: 'none',
  anchor: null,
  norms: new Float32Array(),
  weights: new Float32Array(),
  before: null,
  after: null,
} as const
const result = new Restoration({ data, width, height, seed: 1, identity, timings: {} })

/** The encoded picture, which `toFile` and `toBuffer` give alike. */
async function encoded(format: OutputFormat, quality?: number): Promise<Buffer> {
  const options = quality === undefined ? undefined : { quality }
  const file = join(folder, `face.${format}`)
  await result.toFile(file, options)
  const bytes = readFileSync(file)
  t.ok(
    bytes.equals(await result.toBuffer(format, options)),
    `${format} ${quality}: the file holds what the buffer does`,
  )
  return bytes
}

/** Largest difference of the decoded picture. */
async function loss(bytes: Buffer): Promise<number> {
  const decoded = await sharp(bytes).removeAlpha().raw().toBuffer()
  return decoded.reduce((most, value, i) => Math.max(most, Math.abs(value - data[i]!)), 0)
}

/** The first quantisers of a JPEG's brightness and colour, in the order of their frequencies. */
function quantisers(jpeg: Buffer): number[][] {
  const tables: number[][] = []
  for (let at = 2; jpeg[at + 1] !== 0xda; at += 2 + jpeg.readUInt16BE(at + 2)) {
    if (jpeg[at + 1] !== 0xdb) continue
    const end = at + 2 + jpeg.readUInt16BE(at + 2)
    for (let table = at + 4; table < end; table += 65) tables.push([...jpeg.subarray(table + 1, table + 5)])
  }
  return tables
}

/** Those of a quality from 50 up, by the rule of the Independent JPEG Group from the tables of the JPEG standard. */
function standardQuantisers(quality: number): number[][] {
  const brightness = [16, 11, 12, 14]
  const colour = [17, 18, 18, 24]
  return [brightness, colour].map((table) =>
    table.map((q) => Math.max(1, Math.floor((q * (200 - 2 * quality) + 50) / 100))),
  )
}

/** A small number that a little-endian TIFF's first directory holds under `id`. */
function tag(tiff: Buffer, id: number): number | undefined {
  const directory = tiff.readUInt32LE(4)
  for (let i = 0; i < tiff.readUInt16LE(directory); i++) {
    const at = directory + 2 + 12 * i
    if (tiff.readUInt16LE(at) === id) return tiff.readUInt16LE(at + 8)
  }
  return undefined
}

t.test('JPEG: quality 95 unless told, colour at full resolution', async (t) => {
  for (const format of ['jpg', 'jpeg'] as const) {
    const bytes = await encoded(format)
    t.same(quantisers(bytes), standardQuantisers(95))
    t.match(await sharp(bytes).metadata(), { format: 'jpeg', chromaSubsampling: '4:4:4', isProgressive: false })
    t.ok((await loss(bytes)) < 12, 'the stripes are there')
  }
  for (const quality of [60, 80, 100]) t.same(quantisers(await encoded('jpg', quality)), standardQuantisers(quality))
})

t.test('AVIF: quality 95 unless told, colour at full resolution, 8 bits', async (t) => {
  const bytes = await encoded('avif')
  // av1C: version; profile and level; tier, bits, monochrome, subsampling across and down.
  const at = bytes.indexOf('av1C') + 4
  t.ok(at > 4)
  t.equal(bytes[at + 1]! >> 5, 1, 'the profile of full colour')
  t.equal(bytes[at + 2]! & 0b01111100, 0, '8 bits, colours, no subsampling')
  t.ok((await loss(bytes)) < 24, 'the stripes are there')
  t.ok(bytes.equals(await encoded('avif', 95)))
  t.ok((await encoded('avif', 50)).length < bytes.length)
})

t.test('WebP: lossy, quality 95 unless told', async (t) => {
  const bytes = await encoded('webp')
  t.equal(bytes.toString('latin1', 12, 16), 'VP8 ')
  t.ok(bytes.equals(await encoded('webp', 95)))
  t.ok((await encoded('webp', 94)).length <= bytes.length)
  t.notOk((await encoded('webp', 80)).equals(bytes), "not the encoder's own default")
  t.ok((await encoded('webp', 80)).length < bytes.length)
})

t.test('PNG and TIFF lose nothing, whatever the quality', async (t) => {
  const png = await encoded('png')
  t.same([...png.subarray(24, 26)], [8, 2], '8 bits, RGB')
  const tiff = await encoded('tiff')
  t.ok(tiff.equals(await encoded('tif')))
  t.match(await sharp(tiff).metadata(), { format: 'tiff', depth: 'uchar', channels: 3 })
  t.equal(tag(tiff, 259), 5, 'LZW')
  for (const bytes of [png, tiff]) t.equal(await loss(bytes), 0)
  for (const format of ['png', 'tiff'] as const) t.ok((await encoded(format, 1)).equals(format === 'png' ? png : tiff))
  t.ok((await result.toBuffer()).equals(png), 'a buffer is a PNG unless told')
})

t.test('quality is a whole number from 1 to 100, for every format', async (t) => {
  for (const format of ['jpg', 'webp', 'avif', 'png', 'tiff'] as const) {
    for (const quality of [1, 100])
      t.ok((await result.toBuffer(format, { quality })).length > 0, `${format} ${quality}`)
    for (const quality of [0, 101, 50.5, NaN, '90' as unknown as number]) {
      const error = { code: 'ERR_ICONFACE_INVALID_ARGUMENT', message: /an integer from 1 to 100 for quality/ }
      await t.rejects(result.toBuffer(format, { quality }), error, `${format} ${quality}`)
    }
  }
})
