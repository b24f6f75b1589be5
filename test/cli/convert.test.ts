// `iconface convert` as a process: what it writes, prints and refuses.
import t from 'tap'
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Conversion, convertWeights } from '../../dist/prepare/convert.js'
import { openSafetensors, readTensorBytes } from '../../dist/formats/safetensors.js'
import { checkpoint, dict, floats, pickle, storage, tensor, text } from '../fixtures/pickle'

const MAIN = resolve(__dirname, '../../dist/cli/main.js')
const FOLDER = resolve(__dirname, '../fixtures/pytorch')
const scratch = t.testdir({})
const out = join(scratch, 'out.safetensors')
const lightning = join(FOLDER, 'lightning-zip.pt')

const convert = (...args: string[]) => spawnSync(process.execPath, [MAIN, 'convert', ...args], { encoding: 'utf8' })
const expected = JSON.parse(readFileSync(join(FOLDER, 'expected.json'), 'utf8')) as Record<
  string,
  Record<string, { shape: number[]; hex: string }>
>

t.test('writes the tensors of torch.save to the bit', async (t) => {
  for (const name of ['dtypes-zip.pt', 'dtypes-legacy.pt', 'views-zip.pt', 'state-dict-legacy.pt']) {
    await convertWeights(join(FOLDER, name), out)
    const file = openSafetensors(out)
    const actual = [...file.tensors].map(([key, { shape }]) => [key, shape, readTensorBytes(file, key).toString('hex')])
    const wanted = Object.entries(expected[name]!).map(([key, { shape, hex }]) => [key, shape, hex])
    const byName = (a: unknown[], b: unknown[]) => String(a[0]).localeCompare(String(b[0]))
    t.same(actual.sort(byName), wanted.sort(byName), name)
  }
})

t.test('a training checkpoint: one prefix, another type, and what is left out', async (t) => {
  const { status, stdout } = convert(lightning, out, '--prefix', 'model.', '--dtype', 'bf16')
  t.equal(status, 0)
  t.match(stdout, /tensors +7 \(6 BF16, 1 I64\), 50 B\n/)
  t.match(stdout, /left out +head\.weight, head\.bias\n/)
  t.match(stdout, /skipped +epoch \(int\), .*lr_schedulers \(list\), … 7 in all\n/)
  const file = openSafetensors(out)
  t.same(
    [...file.tensors.keys()],
    ['0.weight', '0.bias', '1.weight', '1.bias', '1.running_mean', '1.running_var', '1.num_batches_tracked'],
  )
  t.same(file.metadata, { format: 'pt' })
  t.equal(file.tensors.get('0.weight')!.dtype, 'BF16')
  t.equal(file.tensors.get('1.num_batches_tracked')!.dtype, 'I64')
  const report = JSON.parse(convert(lightning, out, '--json').stdout) as Conversion
  t.match(report, { output: out, container: 'zip', tensors: 9, leftOut: [], dtypes: { F32: 8, I64: 1 } })
  t.equal(report.skipped.length, 7)
})

t.test('what fails leaves nothing, or what was there', async (t) => {
  const folder = t.testdir({})
  const target = join(folder, 'weights.safetensors')
  t.match(convert(join(FOLDER, 'counterexample-zip.pt'), target), {
    status: 1,
    stderr: /ERR_ICONFACE_INVALID_CHECKPOINT: .*UserDict\.IterableUserDict" is not allowed/,
  })
  t.same(readdirSync(folder), [])
  // Only the second tensor turns out to be damaged, when the first is written.
  const big = checkpoint(
    pickle(dict(text('a'), tensor(storage(2), [2], [1]), text('b'), tensor(storage(1, '1'), [1], [1]))),
    [floats(1, 2), floats(70000)],
  )
  const source = join(folder, 'big.pt')
  writeFileSync(source, big)
  writeFileSync(target, 'before')
  t.match(convert(source, target, '--dtype', 'f16'), {
    status: 1,
    stderr: /ERR_ICONFACE_NUMERICAL: tensor "b" holds 70000/,
  })
  big[big.indexOf(floats(70000))]! ^= 1
  writeFileSync(source, big)
  t.match(convert(source, target), { status: 1, stderr: /has the checksum/ })
  t.equal(readFileSync(target, 'utf8'), 'before')
  t.same(readdirSync(folder).sort(), ['big.pt', 'weights.safetensors'])
  await t.rejects(convertWeights(lightning, target, { signal: AbortSignal.abort() }), { code: 'ERR_ICONFACE_ABORTED' })
  t.same(readdirSync(folder).sort(), ['big.pt', 'weights.safetensors'])
})

t.test('wrong usage', async (t) => {
  t.match(convert(lightning), { status: 2, stderr: /an input and an output file/ })
  t.match(convert(lightning, out, '--dtype', 'f8'), { status: 2, stderr: /--dtype/ })
  t.match(convert(lightning, out, '--prefix', 'modle.'), {
    status: 2,
    stderr: /begins with "modle\."; the closest is "model\./,
  })
  t.match(convert(join(scratch, 'gone.pt'), out), { status: 1, stderr: /ERR_ICONFACE_FILE_NOT_FOUND/ })
  t.match(convert(lightning, join(scratch, 'no', 'folder.safetensors')), {
    status: 1,
    stderr: /ERR_ICONFACE_(IO|FILE_NOT_FOUND)/,
  })
  const copy = join(scratch, 'copy.pt')
  copyFileSync(lightning, copy)
  t.match(convert(copy, copy), { status: 2, stderr: /another file than the input/ })
  t.ok(existsSync(copy))
  t.match(convert('--help').stdout, /^Usage: iconface convert/)
})
