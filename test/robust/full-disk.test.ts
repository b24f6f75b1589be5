// Disks that are full: a real file system of a few megabytes, mounted in a namespace of the child process alone.
import t from 'tap'
import { spawn, spawnSync } from 'node:child_process'
import { DIST } from '../fixtures/child'
import { hubServer } from '../fixtures/hub-server'
import { numbers } from '../fixtures/mutate'

const REPO = 'owner/model'
const MARGIN = 16 << 20 // what is asked for beside the weights
const random = numbers(11)
const CONTENT = Buffer.from(Uint8Array.from({ length: 4_000_000 }, () => random(256)))
const MOUNT = 'mount -t tmpfs -o "size=$1" tmpfs "$2" && shift 2 && exec "$@"'
const SKIP =
  spawnSync('unshare', ['-rm', 'sh', '-c', MOUNT, 'sh', '1m', '/tmp', 'true']).status === 0
    ? false
    : 'no file system can be mounted here'

/** Runs an async function body that sees `disk`, a folder of `size` bytes; prints what it returns. */
async function onDisk(
  disk: string,
  size: number,
  body: string,
  args: unknown = null,
): Promise<Record<string, unknown>> {
  const program = `
    const dist = ${JSON.stringify(DIST)}
    const fs = require('node:fs')
    const { join } = require('node:path')
    const [disk, args] = [${JSON.stringify(disk)}, ${JSON.stringify(args)}]
    const outcome = (promise) => promise.then(() => 'done', (error) => error.code + ': ' + error.message)
    /** Leaves no byte free. */
    const fill = () => {
      const file = fs.openSync(join(disk, 'filler'), 'w')
      for (const size of [65536, 4096]) try { for (;;) fs.writeSync(file, Buffer.alloc(size)) } catch {}
      fs.closeSync(file)
    }
    ;(async () => { ${body} })().then((found) => console.log(JSON.stringify(found)))`
  const command = ['-rm', 'sh', '-c', MOUNT, 'sh', String(size), disk, process.execPath, '-e', program]
  const child = spawn('unshare', command, { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', (piece) => (text += piece))
  await new Promise((resolve) => child.on('close', resolve))
  return JSON.parse(text)
}

t.test('too little room is said before anything is written', { skip: SKIP }, async (t) => {
  const { url, close, requests } = await hubServer(REPO, { 'model.safetensors': CONTENT })
  t.teardown(close)
  const found = await onDisk(
    t.testdir({}),
    CONTENT.length + MARGIN - 4096,
    `const { downloadFromHub } = require(join(dist, 'prepare', 'hub.js'))
    const { synthesizeCheckpoint } = require(join(dist, 'prepare', 'synthesize.js'))
    const free = () => { const { bavail, bsize } = fs.statfsSync(disk); return bavail * bsize }
    const room = free()
    const hub = await outcome(downloadFromHub(args.repo, { hubUrl: args.url, cacheDir: disk }))
    const blobs = fs.readdirSync(disk, { recursive: true }).filter((name) => /blobs./.test(name))
    const synthesized = await outcome(synthesizeCheckpoint('klein-4b', join(disk, 'model')))
    return { room, hub, blobs, synthesized, model: fs.readdirSync(disk).filter((name) => name.startsWith('model/')) }`,
    { repo: REPO, url },
  )
  t.match(found.hub, /^ERR_ICONFACE_IO: .* has 0\.02 GB free, but 0\.02 GB are needed/)
  t.same(found.blobs, [])
  t.notOk(
    requests.some(({ path }) => path.includes('/resolve/')),
    'nothing was asked for',
  )
  t.match(found.synthesized, /^ERR_ICONFACE_IO: .* has 0\.02 GB free, but \d+\.\d\d GB are needed/)
  t.same(found.model, [])
})

t.test(
  'a disk that fills in the middle of a download: a coded error, and later the rest',
  { skip: SKIP },
  async (t) => {
    const server = await hubServer(REPO, { 'model.safetensors': CONTENT })
    t.teardown(server.close)
    server.behaviour.paceMs = 5
    const found = await onDisk(
      t.testdir({}),
      CONTENT.length + MARGIN + (1 << 20),
      `const { downloadFromHub } = require(join(dist, 'prepare', 'hub.js'))
    const blobs = join(disk, 'models--owner--model', 'blobs')
    const download = () => downloadFromHub(args.repo, { hubUrl: args.url, cacheDir: disk })
    const first = outcome(download())
    const begun = () => fs.existsSync(blobs) && fs.readdirSync(blobs).some((name) => name.endsWith('.incomplete') && fs.statSync(join(blobs, name)).size > 500000)
    while (!begun()) await new Promise((resolve) => setTimeout(resolve, 1))
    fill()
    const full = await first
    const left = fs.readdirSync(blobs).map((name) => name.replace(/^[0-9a-f]{64}/, 'SHA'))
    fs.rmSync(join(disk, 'filler'))
    const second = await outcome(download())
    const [name] = fs.readdirSync(blobs)
    return { full, left, second, size: fs.statSync(join(blobs, name)).size, names: fs.readdirSync(blobs).length }`,
      { repo: REPO, url: server.url },
    )
    t.match(found.full, /^ERR_ICONFACE_IO: .*ENOSPC/)
    t.same(found.left, ['SHA.incomplete'], 'what came is kept, no lock stays')
    t.match(found, { second: 'done', size: CONTENT.length, names: 1 })
    const begins = server.requests.filter(({ path }) => path.includes('/resolve/')).map(({ range }) => range)
    t.equal(begins[0], undefined)
    t.match(begins.at(-1), /^bytes=[1-9]\d+-/, 'the second run asks for the rest')
  },
)

t.test('results and models that do not fit leave nothing', { skip: SKIP }, async (t) => {
  const found = await onDisk(
    t.testdir({}),
    64 << 10,
    `const { writeWhole } = require(join(dist, 'formats', 'whole-file.js'))
    const { writeSafetensors } = require(join(dist, 'formats', 'safetensors-writer.js'))
    fs.writeFileSync(join(disk, 'old.png'), 'old')
    const bytes = new Uint8Array(200000)
    const whole = await outcome(writeWhole(join(disk, 'new.png'), bytes))
    const replaced = await outcome(writeWhole(join(disk, 'old.png'), bytes))
    const tensors = [{ name: 'x', dtype: 'U8', shape: [200000], data: bytes }]
    const model = await outcome(Promise.resolve().then(() => writeSafetensors(join(disk, 'x.safetensors'), tensors)))
    return { whole, replaced, model, names: fs.readdirSync(disk), old: fs.readFileSync(join(disk, 'old.png'), 'utf8') }`,
  )
  for (const end of [found.whole, found.replaced, found.model]) t.match(end, /^ERR_ICONFACE_IO: .*ENOSPC/)
  t.match(found, { names: ['old.png'], old: 'old' })
})
