// One operation has one name in every layer: native/src/op/list.h says which there are.
import t from 'tap'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

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

/** The files that an operation must have; where there are several, one of them. */
function places(name: string): string[][] {
  const cuda = readdirSync(join(ROOT, 'native/cuda'), { withFileTypes: true }).filter((entry) => entry.isDirectory())
  return [
    [`native/src/op/${name}.h`],
    [`native/src/op/${name}.cc`],
    [tables.includes(name) ? `native/src/cpu/host/${name}.cc` : `native/src/cpu/${name}.cc`],
    [`native/cuda/${name}.cu`, ...cuda.map((folder) => `native/cuda/${folder.name}/${name}.cu`)],
    [`native/src/binding/${name}.cc`],
  ]
}

const missing = (name: string, exists: (path: string) => boolean) =>
  places(name).flatMap((paths) => (paths.some(exists) ? [] : [paths[0]!]))

/** Files of a folder that are named as if they held an operation. */
const strangers = (folder: string, ending: string, others: string[]) =>
  readdirSync(join(ROOT, folder))
    .filter((file) => file.endsWith(ending))
    .map((file) => file.slice(0, -ending.length))
    .filter((name) => !operations.includes(name) && !others.includes(name))

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
  t.same(strangers('native/src/op', '.cc', ['check', 'transfer']), [])
  t.same(strangers('native/src/op', '.h', ['backend', 'check', 'list', 'segments', 'transfer']), [])
  t.same(strangers('native/src/cpu', '.cc', ['kernels']), [])
  t.same(strangers('native/src/cpu/host', '.cc', ['select']), [])
  t.same(strangers('native/cuda', '.cu', []), [])
  t.same(strangers('native/src/binding', '.cc', ['call', 'network', 'registry', 'repeat']), [])
})

t.test('TypeScript declares and tests run every operation by its name', async (t) => {
  const declared = Array.from(read('lib/ops/operations.ts').matchAll(/^ {2}(\w+): \{/gm), ([, name]) => name)
  t.same(declared.filter((name) => name !== 'grouped_linear').sort(), [...operations].sort())
  const tests = readdirSync(join(ROOT, 'test/ops')).map((file) => read(`test/ops/${file}`))
  for (const name of operations)
    t.ok(
      tests.some((text) => text.includes(`'${name}'`)),
      `${name} is run by a test`,
    )
})

t.test('a missing file and a missing name are noticed', async (t) => {
  const text =
    '#define ICONFACE_KERNELS(X) \\\n  X(void, a, op::AArgs) \\\n  X(bool, b, Tensor)\n#define ICONFACE_TABLES(X) X(void, c, op::C)\n#define ICONFACE_OPERATIONS(X) ICONFACE_KERNELS(X) ICONFACE_TABLES(X)'
  t.same(listed(text), { kernels: ['a', 'b'], tables: ['c'] })
  const all = missing('linear', () => false)
  t.equal(all.length, 5)
  t.same(
    missing('linear', (path) => path === 'native/cuda/linear/linear.cu'),
    all.filter((path) => !path.includes('cuda')),
  )
})
