// Downloads from a Hugging Face Hub on this machine: the cache's layout, going on after a cut, and what is refused.
import { createHash } from 'node:crypto'
import { getEventListeners } from 'node:events'
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { downloadFromHub } from '../../dist/prepare/hub.js'
import { type Answer, COMMIT, hubServer, type Misbehaviour } from '../fixtures/hub-server'
import { numbers } from '../fixtures/mutate'

const random = numbers(1)
const noise = (bytes: number) => Buffer.from(Uint8Array.from({ length: bytes }, () => random(256)))
const BIG = noise(300_000)
const FILES: Record<string, Buffer> = {
  'model_index.json': Buffer.from('{}'),
  'README.md': Buffer.from('words'),
  'flux-2-klein-base-4b.safetensors': noise(1000),
  'transformer/diffusion_pytorch_model.safetensors': BIG,
  'transformer/config.json': Buffer.from('{"a":1}'),
  'vae/diffusion_pytorch_model.safetensors': noise(500),
}
const REPO = 'owner/model-4B'

async function setUp(t: Test, behaviour: Misbehaviour = {}, files = FILES) {
  const server = await hubServer(REPO, files)
  t.teardown(server.close)
  Object.assign(server.behaviour, behaviour)
  const cacheDir = t.testdir({})
  const storage = join(cacheDir, 'models--owner--model-4B')
  const options = { hubUrl: server.url, cacheDir, token: 'hf_secret', idleMs: 600_000, pauseMs: 1 }
  const blob = (content: Buffer) => join(storage, 'blobs', createHash('sha256').update(content).digest('hex'))
  return { ...server, options, storage, blob }
}

t.test('a repository lies in the cache as Hugging Face libraries lay it out', async (t) => {
  const { options, storage, blob, requests } = await setUp(t)
  const progress: number[] = []
  const folder = await downloadFromHub(REPO, {
    ...options,
    onProgress: ({ bytes, totalBytes }) => progress.push(bytes / totalBytes),
  })
  t.equal(folder, join(storage, 'snapshots', COMMIT))
  t.equal(readFileSync(join(storage, 'refs', 'main'), 'utf8'), COMMIT)
  for (const [name, content] of Object.entries(FILES)) {
    const wanted = name !== 'README.md' && name !== 'flux-2-klein-base-4b.safetensors'
    t.equal(existsSync(join(folder, name)), wanted, name)
    if (!wanted) continue
    t.ok(lstatSync(join(folder, name)).isSymbolicLink())
    t.ok(readFileSync(join(folder, name)).equals(content))
  }
  t.ok(existsSync(blob(BIG)))
  const [git] = readdirSync(join(storage, 'blobs')).filter((name) => name.length === 40)
  t.ok(git, 'small files are named by their Git checksum')
  t.notOk(readdirSync(join(storage, 'blobs')).some((name) => /incomplete|lock/.test(name)))
  t.ok(requests.every(({ authorization }) => authorization === 'Bearer hf_secret'))
  t.equal(progress.at(-1), 1)
  const count = requests.length
  t.equal(await downloadFromHub(REPO, options), folder)
  t.equal(requests.length, count + 2, 'the second time only the list is asked for')
})

t.test('one file, one folder, a commit', async (t) => {
  const { options, storage } = await setUp(t)
  const snapshot = join(storage, 'snapshots', COMMIT)
  t.equal(
    await downloadFromHub(`${REPO}:flux-2-klein-base-4b.safetensors`, options),
    join(snapshot, 'flux-2-klein-base-4b.safetensors'),
  )
  t.same(readdirSync(snapshot), ['flux-2-klein-base-4b.safetensors'])
  t.equal(await downloadFromHub(`${REPO}@${COMMIT}:vae/`, options), join(snapshot, 'vae'))
  t.same(readdirSync(join(snapshot, 'vae')), ['diffusion_pytorch_model.safetensors'])
})

t.test("PyTorch's form where there is no other, and what is no weights is named", async (t) => {
  const files = {
    'a/adapter_model.bin': noise(200),
    'a/training_args.bin': noise(200),
    'b/adapter_model.bin': noise(200),
    'b/adapter_model.safetensors': noise(200),
    'c/lora.sft': noise(200),
  }
  const { options } = await setUp(t, {}, files)
  const folder = await downloadFromHub(REPO, options)
  const there = Object.keys(files).filter((name) => existsSync(join(folder, name)))
  t.same(there, ['a/adapter_model.bin', 'b/adapter_model.safetensors', 'c/lora.sft'])
  const quantised = await setUp(t, {}, { 'klein-Q4_0.gguf': noise(200) })
  await t.rejects(downloadFromHub(REPO, quantised.options), {
    code: 'ERR_ICONFACE_FILE_NOT_FOUND',
    message: /holds no weights.*klein-Q4_0\.gguf is a GGUF file/,
  })
})

t.test('a server that does not know Range sends the whole', async (t) => {
  const { options, storage, blob } = await setUp(t, { ignoreRange: true })
  mkdirSync(join(storage, 'blobs'), { recursive: true })
  writeFileSync(`${blob(BIG)}.incomplete`, noise(777))
  await downloadFromHub(`${REPO}:transformer`, options)
  t.ok(readFileSync(blob(BIG)).equals(BIG))
})

t.test('what arrives damaged is removed and never gets a name', async (t) => {
  const cases: [Misbehaviour, RegExp][] = [
    [{ damage: true }, /damaged on the way: expected sha256 [0-9a-f]{64} but received [0-9a-f]{64}/],
    [{ tooLong: true }, /sends more than the 300000 bytes it promised/],
  ]
  for (const [behaviour, message] of cases) {
    const { options, storage, blob } = await setUp(t, behaviour)
    const code = 'ERR_ICONFACE_INVALID_CHECKPOINT'
    await t.rejects(downloadFromHub(`${REPO}:transformer/diffusion_pytorch_model.safetensors`, options), {
      code,
      message,
    })
    t.same(readdirSync(join(storage, 'blobs')), [])
    t.notOk(existsSync(blob(BIG)))
    t.notOk(existsSync(join(storage, 'snapshots')))
  }
  // The beginning that was there is of another file.
  const { options, storage, blob } = await setUp(t)
  mkdirSync(join(storage, 'blobs'), { recursive: true })
  writeFileSync(`${blob(BIG)}.incomplete`, noise(1000))
  await t.rejects(downloadFromHub(`${REPO}:transformer`, options), { message: /damaged on the way/ })
  await downloadFromHub(`${REPO}:transformer`, options)
  t.ok(readFileSync(blob(BIG)).equals(BIG))
})

t.test('servers that refuse, are silent or lie', async (t) => {
  const cases: [Misbehaviour, { code: string; message?: RegExp }][] = [
    [{ status: 403 }, { code: 'ERR_ICONFACE_IO', message: /answered 403.*accept the licence/ }],
    [{ status: 404 }, { code: 'ERR_ICONFACE_IO', message: /answered 404/ }],
    [
      { tree: [{ type: 'file', path: '../../evil.safetensors', size: 1, oid: 'a'.repeat(40) }] },
      { code: 'ERR_ICONFACE_IO', message: /evil/ },
    ],
    [{ tree: [{ type: 'file', path: 'a.safetensors', size: 1, oid: '../x' }] }, { code: 'ERR_ICONFACE_IO' }],
    [{ tree: [{ type: 'file', path: 'a.safetensors', size: -1, oid: 'a'.repeat(40) }] }, { code: 'ERR_ICONFACE_IO' }],
    [{ tree: { not: 'a list' } }, { code: 'ERR_ICONFACE_IO' }],
    [{ tree: [] }, { code: 'ERR_ICONFACE_FILE_NOT_FOUND', message: /has no/ }],
  ]
  for (const [behaviour, expected] of cases) {
    const { options, storage } = await setUp(t, behaviour)
    await t.rejects(downloadFromHub(REPO, options), expected, JSON.stringify(behaviour))
    t.notOk(existsSync(join(storage, 'refs')))
  }
  const { options } = await setUp(t)
  await t.rejects(downloadFromHub('owner/other', options), {
    code: 'ERR_ICONFACE_FILE_NOT_FOUND',
    message: /no model owner\/other/,
  })
  await t.rejects(downloadFromHub('owner/gated', options), { code: 'ERR_ICONFACE_IO', message: /accept its licence/ })
  await t.rejects(downloadFromHub(`${REPO}:nothing`, options), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
  await t.rejects(downloadFromHub(`${REPO}:README.md/`, { ...options, hubUrl: 'http://127.0.0.1:1' }), {
    code: 'ERR_ICONFACE_IO',
  })
  for (const text of ['model', 'a/b/c', '../x', 'a/..', 'owner/name:../x', 'owner/name:/etc', 'owner/name@..', '']) {
    await t.rejects(downloadFromHub(text, options), { code: 'ERR_ICONFACE_INVALID_ARGUMENT' }, text)
  }
})

/** A download of one file, of which `begun` bytes are there, from a server that answers so. */
async function answered(t: Test, answers: Answer[], begun = 100_000) {
  const name = 'transformer/diffusion_pytorch_model.safetensors'
  let bytes = begun
  const { options, storage, blob, behaviour, requests } = await setUp(t, {
    answers,
    cutAfter: 20_000,
    arrived: () => bytes,
  })
  const onProgress = (progress: { bytes: number }) => void (bytes = progress.bytes)
  const incomplete = `${blob(BIG)}.incomplete`
  mkdirSync(join(storage, 'blobs'), { recursive: true })
  if (begun > 0) writeFileSync(incomplete, BIG.subarray(0, begun))
  // Long enough for the byte that a silent server sends, on a busy machine too; nothing else may run into it.
  const idleMs = answers.includes('silent') ? 1500 : options.idleMs
  const download = () => downloadFromHub(`${REPO}:${name}`, { ...options, idleMs, onProgress })
  const ranges = () => requests.filter(({ path }) => path.endsWith(name)).map(({ range }) => range)
  return { download, ranges, behaviour, incomplete, whole: () => readFileSync(blob(BIG)).equals(BIG) }
}

t.test('answers that do not fit what was asked for', async (t) => {
  const from = (...begins: number[]) => begins.map((begin) => (begin > 0 ? `bytes=${begin}-` : undefined))
  for (const [answers, expected] of [
    [['wrong part'], from(100_000, 100_000)],
    [['unnamed part', 'wrong part', 'unnamed part'], from(100_000, 100_000, 100_000, 100_000)],
    [['whole'], from(100_000)],
    [[416], from(100_000, 0)],
    [[503, 429, 500], from(100_000, 100_000, 100_000, 100_000)],
    [['silent'], from(100_000, 100_001)],
    [['short'], from(100_000, 299_990)],
    [['cut', 'wrong part', 416, 'cut'], from(100_000, 120_000, 120_000, 0, 20_000)],
    [Array(8).fill('cut'), from(...Array.from({ length: 9 }, (_, i) => 100_000 + 20_000 * i))],
    [['cut', 'whole'], from(100_000, 120_000)],
  ] as [Answer[], (string | undefined)[]][]) {
    const what = answers.join(', ')
    const { download, ranges, whole, incomplete } = await answered(t, answers)
    await download()
    t.ok(whole(), what)
    t.same(ranges(), expected, what)
    t.notOk(existsSync(incomplete))
  }
})

t.test('five answers in a row that bring nothing end it; the part is kept, and the next call goes on', async (t) => {
  for (const answer of [503, 'wrong part', 'unnamed part'] as const) {
    const { download, ranges, whole, incomplete } = await answered(t, Array<Answer>(5).fill(answer))
    const error = { code: 'ERR_ICONFACE_IO', message: /could not be downloaded: .*what is there is kept/ }
    await t.rejects(download(), error, String(answer))
    t.same(ranges(), Array(5).fill('bytes=100000-'))
    t.ok(readFileSync(incomplete).equals(BIG.subarray(0, 100_000)), 'nothing was appended')
    await download()
    t.ok(whole())
  }
})

t.test('a file that changes between two parts is damaged, and begins anew', async (t) => {
  const { download, ranges, whole, incomplete, behaviour } = await answered(t, ['cut', 'other version'], 0)
  await t.rejects(download(), {
    code: 'ERR_ICONFACE_INVALID_CHECKPOINT',
    message: /damaged on the way: expected sha256/,
  })
  t.notOk(existsSync(incomplete))
  t.same(behaviour.answers, [])
  await download()
  t.ok(whole())
  t.same(ranges(), [undefined, 'bytes=20000-', undefined])
})

t.test('a silent server is asked again, and then the download goes on', async (t) => {
  const { download, ranges, whole } = await answered(t, ['silent', 'silent'], 0)
  await download()
  t.ok(whole())
  t.same(ranges(), [undefined, 'bytes=1-', 'bytes=2-'])
})

t.test('abort, and two downloads of the same file at once', async (t) => {
  const { options, behaviour, requests, asked } = await setUp(t, { stall: true })
  const stop = new AbortController()
  const aborted = downloadFromHub(REPO, { ...options, signal: stop.signal })
  void asked(/resolve/).then(() => stop.abort('enough'))
  await t.rejects(aborted, { code: 'ERR_ICONFACE_ABORTED', cause: 'enough' })
  behaviour.stall = false
  requests.length = 0
  await Promise.all([downloadFromHub(`${REPO}:vae`, options), downloadFromHub(`${REPO}:vae`, options)])
  t.equal(requests.filter(({ path }) => path.includes('/resolve/')).length, 1)
})

t.test('aborted while the list is asked for, or when the last byte is there: nothing gets its name', async (t) => {
  const { options, asked, storage, blob } = await setUp(t)
  const listing = new AbortController()
  void asked(/^\/api/).then(() => listing.abort('no list'))
  const listed = downloadFromHub(REPO, { ...options, signal: listing.signal })
  await t.rejects(listed, { code: 'ERR_ICONFACE_ABORTED', cause: 'no list' })
  t.notOk(existsSync(storage))

  const last = new AbortController()
  const { signal } = last
  const onProgress = ({ bytes, totalBytes }: { bytes: number; totalBytes: number }) => {
    if (bytes === totalBytes) last.abort('no file')
  }
  const one = `${REPO}:transformer/diffusion_pytorch_model.safetensors`
  await t.rejects(downloadFromHub(one, { ...options, signal, onProgress }), {
    code: 'ERR_ICONFACE_ABORTED',
    cause: 'no file',
  })
  t.notOk(existsSync(blob(BIG)))
  t.ok(existsSync(`${blob(BIG)}.incomplete`), 'what came is kept')
  t.equal(getEventListeners(signal, 'abort').length, 0)
  t.same(readFileSync(await downloadFromHub(one, options)), BIG)
})

t.test('what a progress callback throws ends the download, and is no lost connection', async (t) => {
  const { options, requests } = await setUp(t)
  const mistake = new RangeError('my own mistake')
  const onProgress = () => {
    throw mistake
  }
  const one = `${REPO}:transformer/diffusion_pytorch_model.safetensors`
  const error = await downloadFromHub(one, { ...options, onProgress }).catch((error: unknown) => error)
  t.equal(error, mistake)
  t.equal(requests.filter(({ path }) => path.includes('/resolve/')).length, 1)
})
