// Synthesized checkpoints: complete, reproducible, at sensible scales, and never half written.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { toFloat32 } from '../../dist/formats/dtype.js'
import {
  autoencoderTensors,
  faceTensors,
  textEncoderTensors,
  transformerTensors,
} from '../../dist/checkpoint/expected.js'
import { openCheckpoint } from '../../dist/checkpoint/open.js'
import { PRESETS, synthesizeCheckpoint, TEXT_PRESETS } from '../../dist/prepare/synthesize.js'
import { readTensors } from '../fixtures/weights'

const scratch = t.testdir({})
const folder = (name: string) => join(scratch, name)
const FILES = ['adaface', 'adapter', 'autoencoder', 'prompt_embeddings', 'transformer'].map(
  (name) => `${name}.safetensors`,
)

/** One hash of all files of a folder. */
function fingerprint(name: string): string {
  const hash = createHash('sha256')
  for (const file of readdirSync(folder(name)).sort()) hash.update(file).update(readFileSync(join(folder(name), file)))
  return hash.digest('hex')
}

t.test('the same seed gives the same bytes, another seed others', async (t) => {
  const { bytes, parameters } = await synthesizeCheckpoint('tiny', folder('a'), { seed: 7 })
  await synthesizeCheckpoint('tiny', folder('b'), { seed: 7 })
  await synthesizeCheckpoint('tiny', folder('c'), { seed: 8 })
  t.same(readdirSync(folder('a')).sort(), [...FILES, 'iconface.json'].sort())
  t.equal(fingerprint('a'), fingerprint('b'))
  t.not(fingerprint('a'), fingerprint('c'))
  t.equal(bytes, parameters * 2)
  t.ok(bytes < 20e6, 'tiny is small')
})

t.test('f32 holds the values that bf16 rounds', async (t) => {
  await synthesizeCheckpoint('tiny', folder('f32'), { dtype: 'f32', seed: 7 })
  openCheckpoint(folder('f32'))
  const full = readTensors(join(folder('f32'), 'adapter.safetensors'))
  const half = new Map(readTensors(join(folder('a'), 'adapter.safetensors')).map((tensor) => [tensor.name, tensor]))
  for (const { name, dtype, data } of full) {
    const exact = toFloat32(data, dtype)
    const rounded = toFloat32(half.get(name)!.data, half.get(name)!.dtype)
    t.ok(
      exact.every((value, i) => Math.abs(value - rounded[i]!) <= Math.abs(value) * 2 ** -8),
      name,
    )
  }
})

/** Mean and deviation by the name's end: what keeps every part of a network audible. */
const KINDS: [RegExp, number, number][] = [
  [/\.gate$/, 0.25, 0.05],
  [/\.running_var$/, 1, 0.2],
  [/\.running_mean$/, 0, 0.1],
  [/\.queries$/, 0, 1],
  [/^(prompt|empty)$/, 0, 1],
]

t.test('values: finite, near their mean and deviation, no tensor like another', async (t) => {
  const hashes = new Set<string>()
  let tensors = 0
  for (const file of FILES) {
    for (const { name, dtype, shape, data } of readTensors(join(folder('a'), file))) {
      const values = toFloat32(data, dtype)
      const mean = values.reduce((a, b) => a + b, 0) / values.length
      const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length)
      const fanIn = shape.slice(1).reduce((a, b) => a * b, 1)
      if (!values.every(Number.isFinite)) t.fail(`${name} is not finite`)
      if (name.endsWith('running_var') && !values.every((value) => value > 0)) t.fail(`${name} is not positive`)
      if (/(qkv|conv1)\.weight$/.test(name) && Math.abs(deviation * Math.sqrt(fanIn) - 1) > 0.05) {
        t.fail(`${name} deviates by ${deviation}, expected 1/sqrt(${fanIn})`)
      }
      const [, wantedMean, wantedDeviation] = KINDS.find(([kind]) => kind.test(name)) ?? [/./, undefined, 0]
      // Of n normal values both are known to about 1 / sqrt(n) of the deviation.
      const slack = (5 * wantedDeviation) / Math.sqrt(values.length)
      if (
        wantedMean !== undefined &&
        (Math.abs(mean - wantedMean) > slack || Math.abs(deviation - wantedDeviation) > slack + 0.02 * wantedDeviation)
      ) {
        t.fail(`${name}: mean ${mean}, deviation ${deviation}, expected ${wantedMean} and ${wantedDeviation}`)
      }
      hashes.add(
        createHash('sha256')
          .update(name.endsWith('.gate') ? name : '')
          .update(data)
          .digest('hex'),
      )
      tensors++
    }
  }
  t.equal(hashes.size, tensors)
})

const parameters = (shapes: Map<string, readonly number[]>) =>
  [...shapes.values()].reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0)

t.test('qwen3-4b has the sizes of Qwen3-4B, which klein-4b reads', async (t) => {
  const sizes = TEXT_PRESETS['qwen3-4b']
  t.equal(3 * sizes.hidden, PRESETS['klein-4b'].transformer.contextDim)
  t.equal(parameters(textEncoderTensors(sizes)), 4_022_468_096)
})

t.test('klein-4b has the sizes of the paper', async (t) => {
  const { transformer, autoencoder, face, adapter, textLength } = PRESETS['klein-4b']
  t.equal((2 * parameters(transformerTensors(transformer))) / 1e9 > 7.74, true)
  t.equal((2 * parameters(transformerTensors(transformer))) / 1e9 < 7.76, true)
  t.equal(autoencoderTensors(autoencoder).size, 250)
  t.equal(faceTensors(face).get('output_layer.3.weight')?.[1], 512 * 7 * 7)
  t.equal([...faceTensors(face).keys()].filter((name) => name.endsWith('res_layer.1.weight')).length, 24)
  t.same([adapter.rank, adapter.baseTokens, adapter.detailTokens, textLength], [16, 128, 128, 512])
})

t.test('a folder that is not empty stays as it is, unless forced', async (t) => {
  mkdirSync(folder('used'))
  writeFileSync(join(folder('used'), 'precious.txt'), 'x')
  await t.rejects(synthesizeCheckpoint('tiny', folder('used')), {
    code: 'ERR_ICONFACE_INVALID_ARGUMENT',
    message: /used is not empty/,
  })
  t.same(readdirSync(folder('used')), ['precious.txt'])
  await synthesizeCheckpoint('tiny', folder('used'), { force: true })
  await synthesizeCheckpoint('tiny', folder('used'), { force: true })
  openCheckpoint(folder('used'))
  t.ok(existsSync(join(folder('used'), 'precious.txt')))
})

t.test('an abort leaves no model and no partial file', async (t) => {
  const stop = new AbortController()
  const options = {
    signal: stop.signal,
    onProgress: ({ file }: { file: string }) => file.startsWith('adapter') && stop.abort(),
  }
  await t.rejects(synthesizeCheckpoint('tiny', folder('stopped'), options), { code: 'ERR_ICONFACE_ABORTED' })
  t.same(readdirSync(folder('stopped')).sort(), ['autoencoder.safetensors', 'transformer.safetensors'])
})

t.test('a callback that throws stops it with its own error', async (t) => {
  const failing = () => {
    throw new RangeError('mine')
  }
  await t.rejects(synthesizeCheckpoint('tiny', folder('thrown'), { onProgress: failing }), new RangeError('mine'))
  t.same(readdirSync(folder('thrown')), [])
})

t.test('progress counts every byte', async (t) => {
  let last = { bytes: 0, totalBytes: 1 }
  const onProgress = (progress: typeof last) => {
    if (progress.bytes < last.bytes) t.fail('it goes back')
    last = progress
  }
  const { bytes } = await synthesizeCheckpoint('tiny', folder('watched'), { onProgress })
  t.equal(last.bytes, bytes)
  t.equal(last.totalBytes, bytes)
})

t.test('arguments', async (t) => {
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  await t.rejects(synthesizeCheckpoint('huge' as 'tiny', folder('x')), {
    code,
    message: /tiny or klein-4b or qwen3-4b for preset/,
  })
  await t.rejects(synthesizeCheckpoint('tiny', folder('x'), { seed: -1 }), { code, message: /seed but received -1/ })
  await t.rejects(synthesizeCheckpoint('tiny', join(folder('a'), 'iconface.json', 'x')), {
    code: /ERR_ICONFACE_(IO|FILE_NOT_FOUND)/,
  })
  t.notOk(existsSync(folder('x')))
})
