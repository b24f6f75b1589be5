/**
 * Faults of JPEG files that lose no row of the picture, mended before decoding: scan parameters that phones write wrongly,
 * bytes between segments, a missing end marker.
 */

const [START, END, SCAN, SEQUENTIAL, EXTENDED, PROGRESSIVE] = [0xd8, 0xd9, 0xda, 0xc0, 0xc1, 0xc2]

/**
 * The file without such faults. What the decoder still complains about then are faults of the picture itself.
 *
 * Source: ITU-T T.81, B.1.1 (markers) and B.2.3 (scan header).
 */
export function mendJpeg(file: Buffer): Buffer {
  const parts: Buffer[] = [file.subarray(0, 2)]
  let sequential = false
  let at = 2
  while ((at = nextMarker(file, at)) < file.length - 1) {
    const marker = file[at + 1]!
    if (marker === END) break
    const alone = marker === START || marker === 0x01 || isRestart(marker) // a marker without a segment
    const end = alone ? at + 2 : at + 2 + (at + 4 <= file.length ? file.readUInt16BE(at + 2) : 0)
    const segment = Buffer.from(file.subarray(at, end))
    if (marker === SEQUENTIAL || marker === EXTENDED) sequential = true
    if (marker === PROGRESSIVE) sequential = false
    if (marker === SCAN && sequential) segment.set([0, 63, 0], Math.max(0, segment.length - 3))
    parts.push(segment)
    at = end
    if (marker !== SCAN) continue
    const data = scanEnd(file, at)
    parts.push(file.subarray(at, data))
    at = data
  }
  return Buffer.concat([...parts, Buffer.from([0xff, END])])
}

function isRestart(marker: number): boolean {
  return marker >= 0xd0 && marker <= 0xd7
}

/** Where the next marker begins: FF and neither 0 nor FF. */
function nextMarker(file: Buffer, from: number): number {
  let at = from
  while ((at = file.indexOf(0xff, at)) >= 0) {
    const code = file[at + 1]
    if (code !== undefined && code !== 0 && code !== 0xff) return at
    at++
  }
  return file.length
}

/** Where a scan's data end: at a marker that is no restart. */
function scanEnd(file: Buffer, from: number): number {
  let at = nextMarker(file, from)
  while (at < file.length - 1 && isRestart(file[at + 1]!)) at = nextMarker(file, at + 2)
  return at
}
