// Which model is used when none is named: the package's own, where it is there, over a fake addon.
import t from 'tap'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { synthesizeCheckpoint } from '../dist/prepare/synthesize.js'
import { scratchFolder } from './fixtures/fake'
import { installCopy, node } from './fixtures/installed'

const scratch = scratchFolder()
const work = join(scratch, 'work')
const [full, bare] = [join(scratch, 'full'), join(scratch, 'bare')]
const iconface = (copy: string, args: string[], env?: NodeJS.ProcessEnv) =>
  node(work, [join(copy, 'dist', 'cli', 'main.js'), ...args], env)

t.before(async () => {
  mkdirSync(work)
  await Promise.all([installCopy(full, { model: true }), installCopy(bare, { model: false })])
  await sharp({ create: { width: 80, height: 80, channels: 3, background: 'teal' } }).toFile(join(work, 'face.png'))
})

const COMMANDS = {
  restore: ['restore', 'face.png', '-o', 'restored.png'],
  inspect: ['inspect'],
  evaluate: [
    'evaluate',
    '--synthetic',
    '1',
    '--severity',
    'mild',
    '--references',
    '0',
    '--steps',
    '1',
    '--html',
    'e.html',
  ],
  demo: ['demo', '--out', 'demo', '--faces', '1'],
}

t.test('without a model of its own, every command says what to do and writes nothing', async (t) => {
  for (const [name, args] of Object.entries(COMMANDS)) {
    const { code, out, err } = await iconface(bare, args)
    t.match(
      err,
      /^iconface: ERR_ICONFACE_FILE_NOT_FOUND: no model: .*models.tiny, which comes with the package, is not there; name .*--model.*ICONFACE_MODEL.*iconface synthesize/,
      name,
    )
    t.match({ code, out }, { code: 1, out: '' }, name)
  }
  t.same(readdirSync(work), ['face.png'])
  t.match((await iconface(bare, ['doctor'])).out, /^model +ERR_ICONFACE_FILE_NOT_FOUND: no model/m)
  const api = "require('./dist').restore('face.png').catch(({ code }) => console.log(code))"
  t.equal((await node(bare, ['-e', api])).out, 'ERR_ICONFACE_FILE_NOT_FOUND\n')
})

t.test('with it, every command uses it', async (t) => {
  for (const [name, args] of Object.entries(COMMANDS)) {
    const { code, err, out } = await iconface(full, args)
    t.equal(code, 0, `${name}: ${err}`)
    if (name === 'inspect') t.ok(out.startsWith(`${join(full, 'models', 'tiny')}: tiny`), out)
    else t.ok(err.includes(`${join(full, 'models', 'tiny')} has random weights`), err)
  }
  t.same(readdirSync(work).sort(), ['demo', 'e.html', 'face.png', 'restored.png'])
  t.ok((await iconface(full, ['doctor'])).out.includes(`${join(full, 'models', 'tiny')}: tiny`))
  const face = JSON.stringify(join(work, 'face.png'))
  const api = `require('./dist').restore(${face}).then(({ width }) => console.log(width))`
  t.equal((await node(full, ['-e', api])).out, '64\n')
})

t.test('ICONFACE_MODEL and --model come first', async (t) => {
  const other = join(scratch, 'other')
  await synthesizeCheckpoint('tiny', other)
  const { err } = await iconface(full, COMMANDS.restore, { ICONFACE_MODEL: other })
  t.ok(err.includes(`${other} has random weights`), err)
  const named = await iconface(full, [...COMMANDS.restore, '--model', other], { ICONFACE_MODEL: 'nowhere' })
  t.equal(named.code, 0, named.err)
  t.match(await iconface(full, COMMANDS.restore, { ICONFACE_MODEL: 'nowhere' }), { code: 1, err: /nowhere/ })
})
