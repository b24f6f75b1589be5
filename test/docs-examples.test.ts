// The examples of README and docs, run as they stand: in a folder of drawn pictures, against the built package.
import t from 'tap'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import sharp from 'sharp'
import { portraitIdentity, portraitState, renderPortrait } from '../dist/portraits/index.js'
import { synthesizeCheckpoint } from '../dist/prepare/synthesize.js'
import { onlyFull } from './fixtures/tier'

const ROOT = resolve(__dirname, '..')
const CLI = join(ROOT, 'dist', 'cli', 'main.js')
const PAGES = ['README.md', ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`)].filter((name) =>
  name.endsWith('.md'),
)

interface Example {
  /** `README.md:12`, where the block begins. */
  place: string
  language: string
  code: string
  /** Why it is not run, as the comment before it says. */
  reason: string | undefined
}

/** The fenced blocks of a page. */
function examples(page: string, text: string): Example[] {
  const blocks = text.matchAll(/(?:<!-- not run: ([^]*?) -->\n)?^```(\w*)\n([^]*?)^```$/gm)
  return Array.from(blocks, ({ 1: reason, 2: language, 3: code, index }) => ({
    place: `${page}:${text.slice(0, index).split('\n').length}`,
    language: language!,
    code: code!,
    reason,
  }))
}

/** What the examples name: pictures of a drawn person, models, a PyTorch file. */
async function scratch(folder: string) {
  const person = portraitIdentity(7)
  const names = ['blurred.jpg', 'me-2019.jpg', 'me-2021.jpg', 'face.png', 'photo.jpg']
  for (const [state, name] of names.entries()) {
    const { data, width, height } = await renderPortrait(person, portraitState(state), 64)
    await sharp(Buffer.from(data), { raw: { width, height, channels: 3 } }).toFile(join(folder, name))
  }
  await synthesizeCheckpoint('tiny', join(folder, 'models', 'iconface-4b'))
  cpSync(join(ROOT, 'test', 'fixtures', 'pytorch', 'lightning-zip.pt'), join(folder, 'adaface.pt'))
}

const program = (code: string) =>
  [process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', code]] as const

/** A program of TypeScript; one that would wait for ever, as servers do, is ended when its event loop is reached. */
function runTypeScript(code: string, folder: string) {
  writeFileSync(join(folder, 'example.mts'), code)
  const ending = "import './example.mts'; setTimeout(() => process.exit(0), 0)"
  const [command, args] = program(/\blisten\(/.test(code) ? ending : "import './example.mts'")
  return spawnSync(command, args, { cwd: folder, encoding: 'utf8' })
}

function runShell(code: string, folder: string) {
  const npx = `npx() { [ "$1" = iconface ] || return 99; shift; "${process.execPath}" "${CLI}" "$@"; }`
  return spawnSync('bash', ['-euc', `${npx}\n${code}`], { cwd: folder, encoding: 'utf8' })
}

/** Languages of blocks that no machine runs: data, and text. */
const DATA = ['json', '']

const found = PAGES.flatMap((page) => examples(page, readFileSync(join(ROOT, page), 'utf8')))

t.test('every example runs, or says why not', onlyFull, async (t) => {
  const folder = t.testdir({})
  await scratch(folder)
  t.ok(found.length > 15, `${found.length} examples`)
  for (const { place, language, code, reason } of found.filter(({ language }) => !DATA.includes(language))) {
    if (reason !== undefined) t.comment(`not run: ${place}: ${reason}`)
    else if (language === 'ts') t.match(runTypeScript(code, folder), { status: 0 }, place)
    else if (language === 'sh') t.match(runShell(code, folder), { status: 0 }, place)
    else t.fail(`${place}: nobody knows how to run ${language}`)
  }
  t.ok(readdirSync(folder).includes('strip.png'), 'the pictures are where the page says')
  t.ok(readdirSync(join(folder, 'out')).includes('demo.png'))
})

t.test('examples of data are what they say', async (t) => {
  for (const { place, language, code } of found) if (language === 'json') t.doesNotThrow(() => JSON.parse(code), place)
})

t.test('examples that fail are noticed', onlyFull, async (t) => {
  const folder = t.testdir({})
  mkdirSync(join(folder, 'out'))
  t.match(examples('x.md', 'a\n<!-- not run: why -->\n```sh\nls\n```\n```ts\nx()\n```\n'), [
    { place: 'x.md:2', language: 'sh', code: 'ls\n', reason: 'why' },
    { place: 'x.md:6', language: 'ts', code: 'x()\n', reason: undefined },
  ])
  t.not(runTypeScript("import { restor } from '@iconface/native'\nrestor()", folder).status, 0)
  t.not(runShell('npx iconface restore none.jpg -o x.png\ntrue', folder).status, 0)
  t.not(runShell('npx something', folder).status, 0)
})
