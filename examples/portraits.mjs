// Draws a contact sheet of six people (rows) in six states (columns): node examples/portraits.mjs OUT.png [FIRST_SEED]
import sharp from 'sharp'
import { portraitIdentity, portraitState, renderPortrait } from '@iconface/native/portraits'

const [out, first = '0'] = process.argv.slice(2)
if (!out) throw new Error('usage: node examples/portraits.mjs OUT.png [FIRST_SEED]')

const [people, states, size, gap] = [6, 6, 256, 6]
const tiles = []
for (let row = 0; row < people; row++) {
  const identity = portraitIdentity(Number(first) + row)
  for (let column = 0; column < states; column++) {
    // The first column is the neutral studio picture.
    const state = portraitState(100 + column + row * states, column === 0 ? 0 : 1)
    const { data, width, height } = await renderPortrait(identity, state, size)
    const input = await sharp(data, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer()
    tiles.push({ input, left: gap + column * (size + gap), top: gap + row * (size + gap) })
  }
}
const side = (count) => gap + count * (size + gap)
await sharp({ create: { width: side(states), height: side(people), channels: 3, background: 'white' } })
  .composite(tiles)
  .png()
  .toFile(out)
