/**
 * Facts in the first bytes of a picture that sharp does not report: HEIC, and colour descriptions that are ignored.
 */

/** Everything looked for comes before the pixels. */
const HEAD_BYTES = 65536

/** The beginning of a picture. */
export function headOf(bytes: Buffer): Buffer {
  return bytes.subarray(0, HEAD_BYTES)
}

/** Whether it is HEIC, the photos of phones: a HEIF file whose brands name HEVC. Source: ISO/IEC 23008-12, annex B. */
export function isHeic(head: Buffer): boolean {
  if (head.toString('latin1', 4, 8) !== 'ftyp') return false
  const brands = head.toString('latin1', 8, Math.min(head.length, head.readUInt32BE(0))).match(/.{4}/gs) ?? []
  return brands.some((brand) => /^(heic|heix|heim|heis|hevc|hevx|hevm|hevs)$/.test(brand))
}

/**
 * What a picture without a colour profile says about its colours that is not followed: they are taken for sRGB.
 *
 * @returns Words for a message, or `null` where it says nothing, or sRGB.
 */
export function ignoredColours(head: Buffer): string | null {
  if (head.toString('latin1', 1, 4) === 'PNG') return ignoredInPng(head)
  return head.toString('latin1', 4, 8) === 'ftyp' ? ignoredInAvif(head) : null
}

/** Chromaticities of sRGB's white, red, green and blue, times 100,000. */
const SRGB_CHROMATICITIES = [31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000]
/** Its gamma: 1 / 2.2 stands for its curve. */
const SRGB_GAMMA = 45455

/** Source: PNG, third edition, 11.3.2 (colour spaces). */
function ignoredInPng(head: Buffer): string | null {
  const found: string[] = []
  const colour = (head[25]! & 2) !== 0 // libpng drops RGB profiles of grey pictures, which makes hardly a difference
  for (let at = 8; at + 12 <= head.length; at += 12 + head.readUInt32BE(at)) {
    const type = head.toString('latin1', at + 4, at + 8)
    const data = head.subarray(at + 8, at + 8 + head.readUInt32BE(at))
    if (type === 'IDAT' || type === 'sRGB') return type === 'sRGB' ? null : said(found)
    if (type === 'iCCP' && colour) found.push(type) // and profiles that it finds damaged
    if (type === 'cICP' && data.length >= 2 && !isSrgbCode(data[0]!, data[1]!)) found.push(type)
    if (type === 'gAMA' && data.length >= 4 && !isNear(data.readUInt32BE(0), SRGB_GAMMA, 500)) found.push(type)
    if (type !== 'cHRM' || data.length < 32) continue
    const same = SRGB_CHROMATICITIES.every((value, i) => isNear(data.readUInt32BE(4 * i), value, 500))
    if (!same) found.push(type)
  }
  return said(found)
}

function said(chunks: string[]): string | null {
  return chunks.length === 0 ? null : `its ${chunks.join(' and ')} ${chunks.length === 1 ? 'chunk' : 'chunks'}`
}

/** Source: ISO/IEC 23008-12 and 14496-12, the box `colr` of type `nclx`. */
function ignoredInAvif(head: Buffer): string | null {
  const at = head.indexOf('colrnclx', 0, 'latin1')
  if (at < 0 || at + 12 > head.length) return null
  const [primaries, transfer] = [head.readUInt16BE(at + 8), head.readUInt16BE(at + 10)]
  if (isSrgbCode(primaries, transfer)) return null
  return `its colour code (primaries ${primaries}, transfer ${transfer})`
}

/** Codes of ITU-T H.273: sRGB, its like (BT.601, BT.709), and "not said". */
function isSrgbCode(primaries: number, transfer: number): boolean {
  return [1, 2].includes(primaries) && [1, 2, 6, 13, 14, 15].includes(transfer)
}

function isNear(value: number, other: number, tolerance: number): boolean {
  return Math.abs(value - other) <= tolerance
}
