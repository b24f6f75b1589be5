// Draws a person, a degraded picture and two references, so that the other examples run without anyone's photographs:
//   node examples/portrait.mjs OUT_FOLDER [PERSON] [STRENGTH]
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import { degrade } from '@iconface/native/degrade'
import { portraitIdentity, portraitState, renderPortrait } from '@iconface/native/portraits'

const [folder = 'out', person = '1000012', strength = '8'] = process.argv.slice(2)
const side = 128 // what models/tiny restores

const identity = portraitIdentity(Number(person))
const draw = (state) => renderPortrait(identity, portraitState(state), side)
const write = ({ data }, name) =>
  sharp(Buffer.from(data), { raw: { width: side, height: side, channels: 3 } }).toFile(join(folder, name))

await mkdir(folder, { recursive: true })
const truth = await draw(1)
await write(truth, 'truth.png')
await write(await degrade(truth, { strength: Number(strength), seed: 4 }), 'degraded.png')
await write(await draw(2), 'reference-1.png')
await write(await draw(3), 'reference-2.png')
