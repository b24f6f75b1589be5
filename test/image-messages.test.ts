// Pictures as text, and what is said of those that cannot be read.
import t from 'tap'
import { execFileSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { capturePictures, type ImageInput } from '../dist/image.js'
import { degrade } from '../dist/degrade/index.js'
import { scratchFolder } from './fixtures/fake'

const scratch = scratchFolder()
const LONGEST = 600

async function read(image: ImageInput) {
  const [picture] = capturePictures([{ name: 'input', image }], 1e6)
  return picture!.read()
}

/** The error of a picture, which must be short. */
async function failure(image: unknown): Promise<{ code: string; message: string }> {
  const error = (await (async () => read(image as ImageInput))().catch((e: unknown) => e)) as {
    code: string
    message: string
  }
  t.ok(error.message.length <= LONGEST, `${error.message.length} characters: ${error.message.slice(0, 200)}`)
  return error
}

const image = () => sharp({ create: { width: 12, height: 8, channels: 3, background: { r: 184, g: 50, b: 30 } } })

t.test('data: URLs are pictures', async (t) => {
  const png = await image().png().toBuffer()
  const base64 = png.toString('base64')
  const percent = [...png].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')
  for (const url of [
    `data:image/png;base64,${base64}`,
    `DATA:image/png;BASE64,${base64}`,
    `data:;base64,${base64}`,
    `data:image/png;charset=x;base64,${encodeURIComponent(base64)}`,
    `data:image/png;base64,${base64.replace(/(.{20})/g, '$1\n')}`,
    `data:image/png;base64,${base64.replace(/=+$/, '')}`,
    `data:image/png,${percent}`,
    new URL(`data:image/png;base64,${base64}`),
  ]) {
    const { data, width, height } = await read(url)
    t.same([width, height, ...data.subarray(0, 3)], [12, 8, 184, 50, 30], String(url).slice(0, 40))
  }
  const image_ = await degrade(`data:image/png;base64,${base64}`, { strength: 0, seed: 1 })
  t.equal(image_.width, 12, 'wherever pictures are read')
  const big = await sharp({ create: { width: 1100, height: 1100, channels: 3, background: 'red' } })
    .png()
    .toBuffer()
  t.match(await failure(`data:image/png;base64,${big.toString('base64')}`), { message: /more than maxPixels/ })
  for (const [url, message] of [
    ['data:image/png;base64', /no comma/],
    ['data:image/png;base64,', /holds no bytes/],
    ['data:image/png;base64,!!!!', /is not base64/],
    ['data:image/png,hello', /unsupported image format/],
    [`data:image/png;base64,${'A'.repeat(180 * 2 ** 20)}`, /more than \d+ bytes/],
  ] as const) {
    t.match(await failure(url), { code: 'ERR_ICONFACE_INVALID_IMAGE', message }, url.slice(0, 30))
  }
})

t.test('base64 without data: is named as what it is', async (t) => {
  for (const format of ['png', 'jpeg', 'webp', 'gif', 'tiff', 'avif'] as const) {
    const text = (await image().toFormat(format).toBuffer()).toString('base64')
    const { code, message } = await failure(text)
    t.equal(code, 'ERR_ICONFACE_INVALID_ARGUMENT', format)
    t.match(message, /a path or a data: URL \(for base64: Buffer\.from\(text, 'base64'\)/)
  }
  t.match(await failure('A'.repeat(177_000)), { code: 'ERR_ICONFACE_INVALID_ARGUMENT', message: /for base64/ })
  // Paths that merely look like it.
  t.match(await failure('/9j/4AAQ'), { code: 'ERR_ICONFACE_FILE_NOT_FOUND', message: /\/9j\/4AAQ does not exist/ })
  t.match(await failure('aaaa/'.repeat(30)), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
  const path = join(scratch, `iVBORw0KGgo${'a'.repeat(60)}`)
  writeFileSync(path, await image().png().toBuffer())
  t.match(await read(path), { width: 12 })
})

t.test('every quoted value is cut, its end shown', async (t) => {
  const long = 'x-'.repeat(50_000)
  t.match(await failure(`${long}.jpg.`), {
    code: 'ERR_ICONFACE_IO',
    message: /^input: cannot read [x-]{49}…[x-]{45}\.jpg\.: ENAMETOOLONG/,
  })
  const deep = join(scratch, ...Array<string>(30).fill('folder'), 'face.png')
  t.match(await failure(deep), { code: 'ERR_ICONFACE_FILE_NOT_FOUND', message: /….*folder\/face\.png does not exist/ })
  const values: unknown[] = [
    Symbol(long),
    new URL(`https://example.org/${long}`),
    long.split(''),
    { [long]: long },
    [long],
  ]
  for (const value of values) t.match(await failure(value), { code: 'ERR_ICONFACE_INVALID_ARGUMENT' })
  const named = { [long]: class {} }
  t.match(await failure(new named[long]!()), { code: 'ERR_ICONFACE_INVALID_ARGUMENT' })
  t.match(await failure({ data: long, width: 1, height: 1, channels: 3 }), { message: /a Uint8Array for input\.data/ })
})

t.test('a file that may not be read', async (t) => {
  const path = join(scratch, 'secret.png')
  writeFileSync(path, await image().png().toBuffer())
  chmodSync(scratch, 0o755)
  chmodSync(path, 0)
  const script = `
    const { capturePictures } = require(${JSON.stringify(join(__dirname, '..', 'dist', 'image.js'))})
    if (process.getuid() === 0) process.seteuid(65534) // root may read everything
    capturePictures([{ name: 'input', image: ${JSON.stringify(path)} }], 1e6)[0].read().then(
      () => console.log('read'), (error) => console.log(error.code, error.message))`
  const said = execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' })
  t.match(said, /^ERR_ICONFACE_IO input: cannot read .*secret\.png: this user has no permission to \(EACCES\)/)
})

t.test('HEIC is named, with what to do', async (t) => {
  // The beginning of a phone's photo: its brands, and boxes that lead nowhere.
  const brands = Buffer.from('ftypheic\0\0\0\0mif1heic', 'latin1')
  const box = (body: Buffer) => Buffer.concat([Buffer.from([0, 0, 0, body.length + 4]), body])
  const heic = Buffer.concat([box(brands), box(Buffer.from('meta\0\0\0\0', 'latin1')), Buffer.alloc(64)])
  const { code, message } = await failure(heic)
  t.equal(code, 'ERR_ICONFACE_INVALID_IMAGE')
  t.match(message, /it is HEIC, which the sharp that comes from npm does not read; convert it to JPEG or PNG, or use/)
  const avif = await image().avif().toBuffer()
  t.notMatch((await failure(avif.subarray(0, avif.length >> 1))).message, /HEIC/)
})
