/**
 * Which proxy the environment names for an address, as curl and Python read it: `HTTPS_PROXY` or `HTTP_PROXY` by the
 * scheme of the address, else `ALL_PROXY`; none for what `NO_PROXY` lists. Names in lower case go first, and a proxy
 * without a scheme is an HTTP proxy.
 */
import { BlockList, isIP } from 'node:net'
import { describeValue, IConFaceError } from '../errors'

export interface Proxy {
  /** Without user name and password. */
  readonly url: string
  /** The value of `Proxy-Authorization`. */
  readonly authorization: string | undefined
  /** The variable that names it. */
  readonly variable: string
  /** What messages call it: scheme, host and port. */
  readonly shown: string
}

type Environment = Readonly<Record<string, string | undefined>>

/**
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_ARGUMENT` when the variable holds no address,
 *         `ERR_ICONFACE_UNSUPPORTED` when it names a proxy of another kind (SOCKS)
 */
export function proxyFor(url: URL, environment: Environment = process.env): Proxy | undefined {
  const scheme = url.protocol.slice(0, -1)
  const set = (name: string) => [name, name.toUpperCase()].find((one) => environment[one]?.trim())
  const variable = set(`${scheme}_proxy`) ?? set('all_proxy')
  if (variable === undefined) return undefined
  const exceptions = set('no_proxy')
  if (exceptions !== undefined && isException(url, environment[exceptions]!)) return undefined
  return parseProxy(variable, environment[variable]!.trim())
}

function parseProxy(variable: string, value: string): Proxy {
  const text = value.includes('://') ? value : `http://${value}`
  const proxy = URL.canParse(text) ? new URL(text) : undefined
  // What cannot be parsed may hold a password too, before the last @.
  const shown = proxy?.hostname ? `${proxy.protocol}//${proxy.host}` : value.slice(value.lastIndexOf('@') + 1)
  if (!proxy?.hostname) {
    const message = `expected the address of a proxy, http://host:port, in ${variable} but received ${describeValue(shown)}`
    throw new IConFaceError('ERR_ICONFACE_INVALID_ARGUMENT', message)
  }
  if (proxy.protocol !== 'http:' && proxy.protocol !== 'https:') {
    const message = `${variable} names the proxy ${shown}, and only HTTP proxies can be used: name one (http://host:port), or clear ${variable}`
    throw new IConFaceError('ERR_ICONFACE_UNSUPPORTED', message)
  }
  const credentials = [proxy.username, proxy.password].map(decode).join(':')
  const authorization = credentials === ':' ? undefined : `Basic ${Buffer.from(credentials).toString('base64')}`
  return { url: shown, authorization, variable, shown }
}

/** A percent sign that begins no escape stands for itself. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Whether `NO_PROXY` lists a host: `*`, names with or without what comes before them, addresses, networks, ports. */
function isException({ hostname, port, protocol }: URL, list: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase()
  const actualPort = port || (protocol === 'https:' ? '443' : '80')
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => {
      if (entry === '*') return true
      const [, name, wantedPort = actualPort] = /^(\[[^\]]*\]|[^:]*|.*:.*:.*?)(?::(\d+))?$/.exec(entry) ?? []
      const wanted = name?.replace(/^\[|\]$/g, '').replace(/^\*?\./, '')
      if (!wanted || wantedPort !== actualPort) return false
      return wanted.includes('/') ? isInNetwork(host, wanted) : host === wanted || host.endsWith(`.${wanted}`)
    })
}

function isInNetwork(host: string, network: string): boolean {
  const [address = '', bits = ''] = network.split('/')
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
  const most = family === 'ipv6' ? 128 : 32
  if (isIP(host) === 0 || isIP(host) !== isIP(address) || !/^\d{1,3}$/.test(bits) || Number(bits) > most) return false
  const networks = new BlockList()
  networks.addSubnet(address, Number(bits), family)
  return networks.check(host, family)
}
