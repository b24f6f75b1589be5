#!/usr/bin/env node
/**
 * Restores what parity.py restored, with the native runtime, and compares the pictures.
 *
 *     node training/compare_native.mjs --model models/tiny PARITY
 *
 * Exits with 1 when a value differs by more than 1 level in float32, where rounding to 8 bits may go either way.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { IConFace } from '@iconface/native'

const { values: options, positionals } = parseArgs({
  options: { model: { type: 'string', default: 'models/tiny' } },
  allowPositionals: true,
})
const [folder] = positionals
if (folder === undefined) throw new Error('name the folder that parity.py wrote')
const { seed, rng, cases } = JSON.parse(readFileSync(path.join(folder, 'restore.json'), 'utf8'))
let failed = false
for (const precision of ['f32', 'bf16']) {
  const model = await IConFace.load(options.model, { precision })
  for (const { degraded, references, restored } of cases) {
    const at = (name) => path.join(folder, name)
    const { data } = await model.restore(at(degraded), references.map(at), { seed, rng })
    const expected = await sharp(at(restored)).raw().toBuffer()
    const differences = expected.map((value, i) => Math.abs(value - data[i]))
    const most = differences.reduce((a, b) => Math.max(a, b))
    const mean = differences.reduce((a, b) => a + b, 0) / differences.length
    const wrong = precision === 'f32' && most > 1
    failed ||= wrong
    console.log(
      `${wrong ? 'FAIL' : 'ok  '} ${precision} ${restored}: at most ${most} levels, ${mean.toFixed(4)} on average`,
    )
  }
  await model.dispose()
}
if (failed) process.exitCode = 1
