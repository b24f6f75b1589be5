// `iconface prepare` as a process: a model folder from loose files, what is missing, and what is refused.
import t from 'tap'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { readModelConfig } from '../../dist/checkpoint/config.js'
import { openCheckpoint } from '../../dist/checkpoint/open.js'
import { synthesizeCheckpoint } from '../../dist/prepare/synthesize.js'

const MAIN = resolve(__dirname, '../../dist/cli/main.js')
const scratch = t.testdir({})
const model = join(scratch, 'model')
const file = (name: string) => join(model, `${name}.safetensors`)
const needed = ['transformer', 'autoencoder', 'prompt_embeddings'].map(file)
const prepare = (...args: string[]) => spawnSync(process.execPath, [MAIN, 'prepare', ...args], { encoding: 'utf8' })

t.before(() => synthesizeCheckpoint('tiny', model))

t.test('a folder of files becomes the model that they are, named where they lie', async (t) => {
  const loose = join(scratch, 'loose')
  mkdirSync(loose)
  for (const name of ['transformer', 'autoencoder', 'prompt_embeddings', 'adapter', 'adaface'])
    writeFileSync(join(loose, `${name}.safetensors`), readFileSync(file(name)))
  const out = join(scratch, 'prepared')
  const { status, stdout, stderr } = prepare(loose, '--out', out)
  t.equal(status, 0, stderr)
  t.match(stdout, /FLUX\.2 transformer +.*transformer\.safetensors \(Black Forest Labs/)
  t.match(stdout, /next: iconface restore .*--model/)
  const [spec, original] = [openCheckpoint(out), openCheckpoint(model)]
  t.equal(spec.variant, 'Full')
  t.same(Object.keys(spec.tensors).sort(), Object.keys(original.tensors).sort())
  t.equal(readModelConfig(out).transformer.file, join(loose, 'transformer.safetensors'))
  t.match(
    prepare(loose, '--out', out),
    { status: 2, stderr: /without a model \(--force replaces its iconface\.json\)/ },
    'nothing is overwritten',
  )
  t.equal(prepare(loose, '--out', out, '--force').status, 0)
})

t.test('parts that are not needed are named with what they cost', async (t) => {
  const out = join(scratch, 'bare')
  const { status, stdout } = prepare(...needed, '--out', out, '--json')
  t.equal(status, 0)
  const { missing } = JSON.parse(stdout) as { missing: { role: string; required: boolean; cost: string }[] }
  t.ok(missing.some(({ role }) => role === 'adapter'))
  t.ok(missing.every(({ required, cost }) => !required && cost.length > 10))
  t.equal(openCheckpoint(out).variant, 'Concat')
})

t.test('without what is needed, or with a file cut short, nothing is written', async (t) => {
  const out = join(scratch, 'nothing')
  t.match(prepare(file('transformer'), '--out', out), {
    status: 1,
    stderr: /ERR_ICONFACE_FILE_NOT_FOUND.*autoencoder, required.*prompt embeddings, required/s,
  })
  const short = join(scratch, 'short.safetensors')
  writeFileSync(short, readFileSync(file('transformer')))
  truncateSync(short, 100_000)
  t.match(prepare(short, ...needed.slice(1), '--out', out), { status: 1, stderr: /short\.safetensors.*cut short/ })
  t.match(prepare(join(scratch, 'nowhere'), '--out', out), { status: 1, stderr: /FILE_NOT_FOUND.*nowhere/ })
  t.match(prepare('--out', out), { status: 2, stderr: /INVALID_ARGUMENT.*files, folders or --hub/ })
  t.notOk(existsSync(out))
})
