#!/usr/bin/env node
/**
 * Does the structure of a result follow the degraded picture, whatever the references' pose and expression?
 *
 *     node training/structure.mjs [--model models/tiny] [--people 100] [--severity severe]
 *
 * Restores every person without references, with one reference, and with another picture of the same person in another
 * state. Prints landmark errors to the truth, their paired difference, and how far the landmarks move when the
 * reference's state is swapped, all in units of the distance between the eyes, with 95 % confidence intervals.
 */
import { parseArgs } from 'node:util'
import { IConFace } from '@iconface/native'
import { estimate, landmarkError, pairedDifference, psnr, syntheticCases } from '@iconface/native/evaluate'

const { values: options } = parseArgs({
  options: {
    model: { type: 'string', default: 'models/tiny' },
    people: { type: 'string', default: '100' },
    severity: { type: 'string', default: 'severe' },
  },
})
const count = Number(options.people)
const settings = { count, severities: [options.severity], references: 1 }
const [first, other] = [syntheticCases(settings), syntheticCases({ ...settings, otherReferences: true })]
const errors = { none: [], first: [], other: [] }
const moved = []
const changed = []
const show = (name, e) =>
  console.log(`${name.padEnd(62)} ${e.mean.toFixed(4)}  [${e.interval.map((x) => x.toFixed(4)).join(', ')}]`)

const model = await IConFace.load(options.model)
const { size } = model.info.defaults
for (let i = 0; i < count; i++) {
  const a = await first[i].load(size)
  const b = await other[i].load(size)
  const { points, interocular } = a.landmarks
  const results = {
    none: await model.restore(a.input),
    first: await model.restore(a.input, a.references),
    other: await model.restore(a.input, b.references),
  }
  for (const [name, result] of Object.entries(results))
    errors[name].push(landmarkError(result, a.truth, points, interocular).mean)
  moved.push(landmarkError(results.other, results.first, points, interocular).mean)
  changed.push(psnr(results.other, results.first))
}
show('landmark error to the truth, no reference', estimate(errors.none))
show('landmark error to the truth, one reference', estimate(errors.first))
show('one reference less none (paired)', pairedDifference(errors.first, errors.none))
show('landmarks moved by swapping the state of the reference', estimate(moved))
show('PSNR between the results of the two references', estimate(changed))
await model.dispose()
