/**
 * Requests over HTTP, directly or through the proxy that the environment names. Node's own `fetch` knows no proxies
 * before Node 24, and there only with a switch; `undici`, which it is made of, has them as parts.
 */
import type { Dispatcher } from 'undici'
import { loadDependency } from '../util/dependency'
import { IConFaceError } from '../errors'
import { type Proxy, proxyFor } from './proxy'

/** How a proxy is asked for an http: address: to connect to it, or to fetch it. For https: it always connects. */
type Way = 'connect' | 'fetch'

/**
 * `fetch` that heeds `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT` for a proxy that cannot be used; `ERR_ICONFACE_IO` when a
 *         proxy refuses, with or without a user name and password. Failed connections are ordinary errors.
 */
export const request: typeof fetch = async (input, init) => {
  const url = new URL(typeof input === 'string' || !('url' in input) ? input : input.url)
  const proxy = proxyFor(url)
  try {
    return await send(url, init, 'connect')
  } catch (error) {
    if (!proxy || init?.signal?.aborted) throw error
    // Many proxies connect to nothing but port 443.
    if (url.protocol !== 'http:' || statusOf(error) === 407) throw explained(proxy, url, error)
  }
  try {
    return await send(url, init, 'fetch')
  } catch (error) {
    throw init?.signal?.aborted ? error : explained(proxy, url, error)
  }
}

async function send(url: URL, init: RequestInit | undefined, way: Way): Promise<Response> {
  const { fetch } = loadDependency('undici') as typeof import('undici')
  const options = { ...init, dispatcher: await dispatcher(way) }
  // Both are what the fetch standard says; only their declarations differ.
  return (await fetch(url, options as Parameters<typeof fetch>[1])) as unknown as Response
}

/** What carries requests, kept for its open connections. */
const dispatchers = new Map<Way, Promise<Dispatcher>>()

function dispatcher(way: Way): Promise<Dispatcher> {
  const known = dispatchers.get(way) ?? openDispatcher(way)
  dispatchers.set(way, known)
  return known
}

/** Takes the way that each address needs, since an answer may send the next request elsewhere. */
async function openDispatcher(way: Way): Promise<Dispatcher> {
  const { Agent, Dispatcher, ProxyAgent } = loadDependency('undici') as typeof import('undici')
  const direct = new Agent()
  const agents = new Map<string, Dispatcher>()
  const through = ({ url, authorization }: Proxy) => {
    const key = `${url} ${authorization ?? ''}`
    const known = agents.get(key) ?? new ProxyAgent({ uri: url, token: authorization, proxyTunnel: way === 'connect' })
    agents.set(key, known)
    return known
  }
  return new (class extends Dispatcher {
    override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandlers): boolean {
      const proxy = proxyFor(new URL(String(options.origin)))
      return (proxy ? through(proxy) : direct).dispatch(options, handler)
    }
  })()
}

/** The error of a request through a proxy. A coded error is not retried. */
function explained({ variable, shown, authorization }: Proxy, { host }: URL, error: unknown): Error {
  const status = statusOf(error)
  const fail = (message: string) => new IConFaceError('ERR_ICONFACE_IO', message, { cause: error })
  if (status === 407) {
    return fail(
      authorization === undefined
        ? `the proxy ${shown} asks for a user name and a password: write them into ${variable}, as http://user:password@host:port`
        : `the proxy ${shown} does not accept the user name and the password in ${variable}`,
    )
  }
  if (status !== undefined && status < 500) {
    return fail(
      `the proxy ${shown} in ${variable} answered ${status} and does not connect to ${host}; NO_PROXY names what to reach without it`,
    )
  }
  const reason = messages(error).join(': ')
  const advice = /certificate/i.test(reason)
    ? '; NODE_EXTRA_CA_CERTS names the certificate of a proxy that reads what passes'
    : ''
  return new Error(`through the proxy ${shown}: ${reason}${advice}`, { cause: error })
}

/** The status with which a proxy refused to connect, which undici tells in words only. */
function statusOf(error: unknown): number | undefined {
  const text = messages(error).join('\n')
  const [, status] =
    /Proxy response \((\d+)\)|Proxy Authentication Required \((407)\)/.exec(text)?.filter(Boolean) ?? []
  return status === undefined ? undefined : Number(status)
}

/** The messages of an error and of its chain of causes. */
function messages(error: unknown): string[] {
  const found: string[] = []
  for (let one = error as Partial<Error> | null | undefined; one && found.length < 8; one = one.cause as typeof one)
    if (one.message) found.push(one.message)
  return found
}
