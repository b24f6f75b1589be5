// Downloads by processes that are killed, and by several at once: the cache holds each file whole or not at all, and
// nobody asks for what somebody else already brings.
import t, { type Test } from 'tap'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DIST } from '../fixtures/child'
import { hubServer } from '../fixtures/hub-server'
import { numbers } from '../fixtures/mutate'
import { full } from '../fixtures/tier'

const REPO = 'owner/model'
const random = numbers(5)
const CONTENT = Buffer.from(Uint8Array.from({ length: 2_000_000 }, () => random(256)))
const NAME = createHash('sha256').update(CONTENT).digest('hex')

async function setUp(t: Test) {
  const server = await hubServer(REPO, { 'model.safetensors': CONTENT })
  t.teardown(server.close)
  server.behaviour.paceMs = 2 // a killed download is in the middle of something
  const cacheDir = t.testdir({})
  const blobs = join(cacheDir, 'models--owner--model', 'blobs')
  const asked = () => server.requests.filter(({ path }) => path.includes('/resolve/'))
  return { ...server, cacheDir, blobs, asked }
}

/** A process that downloads the file; `null` is how one ends that was killed. */
function download(hubUrl: string, cacheDir: string) {
  const program = `
    const { downloadFromHub } = require(${JSON.stringify(join(DIST, 'prepare', 'hub.js'))})
    downloadFromHub(${JSON.stringify(REPO)}, ${JSON.stringify({ hubUrl, cacheDir })})`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  return { child, ended }
}

const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2))
}
const sizeOf = (file: string) => statSync(file, { throwIfNoEntry: false })?.size ?? 0

t.test('killed at random offsets, the next process goes on where it ended', async (t) => {
  const { url, cacheDir, blobs, asked } = await setUp(t)
  const incomplete = join(blobs, `${NAME}.incomplete`)
  const kills = full ? 10 : 3
  for (let i = 1; i <= kills; i++) {
    const { child, ended } = download(url, cacheDir)
    const offset = Math.floor((CONTENT.length * (i - 1 + random(100) / 100)) / kills)
    await until(() => sizeOf(incomplete) >= offset || child.exitCode !== null)
    child.kill('SIGKILL')
    await ended
    t.notOk(existsSync(join(blobs, NAME)), `after ${sizeOf(incomplete)} bytes: no name yet`)
  }
  t.equal(await download(url, cacheDir).ended, 0)
  t.ok(readFileSync(join(blobs, NAME)).equals(CONTENT))
  t.same(readdirSync(blobs), [NAME], 'no lock and no part is left')
  const begins = asked().map(({ range }) => Number(/\d+/.exec(range ?? '0')![0]))
  t.same(
    begins,
    [...begins].sort((a, b) => a - b),
    `asked from ${begins.join()}`,
  )
})

t.test('several processes at once: one download', async (t) => {
  const rounds = full ? 10 : 2
  for (let round = 0; round < rounds; round++) {
    const { url, cacheDir, blobs, asked } = await setUp(t)
    const all = Array.from({ length: 1 + (round % 3) + 1 }, () => download(url, cacheDir).ended)
    t.same(new Set(await Promise.all(all)), new Set([0]))
    t.equal(asked().length, 1, `${all.length} processes, one request`)
    t.ok(readFileSync(join(blobs, NAME)).equals(CONTENT))
    t.same(readdirSync(blobs), [NAME])
  }
})

t.test('several processes find the lock of one that was killed: still one of them downloads', async (t) => {
  for (let round = 0; round < (full ? 10 : 2); round++) {
    const { url, cacheDir, blobs, asked } = await setUp(t)
    const { child, ended } = download(url, cacheDir)
    await until(() => sizeOf(join(blobs, `${NAME}.incomplete`)) > 0)
    child.kill('SIGKILL')
    await ended
    t.ok(existsSync(join(blobs, `${NAME}.lock`)), 'its lock is left')
    const all = Array.from({ length: 4 }, () => download(url, cacheDir).ended)
    t.same(new Set(await Promise.all(all)), new Set([0]))
    t.equal(asked().length, 2, 'one of the killed process, one of the others')
    t.same(readdirSync(blobs), [NAME])
  }
})

t.test('a lock whose process number belongs to somebody else is not waited for for ever', async (t) => {
  const { url, cacheDir, blobs } = await setUp(t)
  const first = download(url, cacheDir)
  await until(() => existsSync(join(blobs, `${NAME}.lock`)))
  first.child.kill('SIGKILL')
  await first.ended
  writeFileSync(join(blobs, `${NAME}.lock`), '1') // alive everywhere; in containers that share a cache, everybody's number
  t.equal(await download(url, cacheDir).ended, 0)
  t.same(readdirSync(blobs), [NAME])
})
