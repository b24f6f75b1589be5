// iconface.json: every field, what is filled in, and what is refused with which words.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readModelConfig } from '../../dist/checkpoint/config.js'

const folder = join(t.testdir({ outside: { 'ae.safetensors': '' } }), 'model')
mkdirSync(folder)
for (const name of ['t', 'v', 'a', 'f', 'p', 'l']) writeFileSync(join(folder, name), '')

const MINIMAL = { format: 1, transformer: { file: 't' }, autoencoder: { file: 'v' }, prompt: { file: 'p' } }

function read(config: object | string) {
  writeFileSync(join(folder, 'iconface.json'), typeof config === 'string' ? config : JSON.stringify(config))
  return readModelConfig(folder)
}

t.test('the smallest config and its defaults', async (t) => {
  t.same(read(MINIMAL), {
    folder,
    name: 'model',
    synthesized: false,
    transformer: { file: join(folder, 't'), heads: undefined, ropeAxes: [32, 32, 32, 32], ropeTheta: 2000 },
    autoencoder: { file: join(folder, 'v'), groups: 32 },
    adapter: undefined,
    lora: [],
    identity: undefined,
    prompt: { file: join(folder, 'p'), withReferences: 'prompt', withoutReferences: undefined, empty: 'empty' },
    defaults: { resolution: 512, steps: 12, guidance: 4, seed: 42, rng: 'torch-cuda' },
  })
})

t.test('every field', async (t) => {
  const config = read({
    format: 1,
    name: 'all of it',
    synthesized: true,
    transformer: { file: 't', heads: 2, ropeAxes: [0, 8, 8, 0], ropeTheta: 10000 },
    autoencoder: { file: '../outside/ae.safetensors', groups: 8 },
    adapter: { file: 'a', residualStrength: -0.5, temperature: 0.5 },
    lora: [{ file: 'l' }, { file: '../outside', strength: 0.5, alpha: 8 }],
    identity: { file: 'f', crop: 'resize' },
    prompt: { file: 'p', withReferences: 'x', withoutReferences: 'y', empty: 'z' },
    defaults: { resolution: 64, steps: 1, guidance: 0, seed: 0, rng: 'torch-cpu' },
  })
  t.equal(config.name, 'all of it')
  t.equal(config.synthesized, true)
  t.match(config.transformer, { heads: 2, ropeAxes: [0, 8, 8, 0], ropeTheta: 10000 })
  t.equal(config.autoencoder.file, join(folder, '../outside/ae.safetensors'), 'a path may lead out of the folder')
  t.equal(config.autoencoder.groups, 8)
  t.match(config.adapter, { residualStrength: -0.5, temperature: 0.5 })
  t.match(config.lora, [
    { strength: 1, alpha: undefined },
    { strength: 0.5, alpha: 8 },
  ])
  t.equal(config.identity?.crop, 'resize')
  t.match(config.prompt, { withReferences: 'x', withoutReferences: 'y', empty: 'z' })
  t.same(config.defaults, { resolution: 64, steps: 1, guidance: 0, seed: 0, rng: 'torch-cpu' })
})

t.test('what is refused, with the key, the expected and the received value', async (t) => {
  const cases: [object, RegExp][] = [
    [{ ...MINIMAL, format: undefined }, /format is missing, expected a whole number from 1/],
    [{ ...MINIMAL, format: '1' }, /expected a whole number from 1 for format but received "1"/],
    [{ ...MINIMAL, name: '' }, /expected a text for name but received ""/],
    [{ ...MINIMAL, synthesized: 'yes' }, /expected true or false for synthesized but received "yes"/],
    [{ ...MINIMAL, transformer: undefined }, /transformer is missing, expected an object/],
    [{ ...MINIMAL, transformer: 't' }, /expected an object for transformer but received "t"/],
    [{ ...MINIMAL, transformer: {} }, /transformer\.file is missing, expected a text/],
    [{ ...MINIMAL, transformer: { file: 7 } }, /expected a text for transformer\.file but received 7/],
    [{ ...MINIMAL, prompt: { file: '.' } }, /expected a file for prompt\.file/],
    [{ ...MINIMAL, transformer: { file: 'a\0b' } }, /expected a path for transformer\.file/],
    [
      { ...MINIMAL, transformer: { file: 't', heads: 1.5 } },
      /whole number from 1 for transformer\.heads but received 1\.5/,
    ],
    [
      { ...MINIMAL, transformer: { file: 't', ropeAxes: [32, 32] } },
      /4 even sizes for transformer\.ropeAxes but received \[32, 32\]/,
    ],
    [{ ...MINIMAL, transformer: { file: 't', ropeAxes: [1, 1, 1, 1] } }, /4 even sizes/],
    [
      { ...MINIMAL, autoencoder: { file: 'v', groups: 0 } },
      /whole number from 1 for autoencoder\.groups but received 0/,
    ],
    [
      { ...MINIMAL, transformer: { file: 't', ropeTheta: 1 } },
      /a number above 1 for transformer\.ropeTheta but received 1/,
    ],
    [
      { ...MINIMAL, transformer: { file: 't', ropeThetta: 1 } },
      /unknown key "transformer\.ropeThetta"; did you mean "ropeTheta"/,
    ],
    [{ ...MINIMAL, transformers: {} }, /unknown key "transformers"; did you mean "transformer"/],
    [
      { ...MINIMAL, adapter: { file: 'a', temperature: 0 } },
      /a number above 0 for adapter\.temperature but received 0/,
    ],
    [{ ...MINIMAL, lora: {} }, /expected a list for lora but received an object/],
    [{ ...MINIMAL, lora: [{ file: 'l', strength: '1' }] }, /for lora\[0\]\.strength but received "1"/],
    [{ ...MINIMAL, lora: [{ file: 'l', scale: 1 }] }, /unknown key "lora\[0\]\.scale"/],
    [
      { ...MINIMAL, identity: { file: 'f', crop: 'best' } },
      /"template" or "resize" for identity\.crop but received "best"/,
    ],
    [
      { ...MINIMAL, defaults: { resolution: 500 } },
      /a multiple of 16 from 16 to 4096 for defaults\.resolution but received 500/,
    ],
    [{ ...MINIMAL, defaults: { steps: 0 } }, /defaults\.steps but received 0/],
    [{ ...MINIMAL, defaults: { guidance: -1 } }, /defaults\.guidance but received -1/],
    [{ ...MINIMAL, defaults: { seed: 2 ** 53 } }, /defaults\.seed/],
    [{ ...MINIMAL, defaults: { rng: 'numpy' } }, /"torch-cuda" or "torch-cpu" for defaults\.rng but received "numpy"/],
    [{ ...MINIMAL, adapter: null }, /expected an object for adapter but received null/],
    [{ ...MINIMAL, defaults: { steps: null } }, /defaults\.steps but received null/],
    [[], /expected an object for the file but received \[\]/],
  ]
  for (const [config, message] of cases) {
    t.throws(() => read(config), { code: 'ERR_ICONFACE_INVALID_CHECKPOINT', message }, String(message))
  }
  t.throws(() => read('{"format": 1,'), {
    code: 'ERR_ICONFACE_INVALID_CHECKPOINT',
    message: /iconface\.json is no valid JSON/,
  })
  t.throws(() => read(' '.repeat(2 << 20)), { message: /more than 1048576/ })
  t.throws(() => read('{"format":1,"__proto__":{"file":"x"}}'), {
    message: /unknown key "__proto__"|transformer is missing/,
  })
})

t.test('a later format and a crop that needs a detector are unsupported', async (t) => {
  t.throws(() => read({ ...MINIMAL, format: 2 }), { code: 'ERR_ICONFACE_UNSUPPORTED', message: /format 2.*knows 1/ })
  const landmarks = { ...MINIMAL, identity: { file: 'f', crop: 'landmarks' } }
  t.throws(() => read(landmarks), {
    code: 'ERR_ICONFACE_UNSUPPORTED',
    message: /detector.*"template" and "resize" work/,
  })
})

t.test('files that are not there', async (t) => {
  const gone = { ...MINIMAL, adapter: { file: 'gone' } }
  const message = /model\/gone does not exist; .*iconface\.json names it in adapter\.file/
  t.throws(() => read(gone), { code: 'ERR_ICONFACE_FILE_NOT_FOUND', message })
  t.throws(() => readModelConfig(join(folder, 'nowhere')), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
})
