/** Damaged checkpoint headers, damaged pictures, and pictures that are small to send and large to decode. */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import {
  codeOf,
  dist,
  generator,
  highWater,
  MiB,
  require,
  resetHighWater,
  ROOT,
  round,
  rss,
  SANITIZED,
} from './tools.mjs'

const { capturePictures } = require(dist('image.js'))
const sharp = require('sharp')

const decode = (bytes) => capturePictures([{ name: 'input', image: bytes }], 100e6)[0].read()

export const parts = {
  headers: {
    what: 'mutated safetensors headers (test/checkpoint/safetensors-fuzz.test.ts)',
    say: (r) => `${r.count} headers, ${r.failed} failures`,
    async run(_folder, times) {
      const count = times(1_000_000)
      const test = 'test/checkpoint/safetensors-fuzz.test.ts'
      const env = { ...process.env, ICONFACE_FUZZ_CASES: String(count), LD_PRELOAD: '' }
      const tap = ['--no-install', 'tap', '--reporter=tap', '--disable-coverage', '--timeout=7200', test]
      const { status, stdout } = spawnSync('npx', tap, { cwd: ROOT, env, encoding: 'utf8' })
      const failed = (stdout.match(/^ *not ok/gm) ?? []).length
      return { count, failed, ok: status === 0 && stdout.includes(`${count} mutated files`) }
    },
  },

  images: {
    what: 'mutated JPEG, PNG, WebP, TIFF, GIF and AVIF files',
    say: (r) =>
      `${r.count} files: ${Object.entries(r.codes)
        .map(([code, n]) => `${n} ${code}`)
        .join(', ')}; resident ${MiB(r.rssGrowthBytes)} more after them`,
    async run(_folder, times) {
      const random = generator(13)
      const raw = { raw: { width: 24, height: 20, channels: 3 } }
      const pixels = Buffer.from(Array.from({ length: 24 * 20 * 3 }, () => random(256)))
      const seeds = []
      for (const format of ['jpeg', 'png', 'webp', 'tiff', 'gif', 'avif'])
        seeds.push(await sharp(pixels, raw)[format]().toBuffer())
      const count = times(100_000)
      const codes = {}
      const before = rss()
      let next = 0
      const lane = async () => {
        while (next < count) {
          const seed = seeds[next++ % 50 === 0 ? 5 : random(5)] // AVIF is slow
          const bytes = Buffer.from(seed.subarray(0, random(8) === 0 ? 1 + random(seed.length) : seed.length))
          for (let changes = 1 + random(6); changes > 0; changes--)
            bytes[random(bytes.length)] = [0, 255, 127, random(256)][random(4)]
          const end = await decode(bytes).then(() => 'decoded', codeOf)
          codes[end] = (codes[end] ?? 0) + 1
        }
      }
      await Promise.all(Array.from({ length: 8 }, lane))
      const known = ['decoded', 'ERR_ICONFACE_INVALID_IMAGE']
      const ok = Object.keys(codes).every((code) => known.includes(code))
      return { count, codes, rssGrowthBytes: rss() - before, ok }
    },
  },

  bombs: {
    what: 'pictures that are small to send and large to decode',
    say: (r) =>
      Object.entries(r.results)
        .map(
          ([name, { sent, end, peakBytes }]) =>
            `${name} (${round(sent / 1000)} kB): ${typeof end === 'string' ? end : 'decoded'}, peak ${MiB(peakBytes)}${end.decoded ? ` of ${MiB(end.decoded)} decoded` : ''}`,
        )
        .join('; '),
    async run(_folder, times) {
      const flat = (width, height) =>
        sharp({ create: { width, height, channels: 3, background: '#123' }, limitInputPixels: false })
      const frames = Buffer.alloc(400 * 400 * 3 * 50)
      const bombs = {
        '30000 x 30000 png': () => flat(30000, 30000).png({ compressionLevel: 9 }).toBuffer(),
        '65500 x 1500 jpeg': () => flat(65500, 1500).jpeg().toBuffer(),
        '1000000 x 1 png': () => flat(1000000, 1).png().toBuffer(),
        '9900 x 10000 jpeg': () => flat(9900, 10000).jpeg().toBuffer(),
        '16383 x 6000 webp': () => flat(16383, 6000).webp().toBuffer(),
        '50 frames gif': () =>
          sharp(frames, { raw: { width: 400, height: 20000, channels: 3, pageHeight: 400 } })
            .gif()
            .toBuffer(),
        'half a jpeg': async () => (await flat(900, 900).jpeg().toBuffer()).subarray(0, 3000),
        '50000 x 50000 svg': () =>
          Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="50000" height="50000"/>'),
      }
      const results = {}
      for (const [name, make] of Object.entries(bombs).slice(-times(Object.keys(bombs).length))) {
        const bytes = await make()
        const before = rss()
        resetHighWater()
        const end = await decode(bytes).then(({ width, height }) => ({ decoded: width * height * 3 }), codeOf)
        results[name] = { sent: bytes.length, end, peakBytes: Math.max(0, highWater() - before) }
      }
      const fits = ({ end, peakBytes }) => peakBytes <= (end.decoded ?? 0) + 200e6
      return { results, ok: SANITIZED || Object.values(results).every(fits) }
    },
  },
}

export const children = {}
