// Declarations, for consumers with the strictest settings, and with old-fashioned ones.
import t from 'tap'
import { join } from 'node:path'
import ts from 'typescript'
import { onlyFull } from './fixtures/tier'
import { compile, complaints, STRICTEST } from './fixtures/declarations'

const MAIN = join(__dirname, 'fixtures', 'consumer', 'main.mts')

t.test('a strict consumer: exact optional properties, libraries checked', async (t) => {
  t.same(complaints(compile([MAIN])), [])
})

t.test('CommonJS without esModuleInterop', onlyFull, async (t) => {
  const { isolatedModules: _, verbatimModuleSyntax: __, ...others } = STRICTEST
  const options = {
    ...others,
    esModuleInterop: false,
    allowSyntheticDefaultImports: false,
    module: ts.ModuleKind.CommonJS,
    moduleResolution: ts.ModuleResolutionKind.Node10,
  }
  t.same(complaints(compile([MAIN], options)), [])
})

t.test('what is wrong is refused', async (t) => {
  const source = `
    import { type ModelInfo, type Progress, type RestoreOptions } from '@iconface/native'
    export const a: Progress['stage'] = 'smaple'
    export const b: ModelInfo['variant'] = 'full'
    export const c: RestoreOptions = { rng: 'torch' }
    export const d: RestoreOptions = { stepz: 3 }
  `
  const host = ts.createCompilerHost(STRICTEST)
  const wrong = join(__dirname, 'wrong.mts')
  const { readFile, fileExists } = host
  host.readFile = (file) => (file === wrong ? source : readFile(file))
  host.fileExists = (file) => file === wrong || fileExists(file)
  host.getSourceFile = (file, version) => {
    const text = host.readFile(file)
    return text === undefined ? undefined : ts.createSourceFile(file, text, version)
  }
  const program = ts.createProgram([wrong], { ...STRICTEST, skipLibCheck: true }, host)
  const lines = complaints(program).map((line) => /wrong\.mts:(\d+)/.exec(line)?.[1])
  t.same(lines, ['3', '4', '5', '6'])
})
