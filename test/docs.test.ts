// What documents and comments point to is there: links, headings, sections of the specification, files.
import t from 'tap'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { ICONFACE_ERROR_CODES } from '../dist/errors.js'
import { ICONFACE_WARNING_CODES } from '../dist/warning.js'

const ROOT = resolve(__dirname, '..')
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')

function listed(): string[] {
  const names = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8' })
  return names.split('\n').filter((name) => name !== '' && existsSync(join(ROOT, name)))
}

const files = listed()
const pages = files.filter((name) => name.endsWith('.md'))
const sources = files.filter((name) => /\.(ts|mjs|cjs|py|cc|h|cu|cuh|sh|md)$/.test(name) && !/^test\/docs/.test(name))

/** Text of a page without its code. */
const prose = (text: string) => text.replace(/^```[^]*?^```/gm, '').replace(/`[^`\n]*`/g, '')

/** The anchors GitHub gives a page's headings. */
function anchors(text: string): Set<string> {
  const headings = text.replace(/^```[^]*?^```/gm, '').matchAll(/^#{1,6} (.+)$/gm)
  const words = (heading: string) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .trim()
  return new Set(Array.from(headings, ([, heading]) => words(heading!).replaceAll(' ', '-')))
}

/** Links of a page whose file or heading is missing. */
function brokenLinks(page: string, text: string): string[] {
  const links = Array.from(prose(text).matchAll(/\]\(([^)\s]+)\)/g), ([, target]) => target!)
  return links.filter((link) => {
    if (/^[a-z]+:/.test(link)) return false
    const [path, anchor] = link.split('#') as [string, string?]
    const file = path === '' ? page : join(dirname(page), decodeURI(path))
    if (!existsSync(join(ROOT, file))) return true
    return anchor !== undefined && !anchors(path === '' ? text : read(file)).has(anchor)
  })
}

/** References to sections of the specification ("model-specification.md 3, 5") that it does not have. */
function missingSections(text: string): string[] {
  const sections = new Set(Array.from(read('docs/model-specification.md').matchAll(/^## (\d+)\. /gm), ([, n]) => n))
  const references = text.matchAll(/model-specification\.md (\d+(?:(?:, | and )\d+)*)/g)
  return Array.from(references).flatMap(([, list]) => list!.split(/, | and /).filter((n) => !sections.has(n)))
}

/** Pages named in a source ("docs/x.md", "bench/README.md") that do not exist. */
function missingPages(text: string): string[] {
  const names = Array.from(text.matchAll(/\b(?:docs|bench|training|native)\/[\w/-]+\.md\b/g), ([name]) => name)
  return names.filter((name) => !existsSync(join(ROOT, name)))
}

t.test('every link of every page leads somewhere', async (t) => {
  t.ok(pages.length > 5)
  for (const page of pages) t.same(brokenLinks(page, read(page)), [], page)
})

t.test('sections and pages that sources name exist', async (t) => {
  let references = 0
  for (const file of sources.filter((name) => statSync(join(ROOT, name)).size < 1e6)) {
    const text = read(file)
    references += text.match(/model-specification\.md \d/g)?.length ?? 0
    t.same({ sections: missingSections(text), pages: missingPages(text) }, { sections: [], pages: [] }, file)
    t.notMatch(text, /\b[Ss]pec(ification)?,? \d/, `${file}: the specification is named by its page`)
  }
  t.ok(references > 70, `${references} references`)
})

t.test('what is wrong is noticed', async (t) => {
  const page =
    '# Title, with `code`\n[a](#title-with-code) [b](#none) [c](docs/none.md) [d](README.md#none) [e](https://x.y)'
  t.same(brokenLinks('README.md', page), ['#none', 'docs/none.md', 'README.md#none'])
  t.same(brokenLinks('docs/x.md', '[up](../README.md) [across](model-specification.md)'), [])
  t.same(missingSections('model-specification.md 3, 12 and 99'), ['12', '99'])
  t.same(missingPages('see docs/none.md and docs/model-specification.md'), ['docs/none.md'])
})

t.test('the tables of codes are complete', async (t) => {
  const page = read('docs/lifecycle-and-errors.md')
  const listed = (prefix: string) =>
    Array.from(page.matchAll(/^\| `(\w+)` \|/gm), ([, code]) => code!).filter((code) => code.startsWith(prefix))
  t.same(listed('ERR_ICONFACE_'), [...ICONFACE_ERROR_CODES])
  t.same(listed('WARN_ICONFACE_'), [...ICONFACE_WARNING_CODES])
  for (const [row] of page.matchAll(/^\| `ERR_.*$/gm))
    t.match(row, /\| [45]\d\d \| \S/, `${row}: a status, and whether to try again`)
})

t.test('the README is short, and its commands are those that are tested', async (t) => {
  const text = read('README.md')
  t.ok(text.split(/\s+/).length <= 800, 'at most 800 words')
  for (const command of ['npm install @iconface/native', 'npm ci && npm run example', 'npm ci && npm test'])
    t.ok(text.includes(`\n${command}\n`), command)
  const { engines } = JSON.parse(read('package.json')) as { engines: { node: string } }
  const versions = ['README.md', ...pages.filter((page) => page.startsWith('docs/'))].flatMap((page) =>
    Array.from(read(page).matchAll(/Node (20[.\d]*\d)/g), ([, version]) => `${page}: ${version}`),
  )
  t.same(versions, [`README.md: ${engines.node.replace('>=', '')}`], 'one version of Node, said once')
})
