// Every option that cannot be right: the code, what was expected, and what came.
import t from 'tap'
import { ICONFACE_ERROR_CODES, IConFaceError, isIConFaceError, restore } from '../dist/index.js'
import { IConFace } from '../dist/index.js'
import { checkLoadOptions, checkRestoreOptions, checkVariant } from '../dist/options.js'
import { bf16, f32, OpContext, toFloat32 } from '../dist/ops/index.js'
import { useFakeAddon } from './fixtures/fake'

useFakeAddon()

const INVALID = 'ERR_ICONFACE_INVALID_ARGUMENT'

t.test('restore options', async (t) => {
  const bad: [object | null, RegExp][] = [
    [null, /expected an object for options but received null/],
    [[], /expected an object for options/],
    [{ stepz: 3 }, /unknown option 'stepz' \(3\); did you mean 'steps'\?/],
    [{ Seed: 3 }, /did you mean 'seed'\?/],
    [{ steps: 0 }, /expected an integer from 1 to 1000 for steps but received 0/],
    [{ steps: 1001 }, /received 1001/],
    [{ steps: 2.5 }, /received 2\.5/],
    [{ steps: '4' }, /for steps but received "4"/],
    [{ guidance: -1 }, /expected a number from 0 to 100 for guidance but received -1/],
    [{ guidance: NaN }, /received NaN/],
    [{ guidance: Infinity }, /received Infinity/],
    [{ seed: -1 }, /expected a whole number from 0 to 2\^53 - 1, or a bigint .* for seed but received -1/],
    [{ seed: 2 ** 53 }, /received 9007199254740992/],
    [{ seed: 1.5 }, /received 1\.5/],
    [{ seed: -1n }, /received -1n/],
    [{ seed: 2n ** 64n }, /received 18446744073709551616n/],
    [{ size: 500 }, /expected a multiple of 16 from 16 to 4096 for size but received 500/],
    [{ size: 0 }, /received 0/],
    [{ size: 4112 }, /received 4112/],
    [{ rng: 'numpy' }, /expected 'torch-cuda' or 'torch-cpu' for rng but received "numpy"/],
    [{ variant: { identiti: true } }, /unknown variant option 'identiti' .*did you mean 'identity'/],
    [{ variant: { identity: 1 } }, /expected true or false for variant\.identity but received 1/],
    [{ variant: { structure: 'memory' } }, /'one-route' or 'residual' for variant\.structure but received "memory"/],
    [{ variant: 'none' }, /expected an object for variant/],
    [{ signal: {} }, /expected an AbortSignal for signal but received an object/],
    [{ signal: null }, /received null/],
    [{ onProgress: 'loudly' }, /expected a function for onProgress/],
  ]
  for (const [options, message] of bad) {
    t.throws(() => checkRestoreOptions(options as object), { code: INVALID, message }, message.source)
  }
  t.doesNotThrow(() => checkRestoreOptions({ seed: 2n ** 64n - 1n, steps: 1000, guidance: 0, size: 4096 }))
  t.doesNotThrow(() => checkRestoreOptions({ seed: Number.MAX_SAFE_INTEGER, steps: 1, size: 16, variant: {} }))
  t.same(checkVariant({ structure: false, references: false }), {
    identity: true,
    structure: 'none',
    references: false,
  })
})

t.test('load options', async (t) => {
  const bad: [object, RegExp][] = [
    [{ device: 'gpu' }, /expected 'auto', 'cpu', 'cuda' or 'cuda:<number>' for device but received "gpu"/],
    [{ device: 'cuda:x' }, /received "cuda:x"/],
    [{ precision: 'fp16' }, /expected 'auto' or 'f32' or 'bf16' or 'fp8' for precision but received "fp16"/],
    [{ threads: 0 }, /an integer from 1 to 1024 for threads/],
    [{ thread: 2 }, /did you mean 'threads'\?/],
    [{ isa: 5 }, /expected a string for isa/],
    [{ maxPixels: 0 }, /for maxPixels but received 0/],
    [{ maxReferences: -1 }, /for maxReferences but received -1/],
    [{ maxQueue: 1.5 }, /for maxQueue but received 1\.5/],
    [{ signal: 'stop' }, /expected an AbortSignal for signal/],
  ]
  for (const [options, message] of bad) {
    t.throws(() => checkLoadOptions(options), { code: INVALID, message }, message.source)
  }
  t.match(checkLoadOptions(), { device: 'auto', precision: 'auto', maxPixels: 100e6, maxReferences: 8, maxQueue: 64 })
})

t.test('wrong arguments reject, they do not throw', async (t) => {
  await t.rejects(IConFace.load(''), { code: INVALID, message: /the path of a model folder for folder/ })
  await t.rejects(IConFace.load(5 as unknown as string), { code: INVALID })
  await t.rejects(restore('a.png', [], { modle: 'x' } as object), { code: INVALID, message: /did you mean 'model'\?/ })
  await t.rejects(restore('a.png', 'b.png' as unknown as string[], { model: 'x' }), {
    code: INVALID,
    message: /expected an array of pictures for references but received "b\.png"/,
  })
  await t.rejects(restore('a.png', new Array<string>(9).fill('b.png'), { model: 'x' }), {
    code: INVALID,
    message: /at most 8 pictures \(maxReferences\) for references but received 9/,
  })
  await t.rejects(restore('a.png', [null as unknown as string], { model: 'x' }), {
    message: /for reference 1 but received null/,
  })
})

t.test('a hole among the references is no picture', async (t) => {
  const references = ['a.png']
  references[2] = 'b.png'
  await t.rejects(restore('a.png', references, { model: 'x' }), {
    code: INVALID,
    message: /for reference 2 but received undefined/,
  })
})

t.test('operations', async (t) => {
  const bad: [() => unknown, RegExp][] = [
    [() => f32([2], [1, 2, 3]), /expected 2 numbers \(shape \[2\]\) for values but received 3/],
    [() => f32('x' as unknown as number[], [1]), /expected a list of whole numbers for shape but received "x"/],
    [() => bf16([-1, -3], [1, 2, 3]), /a list of whole numbers for shape but received \[-1, -3\]/],
    [() => f32([1.5, 2], [1, 2, 3]), /received \[1\.5, 2\]/],
    [() => toFloat32({ dtype: 'u8', shape: [0], data: new Uint8Array() }), /an f32 or bf16 tensor/],
    [() => new OpContext({ thread: 2 } as object), /unknown option 'thread' \(2\); did you mean 'threads'/],
    [() => new OpContext(null as unknown as object), /expected an object for options but received null/],
  ]
  for (const [make, message] of bad) t.throws(make, { code: INVALID, message }, message.source)
})

t.test('errors of two copies of the package recognise each other', async (t) => {
  const path = require.resolve('../dist/errors.js')
  const mine = new IConFaceError('ERR_ICONFACE_IO', 'disk on fire', { cause: 'match' })
  delete require.cache[path]
  const other = require(path) as typeof import('../dist/errors.js')
  t.not(other.IConFaceError, IConFaceError)
  t.ok(other.isIConFaceError(mine))
  t.ok(isIConFaceError(new other.IConFaceError('ERR_ICONFACE_IO', '')))
  t.notOk(isIConFaceError(new Error('ERR_ICONFACE_IO')))
  t.notOk(isIConFaceError(null))
  t.match(mine, { name: 'IConFaceError', message: 'disk on fire', cause: 'match' })
  t.equal(new Set(ICONFACE_ERROR_CODES).size, ICONFACE_ERROR_CODES.length)
})
