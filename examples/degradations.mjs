// One drawn face at growing strengths, by both pipelines: node examples/degradations.mjs [FILE] [SEED]
import sharp from 'sharp'
import { degrade } from '@iconface/native/degrade'
import { portraitIdentity, portraitState, renderPortrait } from '@iconface/native/portraits'

const file = process.argv[2] ?? 'degradations.png'
const seed = Number(process.argv[3] ?? 5)
const [side, gap, strengths] = [256, 4, [0, 3, 6, 9, 12, 16]]

const portrait = await renderPortrait(portraitIdentity(21), portraitState(2), side)
const tiles = []
for (const [row, pipeline] of ['real-esrgan', 'bsrgan'].entries()) {
  for (const [column, strength] of strengths.entries()) {
    const { data } = await degrade(portrait, { strength, seed, pipeline })
    const at = { left: column * (side + gap), top: row * (side + gap) }
    tiles.push({ input: Buffer.from(data), raw: { width: side, height: side, channels: 3 }, ...at })
  }
}
const [width, height] = [strengths.length * (side + gap) - gap, 2 * (side + gap) - gap]
await sharp({ create: { width, height, channels: 3, background: 'white' } })
  .composite(tiles)
  .png({ palette: true, quality: 95 })
  .toFile(file)
console.log(file)
