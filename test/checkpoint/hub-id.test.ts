// The name of a repository where a model folder is expected: the error says what to do, in the API and in every
// command.
import t from 'tap'
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { hubId } from '../../dist/checkpoint/hub-id.js'
import { IConFace, restore } from '../../dist/index.js'

const MAIN = resolve(__dirname, '../../dist/cli/main.js')
const ID = 'black-forest-labs/FLUX.2-klein-base-4B'
const advice = /"iconface prepare --hub black-forest-labs\/FLUX\.2-klein-base-4B --out FOLDER"/
const folder = t.testdir({})

t.test('names of repositories', async (t) => {
  for (const text of [
    ID,
    `${ID}@main`,
    `${ID}:vae`,
    `https://huggingface.co/${ID}`,
    `https://huggingface.co/${ID}/`,
    `hf://${ID}`,
  ]) {
    t.equal(hubId(text), ID, text)
  }
  for (const text of ['model', './a/b', '../a', '/a/b', 'a/b/c', '', 'a\\b', 'lib/checkpoint'])
    t.equal(hubId(text), undefined, text)
})

t.test('as a model', async (t) => {
  const expected = { code: 'ERR_ICONFACE_FILE_NOT_FOUND', message: advice }
  await t.rejects(IConFace.load(ID), expected)
  const face = { data: new Uint8Array(64 * 64 * 3), width: 64, height: 64, channels: 3 as const }
  await t.rejects(restore(face, [], { model: ID }), expected)
  await t.rejects(IConFace.load(join(folder, 'none')), { code: expected.code, message: /none does not exist$/ })
})

t.test('in commands', async (t) => {
  const picture = join(folder, 'face.png')
  writeFileSync(picture, '')
  for (const args of [
    ['inspect', ID],
    ['prepare', ID, '--out', join(folder, 'out')],
    ['restore', picture, '--model', ID, '-o', join(folder, 'o.png')],
  ]) {
    const { status, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', cwd: folder })
    t.equal(status, 1)
    t.match(stderr, advice, args[0]!)
  }
})

t.test('a folder or a file that is no model is told to be prepared', async (t) => {
  const code = 'ERR_ICONFACE_FILE_NOT_FOUND'
  mkdirSync(join(folder, 'weights'))
  writeFileSync(join(folder, 'vae.safetensors'), '')
  await t.rejects(IConFace.load(join(folder, 'weights')), {
    code,
    message: /has no iconface\.json; "iconface prepare .*weights --out FOLDER"/,
  })
  await t.rejects(IConFace.load(join(folder, 'vae.safetensors')), {
    code,
    message: /is no folder with iconface\.json; "iconface prepare/,
  })
})
