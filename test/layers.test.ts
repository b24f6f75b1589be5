// The layers of the source tree (docs/architecture.md): nothing names what lies above it, and there is no circle.
import t from 'tap'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import ts from 'typescript'
import { circles, filesBelow, forbidden, graphOf, ROOT, type Layers } from './fixtures/layers'

const OPERATIONS = ['native/src/op', 'native/src/runtime', 'native/src/base']
const NETWORKS = ['native/src/network', ...OPERATIONS]
const MODEL = ['native/src/model', ...NETWORKS]

/** Native code, from the bottom to the top. */
const NATIVE: Layers = {
  '<napi.h>': [],
  'native/src/base': [],
  'native/src/runtime': ['native/src/base'],
  'native/src/op': ['native/src/runtime', 'native/src/base'],
  // What implements operations: networks know none of these.
  'native/src/cpu': OPERATIONS,
  'native/emulator': ['native/src/runtime', 'native/src/base'],
  'native/cuda': ['native/emulator', ...OPERATIONS],
  'native/emulator/planted.cu': ['native/cuda', 'native/emulator', ...OPERATIONS],
  'native/src/network': OPERATIONS,
  'native/src/model': NETWORKS,
  'native/src/photo': ['native/src/runtime', 'native/src/base'],
  'native/src/binding': MODEL,
  'native/src/addon': ['native/src/binding', 'native/src/cpu', 'native/src/photo', '<napi.h>', ...MODEL],
}

/** Paths that a C++ or CUDA file includes: next to it, in native/src or in native, as CMakeLists.txt has it. */
function included(path: string, text: string): string[] {
  return [...text.matchAll(/^\s*#\s*include\s*(?:"([^"]+)"|(<[^>]+>))/gm)].map(([, name, system]) => {
    if (system !== undefined) return system
    const places = [dirname(path), 'native/src', 'native'].map((folder) => posix.join(folder, name!))
    return places.find((place) => existsSync(join(ROOT, place))) ?? name!
  })
}

t.test('native code', async (t) => {
  const graph = graphOf(filesBelow('native', ['.h', '.cc', '.cu', '.cuh']), included)
  t.ok(graph.size > 100, 'the files are found')
  t.same(forbidden(graph, NATIVE), [], 'no include points upwards')
  t.same(circles(graph), [], 'no circle')
})

/**
 * TypeScript, from the bottom to the top: each entry may name those above it in this list, and those in its own line.
 */
const LIB = lowestFirst([
  ['lib/util', 'lib/errors.ts', 'lib/warning.ts', 'lib/limits.ts'],
  ['lib/native.ts'],
  ['lib/options.ts'],
  ['lib/formats'],
  ['lib/checkpoint'],
  ['lib/picture', 'lib/image.ts'],
  ['lib/ops'],
  ['lib/networks'],
  ['lib/photo'],
  ['lib/text'],
  ['lib/queue.ts'],
  ['lib/restoration.ts'],
  ['lib/strangers.ts'],
  ['lib/progress.ts'],
  ['lib/model-info.ts'],
  ['lib/restore-request.ts'],
  ['lib/engine.ts'],
  [
    'lib/photo/reference-faces.ts',
    'lib/photo/match-faces.ts',
    'lib/photo/photo-restoration.ts',
    'lib/photo/restore-photo.ts',
  ],
  ['lib/iconface.ts'],
  ['lib/shared-models.ts'],
  ['lib/restore.ts'],
  ['lib/prepare'],
  ['lib/degrade'],
  ['lib/portraits'],
  ['lib/evaluate'],
  ['lib/bench'],
  ['lib/cli'],
])

function lowestFirst(lines: readonly (readonly string[])[]): Layers {
  const below = (i: number) => lines.slice(0, i + 1).flat()
  return Object.fromEntries(lines.flatMap((line, i) => line.map((layer) => [layer, below(i)])))
}

/** What `package.json` exports: modules that only re-export, from any layer, and that no other module names. */
const isEntry = (path: string) => /^lib\/((networks|portraits|degrade|evaluate)\/)?index\.ts$/.test(path)

interface Import {
  readonly target: string
  /** It brings types alone, which are gone when the program runs. */
  readonly types: boolean
}

const parsed = (path: string, text: string) => ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)

/** Every module of this package that another one imports, re-exports, requires or loads later. */
function imports(path: string, text: string): Import[] {
  const found: Import[] = []
  const add = (specifier: ts.Node | undefined, types: boolean) => {
    if (!specifier || !ts.isStringLiteral(specifier) || !specifier.text.startsWith('.')) return
    const place = posix.join(posix.dirname(path), specifier.text.replace(/\.js$/, ''))
    const target = [`${place}.ts`, `${place}/index.ts`].find((file) => existsSync(join(ROOT, file))) ?? place
    found.push({ target, types })
  }
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) {
      const { importClause: clause } = node
      const named =
        clause?.namedBindings && ts.isNamedImports(clause.namedBindings) ? clause.namedBindings.elements : []
      const types = clause?.isTypeOnly === true || (named.length > 0 && named.every(({ isTypeOnly }) => isTypeOnly))
      add(node.moduleSpecifier, types)
    } else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly)
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, true)
    else if (ts.isCallExpression(node) && /^(import|require)$/.test(node.expression.getText()))
      add(node.arguments[0], false)
    ts.forEachChild(node, visit)
  }
  visit(parsed(path, text))
  return found
}

/**
 * The arrows between modules. Types of a leaf are no arrow: a leaf imports nothing, or types of leaves, so that whoever
 * names it depends on nothing else.
 */
function arrows(files: ReadonlyMap<string, string>): Map<string, string[]> {
  const all = new Map([...files].map(([path, text]) => [path, imports(path, text)]))
  const isLeaf = (path: string): boolean =>
    all.get(path)?.every(({ target, types }) => types && isLeaf(target)) ?? false
  const counts = ({ target, types }: Import) => !(types && isLeaf(target))
  return new Map([...all].map(([path, list]) => [path, list.filter(counts).map(({ target }) => target)]))
}

/** Arrows to entry points, and statements in them that do more than re-export. */
function entryFaults(files: ReadonlyMap<string, string>): string[] {
  return [...files].flatMap(([path, text]) => [
    ...imports(path, text).flatMap(({ target }) => (isEntry(target) ? [`${path} -> ${target}`] : [])),
    ...parsed(path, isEntry(path) ? text : '').statements.flatMap((statement) =>
      ts.isExportDeclaration(statement) && statement.moduleSpecifier ? [] : [`${path}: ${statement.getText()}`],
    ),
  ])
}

const readAll = (paths: readonly string[]) =>
  new Map(paths.map((path) => [path, readFileSync(join(ROOT, path), 'utf8')]))

t.test('TypeScript', async (t) => {
  const files = readAll(filesBelow('lib', ['.ts']))
  const graph = arrows(files)
  t.ok(graph.size > 150, 'the files are found')
  const modules = new Map([...graph].filter(([path]) => !isEntry(path)))
  t.same(forbidden(modules, LIB), [], 'no import points upwards')
  t.same(circles(graph), [], 'no circle')
  t.same(entryFaults(files), [], 'entry points re-export, and are for users alone')
})

t.test('planted faults of TypeScript are found', async (t) => {
  const complaint = (path: string, text: string) => forbidden(arrows(new Map([[path, text]])), LIB)
  const upwards = ['lib/formats/new.ts -> lib/checkpoint/open.ts']
  t.same(complaint('lib/formats/new.ts', "import { openCheckpoint } from '../checkpoint/open'\n"), upwards)
  t.same(complaint('lib/formats/new.ts', "import {\n  type A,\n} from '../checkpoint/open'\n"), upwards, 'types too')
  t.same(complaint('lib/formats/new.ts', "export * from '../checkpoint/open'\n"), upwards)
  t.same(complaint('lib/formats/new.ts', "const open = () => import('../checkpoint/open.js')\n"), upwards)
  t.same(complaint('lib/formats/new.ts', "type A = import('../checkpoint/open').ModelCheckpoint\n"), upwards)
  t.same(complaint('lib/checkpoint/new.ts', "import { openSafetensors } from '../formats/safetensors'\n"), [])
  t.same(complaint('lib/new.ts', ''), ['lib/new.ts is in no layer'])

  const leaf = readAll(['lib/checkpoint/spec.ts', 'lib/formats/named-tensors.ts', 'lib/formats/dtype.ts'])
  const native = (text: string) => forbidden(arrows(new Map([...leaf, ['lib/native.ts', text]])), LIB)
  t.same(native("import type { Checkpoint } from './checkpoint/spec'\n"), [], 'types of a leaf')
  t.same(native("import { Checkpoint } from './checkpoint/spec'\n"), ['lib/native.ts -> lib/checkpoint/spec.ts'])

  const entries = (path: string, text: string) => entryFaults(new Map([[path, text]]))
  t.same(entries('lib/degrade/index.ts', "export { degrade } from './degrade'\nexport const a = 1\n"), [
    'lib/degrade/index.ts: export const a = 1',
  ])
  t.same(entries('lib/text/new.ts', "import { Networks } from '../networks'\n"), [
    'lib/text/new.ts -> lib/networks/index.ts',
  ])
})

t.test('planted faults of native code are found', async (t) => {
  const planted = (path: string, text: string) => new Map([[path, included(path, text)]])
  const complaint = (path: string, text: string) => forbidden(planted(path, text), NATIVE)
  t.same(complaint('native/src/op/linear.cc', '#include "network/weights.h"\n'), [
    'native/src/op/linear.cc -> native/src/network/weights.h',
  ])
  t.same(complaint('native/src/network/new.cc', '#include "op/linear.h"\n#  include "cpu/simd.h"\n'), [
    'native/src/network/new.cc -> native/src/cpu/simd.h',
  ])
  t.same(complaint('native/src/binding/new.cc', '#include <napi.h>\n#include <map>\n'), [
    'native/src/binding/new.cc -> <napi.h>',
  ])
  t.same(complaint('native/src/new/new.cc', ''), ['native/src/new/new.cc is in no layer'])
  t.same(complaint('native/src/op/new.cc', '#include "op/gone.h"\n'), [
    'native/src/op/new.cc -> op/gone.h, which is in no layer',
  ])
  const circle = new Map([
    ['a.h', ['b.h', '<map>']],
    ['b.h', ['c.h']],
    ['c.h', ['b.h']],
    ['d.h', ['a.h', 'd.h']],
  ])
  t.same(circles(circle), ['b.h -> c.h -> b.h', 'd.h -> d.h'])
})
