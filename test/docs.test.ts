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

/** The numbers of a page's headings: "## 4. Title" is 4, "### 4.2 Title" 4.2. */
const numbered = (text: string) =>
  new Set(Array.from(text.matchAll(/^#{2,6} (\d+(?:\.\d+)*)\.? /gm), ([, number]) => number!))

const SPECIFICATION = read('docs/model-specification.md')

/** "model-specification.md 3, 5 and 4.2", also where a line of a comment ends behind the page's name. */
const REFERENCE = /model-specification\.md(?: *\n[ \t]*(?:\/\/+|\*|#))? +(\d+(?:\.\d+)*(?:(?:, | and )\d+(?:\.\d+)*)*)/g

/** Sections and subsections of the specification that a text refers to and that have no heading in it. */
function missingSections(text: string, page = SPECIFICATION): string[] {
  const headings = numbered(page)
  return Array.from(text.matchAll(REFERENCE), ([, list]) => list!.split(/, | and /))
    .flat()
    .filter((number) => !headings.has(number))
}

/**
 * Equations that a text names ("Eq. 6", "Eq. 3-4", "Eq. 6 and 7") and that the specification does not number. Behind a
 * year they are another paper's.
 */
function missingEquations(text: string): string[] {
  const named = (page: string) =>
    Array.from(page.matchAll(/(?<!\d{4}, )\bEq\. (\d+)(?:(?:-|, | and )(\d+)(?!\.?\d))?/g), (all) =>
      all.slice(1),
    ).flat()
  const known = new Set(named(SPECIFICATION))
  return named(text).filter((number) => number !== undefined && !known.has(number))
}

/** Pages named in a source ("docs/x.md", "bench/README.md") that do not exist. */
function missingPages(text: string): string[] {
  const names = Array.from(text.matchAll(/\b(?:docs|bench|training|native)\/[\w/-]+\.md\b/g), ([name]) => name)
  return names.filter((name) => !existsSync(join(ROOT, name)))
}

/** Tests named outside test/ ("test/api.test.ts", compiled "test/api.test.js") that do not exist; x stands for any. */
function missingTests(text: string): string[] {
  const names = Array.from(text.matchAll(/(?<![\w/.])test\/[\w/-]+\.test\.[jt]s\b/g), ([name]) => name)
  return names.filter((name) => !/\bx\.test/.test(name) && !existsSync(join(ROOT, name.replace(/\.js$/, '.ts'))))
}

t.test('every link of every page leads somewhere', async (t) => {
  t.ok(pages.length > 5)
  for (const page of pages) t.same(brokenLinks(page, read(page)), [], page)
})

t.test('sections and pages that sources name exist', async (t) => {
  let references = 0
  for (const file of sources.filter((name) => statSync(join(ROOT, name)).size < 1e6)) {
    const text = read(file)
    references += text.match(REFERENCE)?.length ?? 0
    const missing = [missingSections(text), missingEquations(text), missingPages(text)].flat()
    t.same(missing.concat(file.startsWith('test/') ? [] : missingTests(text)), [], file)
    t.notMatch(text, /\b[Ss]pec(ification)?,? \d/, `${file}: the specification is named by its page`)
  }
  t.ok(references > 70, `${references} references`)
})

t.test('what is wrong is noticed', async (t) => {
  const links =
    '# Title, with `code`\n[a](#title-with-code) [b](#none) [c](docs/none.md) [d](README.md#none) [e](https://x.y)'
  t.same(brokenLinks('README.md', links), ['#none', 'docs/none.md', 'README.md#none'])
  t.same(brokenLinks('docs/x.md', '[up](../README.md) [across](model-specification.md)'), [])
  t.same(missingSections('model-specification.md 3, 12 and 99'), ['12', '99'])
  t.same(missingSections('(model-specification.md 4.2). model-specification.md 7.'), ['4.2'], 'a subsection')
  t.same(missingSections('// model-specification.md\n// 3, 77\n'), ['77'], 'over the end of a line')
  const page = '## 4. Pathway\n\n### 4.2 Anchor\n#### 4.2.1. Norm\n'
  t.same(missingSections('model-specification.md 4, 4.1, 4.2 and 4.2.1', page), ['4.1'])
  t.same(missingEquations('(Eq. 7) Eq. 3-4, Eq. 6 and 7; Eq. 5 and 38, Eq. 99 (CVPR 2022, Eq. 16-19)'), ['38', '99'])
  t.same(missingPages('see docs/none.md and docs/model-specification.md'), ['docs/none.md'])
  t.same(missingTests('" test/api.test.js test/none.test.js", test/ops/silu.test.ts, test/x.test.ts'), [
    'test/none.test.js',
  ])
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
