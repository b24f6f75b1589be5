// One operation has one name in every layer: native/src/op/list.h says which there are.
import t from 'tap'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { FAMILIES } from '../dist/bench/families.js'

const ROOT = resolve(__dirname, '..')
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

/** Names of the operations, and which of them are tables: compiled once for the CPU. */
function listed(text: string): { kernels: string[]; tables: string[] } {
  const [, kernels = '', tables = ''] = text.split(/#define ICONFACE_(?:KERNELS|TABLES)\(X\)/)
  const names = (part: string) => Array.from(part.matchAll(/\bX\(\w+, (\w+), [\w:]+\)/g), ([, name]) => name!)
  return { kernels: names(kernels), tables: names(tables) }
}

const { kernels, tables } = listed(read('native/src/op/list.h'))
const operations = [...kernels, ...tables]

const testOf = (name: string) => `test/ops/${name.replaceAll('_', '-')}.test.ts`

/** The files that an operation must have; where there are several, one of them. */
function places(name: string): string[][] {
  const cuda = readdirSync(join(ROOT, 'native/cuda'), { withFileTypes: true }).filter((entry) => entry.isDirectory())
  return [
    [`native/src/op/${name}.h`],
    [`native/src/op/${name}.cc`],
    [tables.includes(name) ? `native/src/cpu/host/${name}.cc` : `native/src/cpu/${name}.cc`],
    [`native/cuda/${name}.cu`, ...cuda.map((folder) => `native/cuda/${folder.name}/${name}.cu`)],
    [`native/src/binding/${name}.cc`],
    [testOf(name)],
  ]
}

const missing = (name: string, exists: (path: string) => boolean) =>
  places(name).flatMap((paths) => (paths.some(exists) ? [] : [paths[0]!]))

interface Layer {
  folder: string
  ending: string
  /** Files that hold no operation. */
  others: readonly string[]
}

/** Where a file of this ending is called like the operation that it holds. */
const LAYERS: readonly Layer[] = [
  { folder: 'native/src/op', ending: '.cc', others: ['check', 'transfer'] },
  { folder: 'native/src/op', ending: '.h', others: ['backend', 'check', 'list', 'segments', 'transfer'] },
  { folder: 'native/src/cpu', ending: '.cc', others: ['kernels'] },
  { folder: 'native/src/cpu/host', ending: '.cc', others: ['select'] },
  { folder: 'native/cuda', ending: '.cu', others: [] },
  { folder: 'native/src/binding', ending: '.cc', others: ['call', 'network', 'registry', 'repeat'] },
  // Parts of linear that are large by themselves.
  { folder: 'test/ops', ending: '.test.ts', others: ['grouped-linear', 'linear-e4m3'] },
]

/** Files that are named as if they held an operation. */
const strangers = ({ ending, others }: Layer, files: readonly string[]) =>
  files
    .filter((file) => file.endsWith(ending))
    .map((file) => file.slice(0, -ending.length))
    .filter((name) => !operations.includes(name.replaceAll('-', '_')) && !others.includes(name))

t.test('every operation has its files', async (t) => {
  t.ok(operations.length > 30)
  for (const name of operations)
    t.same(
      missing(name, (path) => existsSync(join(ROOT, path))),
      [],
      name,
    )
})

t.test('no file is named like an operation that there is not', async (t) => {
  for (const layer of LAYERS)
    t.same(strangers(layer, readdirSync(join(ROOT, layer.folder))), [], `${layer.folder}/*${layer.ending}`)
})

/** Names that TypeScript declares, without what is no operation of its own: several `linear` at once. */
const declared = (text: string) =>
  Array.from(text.matchAll(/^ {2}(\w+): \{/gm), ([, name]) => name!).filter((name) => name !== 'grouped_linear')

t.test('TypeScript declares every operation by its name', async (t) => {
  t.same(declared(read('lib/ops/operations.ts')).sort(), [...operations].sort())
})

/** Declared names whose docstring does not say what types they take and what they refuse. */
const undescribed = (text: string) =>
  Array.from(text.matchAll(/(\/\*\*(?:(?!\*\/)[^])*\*\/)?\n {2}(\w+): \{/g))
    .filter(
      ([, comment]) => comment === undefined || !/\b(f32|u8|operands)\b/.test(comment) || !comment.includes('Refused:'),
    )
    .map(([, , name]) => name!)

t.test('every docstring says what the operation takes and what it refuses', async (t) => {
  t.same(undescribed(read('lib/ops/operations.ts')), [])
})

const runs = (text: string, name: string) => text.includes(`run('${name}'`)

t.test("every operation's own test runs it", async (t) => {
  for (const name of operations) t.ok(runs(read(testOf(name)), name), name)
})

/** Parts of an operation that are timed by themselves. */
const TIMED_PARTS = ['linear_swiglu', 'linear_gated', 'linear_qkv', 'causal_attention']

/** Operations without a benchmark of their name, and benchmarks that are called like no operation. */
const faults = (benchmarks: readonly string[]) => [
  ...operations.filter((name) => !benchmarks.includes(name)).map((name) => `${name} is not timed`),
  ...benchmarks.filter((name) => ![...operations, ...TIMED_PARTS].includes(name)).map((name) => `${name} is unknown`),
]

t.test('every operation has a benchmark of its name', async (t) => {
  const benchmarks = FAMILIES.map(({ name }) => name)
  t.same(faults(benchmarks), [])
  t.equal(new Set(benchmarks).size, benchmarks.length, 'no name stands twice')
})

t.test('docs/adding-an-operation.md names every file that a new operation touches, at most twelve', async (t) => {
  const named = Array.from(
    read('docs/adding-an-operation.md').matchAll(/^\| \d+ \| `([^`]+)` \|/gm),
    ([, path]) => path!,
  )
  t.ok(named.length > 8 && named.length <= 12, `${named.length} files`)
  for (const path of named) t.ok(existsSync(join(ROOT, path)), path)
  for (const paths of places('group_norm_silu')) t.ok(named.includes(paths[0]!), `${paths[0]} is among them`)
})

t.test('what is missing, and what is a stranger, is noticed', async (t) => {
  const text =
    '#define ICONFACE_KERNELS(X) \\\n  X(void, a, op::AArgs) \\\n  X(bool, b, Tensor)\n#define ICONFACE_TABLES(X) X(void, c, op::C)\n#define ICONFACE_OPERATIONS(X) ICONFACE_KERNELS(X) ICONFACE_TABLES(X)'
  t.same(listed(text), { kernels: ['a', 'b'], tables: ['c'] })
  const all = missing('max_pool2d', () => false)
  t.equal(all.length, 6)
  t.match(all, ['native/src/op/max_pool2d.h', /./, /./, /./, /./, 'test/ops/max-pool2d.test.ts'])
  t.same(
    missing('linear', (path) => path === 'native/cuda/linear/linear.cu').filter((path) => path.includes('cuda')),
    [],
    'a kernel may lie in a folder',
  )
  for (const layer of LAYERS) {
    const file = (name: string) => `${name}${layer.ending}`
    t.same(strangers(layer, [file('linear'), file('surprise'), 'surprise.txt']), ['surprise'], layer.folder)
  }
  t.same(declared('  silu: {\n    tensors: {\n  grouped_linear: {\n'), ['silu'])
  t.same(undescribed('{\n  /** A f32. Refused: b. */\n  a: {}\n  b: {}\n  /** Thin. */\n  c: {}\n'), ['b', 'c'])
  t.notOk(runs("await ops.run('rms_norm', { x, weight })", 'silu'))
  const benchmarks = FAMILIES.map(({ name }) => name)
  t.same(faults(benchmarks.filter((name) => name !== 'silu')), ['silu is not timed'])
  t.same(faults([...benchmarks, 'surprise']), ['surprise is unknown'])
})
