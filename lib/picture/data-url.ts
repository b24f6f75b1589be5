/**
 * Pictures written as text: `data:` URLs, which are read, and bare base64, which is not, because a path may look like it.
 */

/** Largest picture that a `data:` URL may hold. */
export const MAX_DATA_URL_BYTES = 128 * 2 ** 20

export function isDataUrl(text: string): boolean {
  return /^data:/i.test(text)
}

/**
 * The bytes in a `data:` URL, base64 or percent-encoded.
 *
 * Source: RFC 2397; base64 as browsers forgive it, with spaces and without padding.
 *
 * @returns The bytes, or in words what is wrong with it.
 */
export function dataUrlBytes(url: string): Buffer | string {
  const comma = url.indexOf(',')
  if (comma < 0) return 'it has no comma'
  const base64 = /;\s*base64\s*$/i.test(url.slice(0, Math.min(comma, 1000)))
  const length = url.length - comma - 1
  if (length > MAX_DATA_URL_BYTES * (base64 ? 4 / 3 : 3)) return `it holds more than ${MAX_DATA_URL_BYTES} bytes`
  const bytes = percentDecoded(url.slice(comma + 1))
  if (bytes.length === 0) return 'it holds no bytes'
  if (!base64) return bytes
  const text = bytes.toString('latin1').replace(/[\t\n\f\r ]/g, '')
  return /^[A-Za-z0-9+/]*={0,2}$/.test(text) ? Buffer.from(text, 'base64') : 'it is not base64'
}

function percentDecoded(text: string): Buffer {
  if (!text.includes('%')) return Buffer.from(text, 'utf8')
  const source = Buffer.from(text, 'utf8')
  const out = Buffer.alloc(source.length)
  let length = 0
  for (let at = 0; at < source.length; at++, length++) {
    const code = source[at] === 0x25 ? source.toString('latin1', at + 1, at + 3) : ''
    const escaped = /^[0-9a-f]{2}$/i.test(code)
    out[length] = escaped ? parseInt(code, 16) : source[at]!
    if (escaped) at += 2
  }
  return out.subarray(0, length)
}

/** How base64 of JPEG, PNG, WebP, GIF, TIFF and AVIF begins. */
const BEGINNINGS = /^(\/9j\/|iVBORw0KGgo|UklGR|R0lGOD|SUkqA|TU0AK|AAAA[A-Za-z0-9+/]{2}Z0eX)/
/** The longest path that Linux opens. */
const LONGEST_PATH = 4095

/** Whether `text`, which names no file, is a picture in base64. */
export function isBareBase64(text: string): boolean {
  const letters = /^[A-Za-z0-9+/\s]+={0,2}\s*$/.test(text.slice(0, 1000))
  return letters && text.length >= 40 && (BEGINNINGS.test(text) || text.length > LONGEST_PATH)
}
