// HF_HUB_OFFLINE and the places that the environment names: what the cache holds is enough, or the missing file is
// named.
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { storageOf } from '../../dist/prepare/hub-cache.js'
import { downloadFromHub } from '../../dist/prepare/hub.js'
import { COMMIT, hubServer } from '../fixtures/hub-server'

const REPO = 'owner/model-4B'
const FILES: Record<string, Buffer> = {
  'model_index.json': Buffer.from('{"vae": ["diffusers", "AutoencoderKLFlux2"], "transformer": ["diffusers", "x"]}'),
  'transformer/diffusion_pytorch_model.safetensors': Buffer.alloc(300_000, 1),
  'vae/diffusion_pytorch_model.safetensors': Buffer.alloc(500, 2),
}
const VARIABLES = [
  'HF_HUB_OFFLINE',
  'TRANSFORMERS_OFFLINE',
  'HF_HOME',
  'HF_HUB_CACHE',
  'HF_ENDPOINT',
  'XDG_CACHE_HOME',
  'HUGGINGFACE_HUB_CACHE',
]

const before = Object.fromEntries(VARIABLES.map((name) => [name, process.env[name]]))
const clear = () => VARIABLES.forEach((name) => delete process.env[name])
t.beforeEach(clear)
t.teardown(() => {
  clear()
  for (const [name, value] of Object.entries(before)) if (value !== undefined) process.env[name] = value
})

async function setUp(t: Test) {
  const server = await hubServer(REPO, FILES)
  t.teardown(server.close)
  const cacheDir = t.testdir({})
  const options = { hubUrl: server.url, cacheDir, token: 'hf_secret', idleMs: 600_000 }
  const storage = join(cacheDir, 'models--owner--model-4B')
  return { ...server, options, storage, snapshot: join(storage, 'snapshots', COMMIT) }
}

const missing = (file: string) => ({
  code: 'ERR_ICONFACE_FILE_NOT_FOUND',
  message: new RegExp(`HF_HUB_OFFLINE is set.*${REPO}.*${file} is missing`),
})

t.test('a complete cache is enough, and nothing is asked for', async (t) => {
  const { options, requests, snapshot } = await setUp(t)
  process.env.HF_HUB_OFFLINE = '1'
  await t.rejects(downloadFromHub(REPO, options), missing('refs/main'))
  delete process.env.HF_HUB_OFFLINE
  await downloadFromHub(REPO, options)
  const count = requests.length
  for (const [variable, value] of [
    ['HF_HUB_OFFLINE', '1'],
    ['HF_HUB_OFFLINE', 'true'],
    ['TRANSFORMERS_OFFLINE', 'YES'],
  ] as const) {
    clear()
    process.env[variable] = value
    t.equal(await downloadFromHub(REPO, options), snapshot)
    t.equal(await downloadFromHub(`${REPO}@${COMMIT}`, options), snapshot)
    t.equal(await downloadFromHub(`${REPO}:vae/`, options), join(snapshot, 'vae'))
  }
  t.equal(requests.length, count)
  process.env.HF_HUB_OFFLINE = '0'
  delete process.env.TRANSFORMERS_OFFLINE
  await downloadFromHub(REPO, options)
  t.ok(requests.length > count)
})

t.test('what is missing of a cache is named', async (t) => {
  const { options, snapshot, storage } = await setUp(t)
  await downloadFromHub(`${REPO}:vae`, options)
  process.env.HF_HUB_OFFLINE = '1'
  t.equal(await downloadFromHub(`${REPO}:vae`, options), join(snapshot, 'vae'))
  await t.rejects(downloadFromHub(REPO, options), missing('model_index.json'))
  await t.rejects(
    downloadFromHub(`${REPO}:transformer`, options),
    missing('transformer/diffusion_pytorch_model.safetensors'),
  )
  await t.rejects(downloadFromHub(`${REPO}@other`, options), missing('refs/other'))
  await t.rejects(downloadFromHub(`${REPO}:nothing`, options), {
    code: 'ERR_ICONFACE_FILE_NOT_FOUND',
    message: /has no nothing/,
  })
  await t.rejects(downloadFromHub('owner/other', options), {
    code: 'ERR_ICONFACE_FILE_NOT_FOUND',
    message: /owner\/other/,
  })

  delete process.env.HF_HUB_OFFLINE
  await downloadFromHub(REPO, options)
  process.env.HF_HUB_OFFLINE = '1'
  const file = join('transformer', 'diffusion_pytorch_model.safetensors')
  writeFileSync(join(snapshot, file), 'cut')
  await t.rejects(downloadFromHub(REPO, options), missing(file))
  rmSync(join(snapshot, file))
  await t.rejects(downloadFromHub(REPO, options), missing(file))
  writeFileSync(join(storage, '.iconface', `${COMMIT}.json`), '{}')
  await t.rejects(downloadFromHub(REPO, options), { code: 'ERR_ICONFACE_INVALID_CHECKPOINT', message: /damaged/ })
})

t.test('of a download that broke off, the file that did not come is named', async (t) => {
  const { options, behaviour, storage } = await setUp(t)
  Object.assign(behaviour, { status: 403 })
  await t.rejects(downloadFromHub(REPO, options), { message: /answered 403/ })
  t.notOk(existsSync(join(storage, 'refs')))
  process.env.HF_HUB_OFFLINE = '1'
  await t.rejects(downloadFromHub(REPO, options), missing('model_index.json'))
})

t.test('a cache that another library filled', async (t) => {
  const { options, snapshot, storage } = await setUp(t)
  const blobs = join(storage, 'blobs')
  for (const folder of [blobs, join(storage, 'refs'), join(snapshot, 'vae'), join(snapshot, 'transformer')])
    mkdirSync(folder, { recursive: true })
  writeFileSync(join(storage, 'refs', 'main'), COMMIT)
  writeFileSync(join(snapshot, 'model_index.json'), FILES['model_index.json']!)
  const vae = join('vae', 'diffusion_pytorch_model.safetensors')
  symlinkSync('../../../blobs/abc', join(snapshot, vae))
  process.env.HF_HUB_OFFLINE = '1'
  await t.rejects(downloadFromHub(REPO, options), missing(vae))
  await t.rejects(downloadFromHub(`${REPO}:${vae}`, options), missing(vae))
  writeFileSync(join(blobs, 'abc'), 'weights')
  await t.rejects(downloadFromHub(REPO, options), missing('transformer'))
  t.equal(await downloadFromHub(`${REPO}:vae`, options), join(snapshot, 'vae'))
  writeFileSync(join(snapshot, 'transformer', 'diffusion_pytorch_model.safetensors'), 'weights')
  t.equal(await downloadFromHub(REPO, options), snapshot)
  writeFileSync(join(storage, 'refs', 'main'), 'nonsense')
  await t.rejects(downloadFromHub(REPO, options), { code: 'ERR_ICONFACE_INVALID_CHECKPOINT', message: /refs.main/ })
})

t.test('where the cache is, and which server', async (t) => {
  const name = 'models--owner--model-4B'
  const place = (variables: Record<string, string>) => {
    clear()
    Object.assign(process.env, variables)
    return storageOf(REPO, undefined)
  }
  t.equal(place({}), join(homedir(), '.cache', 'huggingface', 'hub', name))
  t.equal(place({ XDG_CACHE_HOME: '/x' }), join('/x/huggingface/hub', name))
  t.equal(place({ XDG_CACHE_HOME: '/x', HF_HOME: '/h' }), join('/h/hub', name))
  t.equal(place({ HF_HOME: '~/h' }), join(homedir(), 'h/hub', name))
  t.equal(place({ HF_HOME: '/h', HUGGINGFACE_HUB_CACHE: '/old' }), join('/old', name))
  t.equal(place({ HF_HOME: '/h', HUGGINGFACE_HUB_CACHE: '/old', HF_HUB_CACHE: '/c' }), join('/c', name))
  t.equal(place({ HF_HOME: '', HF_HUB_CACHE: '' }), join(homedir(), '.cache', 'huggingface', 'hub', name))
  clear()
  const { url, requests } = await setUp(t)
  const cacheDir = t.testdir({ other: {} })
  process.env.HF_ENDPOINT = `${url}/`
  process.env.HF_HOME = cacheDir
  t.equal(
    await downloadFromHub(`${REPO}:vae`, { token: 'hf_x' }),
    join(cacheDir, 'hub', name, 'snapshots', COMMIT, 'vae'),
  )
  t.ok(requests.length > 0)
  process.env.HF_ENDPOINT = 'hub.local'
  await t.rejects(downloadFromHub(REPO), {
    code: 'ERR_ICONFACE_INVALID_ARGUMENT',
    message: /HF_ENDPOINT .*"hub\.local"/,
  })
})
