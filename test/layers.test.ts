// The layers of the source tree (docs/architecture.md): nothing names what lies above it, and there is no circle.
import t from 'tap'
import { existsSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
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
  'native/src/binding': MODEL,
  'native/src/addon': ['native/src/binding', 'native/src/cpu', '<napi.h>', ...MODEL],
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

t.test('planted faults are found', async (t) => {
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
