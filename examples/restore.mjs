// Restores one face from a program: progress, cancelling, and what the result knows.
//   node examples/restore.mjs MODEL DEGRADED [REFERENCE ...]
import { IConFace } from '@iconface/native'

const [folder, degraded, ...references] = process.argv.slice(2)
if (!degraded) throw new Error('usage: node examples/restore.mjs MODEL DEGRADED [REFERENCE ...]')

const model = await IConFace.load(folder)
try {
  const face = await model.restore(degraded, references, {
    signal: AbortSignal.timeout(10 * 60_000),
    onProgress: ({ stage, step, steps, etaMs }) => {
      const left = etaMs === null ? '' : `, ${Math.ceil(etaMs / 1000)} s left`
      console.log(`${stage} ${step}/${steps}${left}`)
    },
  })
  await face.toFile('restored.png')
  console.log('seed', face.seed, 'identity', face.identity.source, face.identity.before, '->', face.identity.after)
} finally {
  await model.dispose()
}
