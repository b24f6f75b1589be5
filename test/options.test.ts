// Every public function that takes options refuses those that it does not know, and takes undefined for what is left
// out. Which functions there are is read from the declarations, so that a new one cannot be forgotten.
import t from 'tap'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { convertWeights } from '../dist/prepare/convert.js'
import { downloadFromHub } from '../dist/prepare/hub.js'
import { prepareModel } from '../dist/prepare/prepare.js'
import { openCheckpoint } from '../dist/checkpoint/open.js'
import { synthesizeCheckpoint } from '../dist/prepare/synthesize.js'
import { checkDegradeOptions, degrade } from '../dist/degrade/index.js'
import { evaluate, type EvaluationCase, syntheticCases } from '../dist/evaluate/index.js'
import { IConFace, PhotoRestoration, Restoration, restore, restorePhoto, type RestoreOptions } from '../dist/index.js'
import { alignFace } from '../dist/photo/alignment.js'
import { type Checkpoint, FaceDetector, Networks, openTextEncoder } from '../dist/networks/index.js'
import { f32, OpContext } from '../dist/ops/index.js'
import { publicFunctions } from './fixtures/declarations'
import { scratchFolder } from './fixtures/fake'
import { picture } from './fixtures/tiny'

/** A bag of options of a public function. */
interface Bag {
  name: string
  type: ts.Type
}

const { checker, functions } = publicFunctions()

/** All parameters that are options, of all functions, constructors and methods that can be imported. */
function bags(): Bag[] {
  return functions.flatMap(({ name, signature }) =>
    signature
      .getParameters()
      .map((parameter) => ({ parameter, type: checker.getNonNullableType(checker.getTypeOfSymbol(parameter)) }))
      .filter(({ parameter, type }) => isBag(parameter, type))
      .map(({ type }) => ({ name, type })),
  )
}

/** By its name, or because nothing in it is needed. */
function isBag(parameter: ts.Symbol, type: ts.Type): boolean {
  if (['options', 'params', 'job'].includes(parameter.name)) return true
  const members = type.isUnion() || type.getCallSignatures().length > 0 ? [] : type.getProperties()
  return members.length > 0 && members.every(isOptional)
}

function isOptional(property: ts.Symbol): boolean {
  return (property.flags & ts.SymbolFlags.Optional) !== 0
}

const face = picture(1)
const folder = join(scratchFolder(), 'tiny')
let model: IConFace
const ops = new OpContext({ threads: 1 })
let networks: Networks
const result = new Restoration({
  data: new Uint8Array(48),
  width: 4,
  height: 4,
  seed: 1,
  timings: {},
  identity: {
    source: 'none' as const,
    anchor: null,
    before: null,
    after: null,
    norms: new Float32Array(),
    weights: new Float32Array(),
  },
})
const photo = new PhotoRestoration(
  { data: face.data, width: face.width, height: face.height, channels: 3 },
  { icc: undefined, exif: undefined, density: undefined },
  { faces: [], warnings: [], timings: {} },
)
/** A face in the middle of the picture. */
const ALIGNMENT = alignFace(
  [
    [3, 3],
    [5, 3],
    [4, 4],
    [3.2, 5],
    [4.8, 5],
  ],
  { size: 32 },
)
const one: EvaluationCase = {
  name: 'one',
  severity: 'none',
  references: 0,
  load: async () => ({ input: face, truth: face, references: [], landmarks: null }),
}

/** How each is called; what is needed beside the options under test is given. */
const CALLS: Record<string, (options: object) => unknown> = {
  restore: (options) => restore(face, [], { model: folder, steps: 1, size: 32, ...options }),
  'IConFace.load': (options) => IConFace.load(folder, options),
  'IConFace#restore': (options) => model.restore(face, [], { steps: 1, size: 32, ...options }),
  restorePhoto: (options) =>
    restorePhoto(face, [], { model: folder, steps: 1, size: 32, alignments: [ALIGNMENT], ...options }),
  'IConFace#restorePhoto': (options) =>
    model.restorePhoto(face, [], { steps: 1, size: 32, alignments: [ALIGNMENT], ...options }),
  'IConFace#embed': (options) => model.embed(face, options),
  'IConFace#estimate': (options) => model.estimate(options),
  'Restoration#toFile': (options) => result.toFile(join(folder, 'a.png'), options),
  'Restoration#toBuffer': (options) => result.toBuffer('png', options),
  'PhotoRestoration#toFile': (options) => photo.toFile(join(folder, 'a.png'), options),
  'PhotoRestoration#toBuffer': (options) => photo.toBuffer('png', options),
  'new OpContext': (options) => new OpContext(options).dispose(),
  'OpContext#run': (options) => ops.run('add', { a: f32([1], [1]), b: f32([1], [2]) }, options),
  'Networks.load': async (options) => (await Networks.load(folder, options)).dispose(),
  'Networks#run': (options) => networks.run('schedule', {}, { steps: 2, tokens: 4, ...options }),
  'FaceDetector.load': (options) => FaceDetector.load(join(folder, 'adapter.safetensors'), options),
  'FaceDetector#detect': (options) => FaceDetector.prototype.detect.call(detector(), face, options),
  'FaceDetector#find': (options) => FaceDetector.prototype.find.call(detector(), face, options),
  openTextEncoder: (options) => openTextEncoder(join(folder, 'adapter.safetensors'), options),
  checkDegradeOptions: (options) => checkDegradeOptions({ strength: 0, seed: 1, ...options }),
  degrade: (options) => degrade(face, { strength: 0, seed: 1, ...options }),
  evaluate: (options) => evaluate(model, [one], { steps: 1, references: [0], ...options }),
  syntheticCases: (options) => syntheticCases({ count: 1, ...options }),
}

/** One without a network: it ends where it would look. */
function detector(): FaceDetector {
  const run = () => Promise.reject(new RangeError('it would look now'))
  return Object.assign(Object.create(FaceDetector.prototype) as FaceDetector, { networks: { run } })
}

t.before(async () => {
  await synthesizeCheckpoint('tiny', folder)
  model = await IConFace.load(folder, { threads: 1 })
  networks = await Networks.load(folder, { threads: 1 })
})
t.teardown(() => Promise.all([model.dispose(), ops.dispose(), networks.dispose(), restore.dispose()]))

const attempt = async (call: () => unknown) => {
  try {
    return await call()
  } catch (error) {
    return error
  }
}

t.test('the table has every function that takes options', async (t) => {
  t.same(
    Object.keys(CALLS).sort(),
    bags()
      .map(({ name }) => name)
      .sort(),
  )
})

t.test('a name that is not known is refused, and so is what is no object', async (t) => {
  for (const [name, call] of Object.entries(CALLS)) {
    for (const key of ['threds', 'stepz', 'constructor', 'Signal', '__proto__x']) {
      const error = await attempt(() => call({ [key]: 1 }))
      t.match(error, { name: 'IConFaceError', code: 'ERR_ICONFACE_INVALID_ARGUMENT' }, `${name} ${key}`)
      t.ok((error as Error).message.includes(key), `${name}: ${(error as Error).message}`)
    }
  }
  for (const wrong of [null, 5, 'fast', []] as unknown as object[]) {
    for (const name of [
      'IConFace.load',
      'IConFace#embed',
      'Networks.load',
      'FaceDetector.load',
      'Restoration#toBuffer',
      'openTextEncoder',
      'new OpContext',
    ])
      t.match(await attempt(() => CALLS[name]!(wrong)), { code: 'ERR_ICONFACE_INVALID_ARGUMENT' }, name)
  }
})

t.test('undefined is as good as leaving out', async (t) => {
  const missing = checker.getUndefinedType()
  for (const { name, type } of bags()) {
    const optional = type.getProperties().filter(isOptional)
    for (const property of optional) {
      const given = checker.getTypeOfSymbol(property)
      t.ok(checker.isTypeAssignableTo(missing, given), `${name} ${property.name}: ${checker.typeToString(given)}`)
    }
    const call = CALLS[name]!
    // What the table gives by itself stays: it is needed, or makes the call quick.
    const quick = ['steps', 'size', 'references', 'count', 'model', 'alignments']
    const names = optional.map((property) => property.name).filter((key) => !quick.includes(key))
    const unsaid = Object.fromEntries(names.map((key) => [key, undefined]))
    const [plain, said] = [await attempt(() => call({})), await attempt(() => call(unsaid))]
    t.equal(kind(said), kind(plain), `${name} with ${names.join(', ')}`)
    for (const loaded of [plain, said]) if (loaded instanceof IConFace) await loaded.dispose()
  }
})

/** What came of a call: its error's message, or that there is a result. */
function kind(outcome: unknown): string {
  return outcome instanceof Error ? outcome.message : typeof outcome
}

t.test('what the command line is made of refuses unknown options, too', async (t) => {
  const nowhere = join(folder, 'nowhere')
  const calls: Record<string, (options: object) => Promise<unknown>> = {
    prepareModel: (options) => prepareModel([folder], nowhere, options),
    convertWeights: (options) => convertWeights(join(folder, 'adapter.safetensors'), nowhere, options),
    synthesizeCheckpoint: (options) => synthesizeCheckpoint('tiny', nowhere, options),
    downloadFromHub: (options) => downloadFromHub('owner/name', options),
  }
  for (const [name, call] of Object.entries(calls)) {
    await t.rejects(call({ singal: 1 }), { code: 'ERR_ICONFACE_INVALID_ARGUMENT', message: /'singal'/ }, name)
  }
  await t.rejects(synthesizeCheckpoint('tiny', nowhere, { dtype: 'f16' as 'f32' }), {
    message: /'bf16' or 'f32' for dtype/,
  })
  t.notOk(existsSync(nowhere))
})

t.test('values are checked where the package is entered', async (t) => {
  const code = 'ERR_ICONFACE_INVALID_ARGUMENT'
  for (const load of ['Networks.load', 'FaceDetector.load', 'new OpContext', 'IConFace.load']) {
    const wrong: [string, unknown][] = [
      ['threads', 0],
      ['threads', 1025],
      ['threads', '2'],
      ['isa', 5],
      ['device', 'tpu'],
      ...(load === 'Networks.load' || load === 'IConFace.load' ? ([['precision', 'f16']] as [string, unknown][]) : []),
    ]
    for (const [name, value] of wrong) {
      const error = await attempt(() => CALLS[load]!({ [name]: value }))
      t.match(error, { code, message: new RegExp(`for ${name} but received`) }, `${load} ${name}`)
    }
  }
  // The detector's numbers are those of f32.
  t.match(await attempt(() => CALLS['FaceDetector.load']!({ precision: 'bf16' })), { code, message: /'precision'/ })
  for (const source of ['', 5, null, undefined, []]) {
    t.match(await attempt(() => Networks.load(source as string)), { code, message: /for source but received/ })
  }
  for (const file of ['', 5, null]) {
    t.match(await attempt(() => FaceDetector.load(file as string)), { code, message: /for file but received/ })
    t.match(await attempt(() => openTextEncoder(file as string)), { code, message: /for file but received/ })
  }
  for (const [name, values] of Object.entries({
    outputLayers: [[], [0], [1.5], 'x', 9],
    ropeTheta: [1, NaN, '1e6'],
    tokenizer: [5],
  })) {
    for (const value of values)
      t.match(await attempt(() => CALLS.openTextEncoder!({ [name]: value })), {
        code,
        message: new RegExp(`for ${name} `),
      })
  }
  t.match(await attempt(() => model.restore(face, [], { guidance: 100.5 } as RestoreOptions)), { code })
})

t.test('a checkpoint that is described may leave parts out by undefined', async (t) => {
  const { files, tensors, numbers, texts } = openCheckpoint(folder)
  const described: Checkpoint = { files, tensors, numbers, texts, joins: undefined, loras: undefined }
  const loaded = await Networks.load(described, { threads: 1 })
  t.ok(loaded instanceof Networks)
  await loaded.dispose()
})
