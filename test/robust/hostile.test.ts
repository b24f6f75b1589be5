// The addon's own doors, with what no TypeScript would let through: a result or an error, never a crash.
import t, { type Test } from 'tap'
import { openCheckpoint } from '../../dist/checkpoint/open.js'
import { LIMITS } from '../../dist/limits.js'
import { loadAddon, type NativeSession, type Pixels, type RestoreJob } from '../../dist/native.js'
import { type AnyTensor, DTYPES, rightCalls, tensor } from '../fixtures/calls'
import { numbers } from '../fixtures/mutate'
import { full } from '../fixtures/tier'
import { held, tinyModel } from '../fixtures/tiny'

type Fields = Record<string, unknown>
const addon = loadAddon()
const Session = addon.Session as unknown as new (...options: unknown[]) => NativeSession
const SIDE = 16
let folder: string
let session: NativeSession

t.before(async () => {
  folder = await tinyModel()
  session = new Session({ threads: 2, checkpoint: openCheckpoint(folder) })
  await session.load()
})
t.teardown(() => session.dispose())

function detached(): Uint8Array {
  const data = new Uint8Array(SIDE * SIDE * 3)
  structuredClone(data.buffer, { transfer: [data.buffer] })
  return data
}

const thrower = new Proxy(
  {},
  {
    get: () => {
      throw new Error('no')
    },
    ownKeys: () => {
      throw new Error('no')
    },
  },
)

/** One of every kind of value, and the numbers at which things go wrong. */
const VALUES: unknown[] = [
  undefined,
  null,
  true,
  NaN,
  Infinity,
  -1,
  0,
  0.5,
  3,
  2 ** 31,
  2 ** 53,
  1e308,
  1n,
  -1n,
  2n ** 64n,
  '',
  'x',
  '\0',
  'x'.repeat(1e5),
  Symbol('s'),
  () => 1,
  {},
  [],
  [[]],
  [undefined],
  [NaN],
  [-1, 5],
  new Array(1e7),
  new Date(),
  new Map(),
  Promise.resolve(),
  thrower,
  {
    get data() {
      throw new Error('no')
    },
  },
  {
    valueOf: () => 3,
    toString: () => {
      throw new Error('no')
    },
  },
  detached(),
  new Uint8Array(0),
  new Uint16Array(SIDE * SIDE * 3),
  new Float64Array(3),
  new BigInt64Array(2),
  new DataView(new ArrayBuffer(8)),
  new ArrayBuffer(SIDE * SIDE * 3),
  new SharedArrayBuffer(8),
  new Uint8Array(new SharedArrayBuffer(SIDE * SIDE * 3)),
  Buffer.from('abc'),
]

/** `call` ends in a value, or in an Error that it throws or rejects with. */
async function ends(call: () => unknown): Promise<'value' | 'error'> {
  try {
    const value = call()
    await (value instanceof Promise ? value : (value as { promise?: Promise<unknown> } | undefined)?.promise)
    return 'value'
  } catch (error) {
    if (error instanceof Error) return 'error'
    throw error // whoever throws something else is the one to blame
  }
}

const pixels = (): Pixels => ({ data: new Uint8Array(SIDE * SIDE * 3), width: SIDE, height: SIDE, channels: 3 })
const job = (): RestoreJob => ({
  pixels: [pixels()],
  steps: 1,
  guidance: 1,
  seed: 1n,
  rng: 'torch-cpu',
  size: SIDE,
  variant: { identity: true, structure: 'none', references: true },
  out: new Uint8Array(SIDE * SIDE * 3),
})

const noise = (shape: number[]) => ({ dtype: 'f32', shape, data: new Float32Array(shape.reduce((a, b) => a * b)) })

/** `make()` with each field in turn replaced by each value, or left out. */
function* spoiled(make: () => object): Generator<[name: string, object]> {
  for (const name of Object.keys(make())) {
    for (const value of VALUES) yield [name, { ...make(), [name]: value }]
    const { [name]: _, ...rest } = make() as Fields
    yield [name, rest]
  }
}

async function survives(t: Test, calls: Iterable<() => unknown>): Promise<void> {
  const before = held()
  const count = { value: 0, error: 0 }
  for (const call of calls) count[await ends(call)]++
  t.ok(count.error > 0, `${count.error} errors, ${count.value} results`)
  t.equal(held(), before, 'nothing is kept')
  t.equal(await ends(() => session.restore(job() as RestoreJob, () => {})), 'value', 'the session works')
}

t.test('arguments of any type', async (t) => {
  const methods = ['load', 'run', 'restore', 'embed', 'estimate'] as const
  const calls = methods.flatMap((name) =>
    VALUES.flatMap((value) => [
      [value],
      [value, value],
      [value, value, value],
      ['linear', value, {}],
      [job(), value],
    ]).map((list) => () => (session[name] as (...list: unknown[]) => unknown)(...list)),
  )
  await survives(t, calls)
})

t.test('methods of another object', async (t) => {
  const prototype = Session.prototype as unknown as Record<string, () => unknown>
  const names = Object.getOwnPropertyNames(prototype).filter((name) => name !== 'constructor')
  await survives(
    t,
    names.flatMap((name) => VALUES.map((value) => () => prototype[name]!.call(value))),
  )
  t.throws(() => (Session as unknown as () => void)())
})

t.test('options of a session', async (t) => {
  const make = () => ({ threads: 1, isa: addon.info().isa, precision: 'bf16', checkpoint: {} })
  await survives(
    t,
    [...spoiled(make)].map(
      ([, options]) =>
        () =>
          new Session(options).dispose(),
    ),
  )
  await survives(
    t,
    VALUES.map((value) => () => new Session(value).dispose()),
  )
})

t.test('checkpoints', async (t) => {
  const good = openCheckpoint(folder) as unknown as Fields
  const tensors = good.tensors as Record<string, object>
  const [name, entry] = Object.entries(tensors)[0]!
  const file = (good.files as object[])[0]!
  const join = { name: 'vae.joined', dtype: 'F32', shape: [2], parts: [{ file: 0, offset: 0, bytes: 8 }] }
  const part = { file: 0, offset: 0, bytes: 8 }
  const lora = { module: 'img_in', a: name, b: name, factor: 1 }
  const checkpoints = [
    ...[...spoiled(() => ({ ...good, joins: [join], loras: [lora] }))].map(([, c]) => c),
    ...[...spoiled(() => entry)].map(([, t]) => ({ ...good, tensors: { ...tensors, [name]: t } })),
    ...[...spoiled(() => file)].map(([, f]) => ({ ...good, files: [f] })),
    ...[...spoiled(() => join)].map(([, j]) => ({ ...good, joins: [j] })),
    ...[...spoiled(() => part)].map(([, p]) => ({ ...good, joins: [{ ...join, parts: [p, part] }] })),
    ...[...spoiled(() => lora)].map(([, l]) => ({ ...good, loras: [l] })),
    ...VALUES.flatMap((value) =>
      ['tensors', 'numbers', 'texts'].map((key) => ({ ...good, [key]: { x: value, [name]: value } })),
    ),
    ...VALUES.flatMap((value) => ['files', 'joins', 'loras'].map((key) => ({ ...good, [key]: [value] }))),
  ]
  const every = full ? 5 : 19
  const calls = checkpoints
    .filter((_, i) => i % every === 0)
    .map((checkpoint) => async () => {
      const other = new Session({ threads: 1, checkpoint })
      await other.load().finally(() => other.dispose())
    })
  await survives(t, calls)
})

t.test('restores', async (t) => {
  const calls = [
    ...[...spoiled(job)].map(([, j]) => j),
    ...[...spoiled(pixels)].map(([, p]) => ({ ...job(), pixels: [p] })),
    ...[...spoiled(pixels)].map(([, p]) => ({ ...job(), pixels: [pixels(), p] })),
    ...[...spoiled(() => job().variant)].map(([, variant]) => ({ ...job(), variant })),
    ...VALUES.flatMap((value) => ['noise', 'prompt', 'trace'].map((key) => ({ ...job(), [key]: value }))),
    ...[...spoiled(() => noise([128, SIDE / 16, SIDE / 16]))].map(([, n]) => ({ ...job(), noise: n })),
    ...[[127, 2, 2], [128, 2], [512]].map((shape) => ({ ...job(), noise: noise(shape) })),
  ]
  await survives(
    t,
    calls.map((j) => () => session.restore(j as RestoreJob, () => {})),
  )
  const estimate = { references: 1, size: 32, steps: 2, guidance: 4, variant: job().variant }
  await survives(
    t,
    [...spoiled(() => estimate)].map(
      ([, e]) =>
        () =>
          session.estimate(e as typeof estimate),
    ),
  )
  await survives(
    t,
    [...spoiled(pixels)].map(
      ([, p]) =>
        () =>
          session.embed(p as Pixels, 32),
    ),
  )
})

t.test('pictures of impossible proportions', async (t) => {
  const sides = [1, 2, 3, 15, 16, 17, 255, 4096, LIMITS.side.max, LIMITS.side.max + 1]
  const shapes = sides.flatMap((width) =>
    sides.filter((height) => width * height <= 1 << 20).map((height) => ({ width, height })),
  )
  for (const { width, height } of shapes) {
    const data = new Uint8Array(width * height * 4).fill(200)
    const call = () => session.restore({ ...job(), pixels: [{ data, width, height, channels: 4 }] }, () => {}).promise
    const within = Math.max(width, height) <= LIMITS.side.max
    t.equal(await ends(call), within ? 'value' : 'error', `${width} x ${height}`)
  }
})

t.test('operations and networks, a little wrong', async (t) => {
  const random = numbers(20261123)
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!
  const right = rightCalls(random)
  const kinds = addon.info().kinds.filter((kind) => kind !== 'peak_flops')
  t.same(
    kinds.filter((kind) => !(kind in right)),
    [],
    'there is a right call of every kind',
  )

  const NUMBERS = [0, 1, 2, 3, 8, 32, -1, 0.5, NaN, 300, 2 ** 31 - 1, 2 ** 31, 2 ** 40, 1e300]
  const NAMES = ['f32', 'bf16', 'silu', 'swiglu', '1', 'torch-cpu']
  const otherShape = (shape: number[]) => {
    const other = [...shape]
    const axis = random(shape.length)
    const change = random(5)
    if (change === 0) other.push(pick([0, 1, 2]))
    else if (change === 1) other.splice(axis, 1)
    else if (change === 2) other.reverse()
    else other[axis] = pick([0, 1, other[axis]! + 1, Math.max(0, other[axis]! - 1), 2 * other[axis]!, 70])
    return other
  }
  /** Another tensor than the right one: of another shape, type or content, or none at all. */
  const otherTensor = (old: AnyTensor): unknown => {
    if (!Array.isArray(old?.shape) || random(20) === 0) return pick(VALUES)
    const change = random(8)
    if (change < 4) return tensor(old.dtype as 'f32', otherShape(old.shape))
    if (change < 6) return tensor(pick(DTYPES), old.shape)
    if (change === 6) return { ...old, shape: otherShape(old.shape) }
    return { ...old, data: pick(VALUES) }
  }
  const otherParam = () =>
    pick([
      () => pick(NUMBERS),
      () => pick(NAMES),
      () => Array.from({ length: random(7) }, () => pick(NUMBERS)),
      () => pick(VALUES),
    ])()

  const calls = function* () {
    for (let i = 0; i < (full ? 1200 : 500); i++) {
      const kind = pick(kinds)
      const [tensors, params] = right[kind]!() as [Fields, Fields]
      for (let wrong = random(3); wrong > 0; wrong--) {
        const operands = Object.keys(tensors)
        const name = pick(operands)
        if (random(2) && operands.length > 0) tensors[name] = otherTensor(tensors[name] as AnyTensor)
        else params[pick([...Object.keys(params), 'outDtype', 'rows', 'trace'])] = otherParam()
      }
      yield () => session.run(kind, tensors as Parameters<NativeSession['run']>[1], params)
    }
  }
  await survives(t, calls())
  for (const kind of kinds) {
    const [tensors, params] = right[kind]!()
    const run = session.run(kind, tensors as Parameters<NativeSession['run']>[1], params)
    if (kind === 'text_embedding') await t.rejects(run, { message: /no text encoder/ }, kind)
    else if (kind === 'face_detection') await t.rejects(run, { message: /no face detector/ }, kind)
    else await t.resolves(run, kind)
  }
})
