// Proxies that the environment names: which one is taken for what, and downloads through them.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { downloadFromHub } from '../../dist/prepare/hub.js'
import { proxyFor } from '../../dist/prepare/proxy.js'
import { hubServer } from '../fixtures/hub-server'
import { proxyServer, type ProxyRules } from '../fixtures/proxy-server'

const REPO = 'owner/model-4B'
const FILES = { 'vae/diffusion_pytorch_model.safetensors': Buffer.alloc(500, 7) }
const VARIABLES = ['http_proxy', 'https_proxy', 'all_proxy', 'no_proxy'].flatMap((name) => [name, name.toUpperCase()])

t.beforeEach(() => VARIABLES.forEach((name) => delete process.env[name]))

const taken = (url: string, environment: Record<string, string>) => {
  const proxy = proxyFor(new URL(url), environment)
  return proxy && `${proxy.variable} ${proxy.url} ${proxy.authorization ?? ''}`.trim()
}

t.test('the proxy of an address', async (t) => {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
  const cases: [string, Record<string, string>, string | undefined][] = [
    ['https://hub.co/a', {}, undefined],
    ['https://hub.co/a', { HTTPS_PROXY: 'http://p:8080' }, 'HTTPS_PROXY http://p:8080'],
    ['http://hub.co/a', { HTTPS_PROXY: 'http://p:8080' }, undefined],
    ['http://hub.co/a', { HTTP_PROXY: 'http://p:8080/' }, 'HTTP_PROXY http://p:8080'],
    ['https://hub.co/a', { HTTPS_PROXY: 'http://upper', https_proxy: 'http://lower' }, 'https_proxy http://lower'],
    ['https://hub.co/a', { HTTPS_PROXY: 'http://upper', https_proxy: ' ' }, 'HTTPS_PROXY http://upper'],
    ['https://hub.co/a', { HTTPS_PROXY: 'p:3128' }, 'HTTPS_PROXY http://p:3128'],
    ['https://hub.co/a', { HTTPS_PROXY: 'https://p' }, 'HTTPS_PROXY https://p'],
    ['https://hub.co/a', { ALL_PROXY: 'http://p:1' }, 'ALL_PROXY http://p:1'],
    ['https://hub.co/a', { all_proxy: 'http://p:1', HTTPS_PROXY: 'http://q:2' }, 'HTTPS_PROXY http://q:2'],
    ['https://hub.co/a', { HTTPS_PROXY: 'http://me:s%40c%2Fret@p:1' }, `HTTPS_PROXY http://p:1 ${basic('me:s@c/ret')}`],
    ['https://hub.co/a', { HTTPS_PROXY: 'http://me@p:1' }, `HTTPS_PROXY http://p:1 ${basic('me:')}`],
    ['https://hub.co/a', { HTTPS_PROXY: 'me:100%@p:1' }, `HTTPS_PROXY http://p:1 ${basic('me:100%')}`],
  ]
  for (const [url, environment, expected] of cases)
    t.equal(taken(url, environment), expected, JSON.stringify(environment))
})

t.test('NO_PROXY', async (t) => {
  const reached = (url: string, list: string) => taken(url, { ALL_PROXY: 'http://p:1', NO_PROXY: list }) === undefined
  const direct: [string, string][] = [
    ['https://hub.co/a', '*'],
    ['https://hub.co/a', 'other.co, hub.co'],
    ['https://hub.co/a', 'HUB.co'],
    ['https://cdn.hub.co/a', 'hub.co'],
    ['https://cdn.hub.co/a', '.hub.co'],
    ['https://cdn.hub.co/a', '*.hub.co'],
    ['https://hub.co/a', 'hub.co:443'],
    ['http://hub.co:8080/a', 'x hub.co:8080'],
    ['http://127.0.0.1:80/a', '127.0.0.1'],
    ['http://10.1.2.3/a', '10.0.0.0/8'],
    ['http://[::1]:8080/a', '::1'],
    ['http://[::1]:8080/a', '[::1]:8080'],
    ['http://[fd00::5]/a', 'fd00::/8'],
  ]
  for (const [url, list] of direct) t.ok(reached(url, list), `${url} with ${list}`)
  const through: [string, string][] = [
    ['https://hub.co/a', ''],
    ['https://hub.co/a', 'co.hub'],
    ['https://myhub.co/a', 'hub.co'],
    ['https://hub.co/a', 'cdn.hub.co'],
    ['https://hub.co/a', 'hub.co:80'],
    ['http://11.1.2.3/a', '10.0.0.0/8'],
    ['http://10.1.2.3/a', '10.0.0.0/99'],
    ['http://10.1.2.3/a', 'fd00::/8,:,[,/'],
  ]
  for (const [url, list] of through) t.notOk(reached(url, list), `${url} with ${list}`)
})

t.test('a proxy that cannot be used is named without its password', async (t) => {
  const cases: [string, string, RegExp][] = [
    [
      'socks5://me:secret@p:1080',
      'ERR_ICONFACE_UNSUPPORTED',
      /HTTPS_PROXY names the proxy socks5:\/\/p:1080, and only/,
    ],
    ['http://me:secret@', 'ERR_ICONFACE_INVALID_ARGUMENT', /address of a proxy.*in HTTPS_PROXY/],
    ['http://me:secret@p:99999', 'ERR_ICONFACE_INVALID_ARGUMENT', /"p:99999"/],
  ]
  for (const [value, code, message] of cases) {
    try {
      taken('https://hub.co/a', { HTTPS_PROXY: value })
      t.fail(value)
    } catch (error) {
      t.match(error, { code, message })
      t.notMatch((error as Error).message, /secret/)
    }
  }
})

async function setUp(t: Test, rules: ProxyRules = {}) {
  const hub = await hubServer(REPO, FILES)
  const proxy = await proxyServer(rules)
  t.teardown(async () => Promise.all([hub.close(), proxy.close()]))
  const cacheDir = t.testdir({})
  const download = async () => {
    const folder = await downloadFromHub(REPO, { hubUrl: hub.url, cacheDir, token: 'hf_secret', idleMs: 600_000 })
    return readFileSync(join(folder, 'vae', 'diffusion_pytorch_model.safetensors')).equals(Object.values(FILES)[0]!)
  }
  return { hub, proxy, download }
}

t.test('a download goes through the proxy, and past it where NO_PROXY says so', async (t) => {
  const { hub, proxy, download } = await setUp(t)
  process.env.HTTP_PROXY = proxy.url
  t.ok(await download())
  t.ok(proxy.seen.length > 0)
  t.ok(
    proxy.seen.every((line) => line === `CONNECT ${new URL(hub.url).host}`),
    proxy.seen.join(),
  )
  t.ok(hub.requests.every(({ authorization }) => authorization === 'Bearer hf_secret'))

  const second = await setUp(t)
  process.env.HTTP_PROXY = second.proxy.url
  process.env.NO_PROXY = '127.0.0.1'
  t.ok(await second.download())
  t.same(second.proxy.seen, [])
})

t.test('a proxy that connects to port 443 only is asked to fetch what is not encrypted', async (t) => {
  const { hub, proxy, download } = await setUp(t, { refuse: 403 })
  process.env.http_proxy = proxy.url
  t.ok(await download())
  t.ok(
    proxy.seen.some(
      (line) =>
        line === `GET ${hub.url}/api/models/${REPO}/revision/main?expand=sha` || line.startsWith(`GET ${hub.url}/`),
    ),
  )
})

t.test('a proxy that asks for a user name and a password', async (t) => {
  const { hub, proxy, download } = await setUp(t, { credentials: 'me:s@cret' })
  const host = `127.0.0.1:${proxy.port}`
  process.env.HTTP_PROXY = proxy.url
  const asks = {
    code: 'ERR_ICONFACE_IO',
    message:
      /^the proxy http:\/\/127\.0\.0\.1:\d+ asks for a user name.*HTTP_PROXY, as http:\/\/user:password@host:port$/,
  }
  await t.rejects(download(), asks)
  process.env.HTTP_PROXY = `http://me:wrong-secret@${host}`
  const error = await download().catch((error: unknown) => error as Error)
  t.match(error, { code: 'ERR_ICONFACE_IO', message: /does not accept the user name and the password in HTTP_PROXY/ })
  t.notMatch((error as Error).message, /wrong-secret/)
  t.same(hub.requests, [])
  process.env.HTTP_PROXY = `http://me:s%40cret@${host}`
  t.ok(await download())
})

t.test('a proxy that is not there is named', async (t) => {
  const { proxy, download } = await setUp(t)
  await proxy.close()
  process.env.ALL_PROXY = proxy.url
  await t.rejects(download(), {
    code: 'ERR_ICONFACE_IO',
    message: new RegExp(`through the proxy ${proxy.url}: .*ECONNREFUSED`),
  })
})

t.test('an encrypted address is never asked for in the clear', async (t) => {
  const { proxy } = await setUp(t, { refuse: 403 })
  process.env.HTTPS_PROXY = proxy.url
  const options = { hubUrl: 'https://hub.invalid', cacheDir: t.testdir({}), token: 'hf_secret' }
  await t.rejects(downloadFromHub(REPO, options), {
    code: 'ERR_ICONFACE_IO',
    message: /answered 403 and does not connect to hub\.invalid/,
  })
  t.same([...new Set(proxy.seen)], ['CONNECT hub.invalid:443'])
})
