/**
 * EXIF of a picture that was turned upright and restored: what would be wrong in it is put right.
 *
 * Source: CIPA DC-008 (Exif 2.32), 4.5 and 4.6: a TIFF file whose first directory may point to one of GPS, and whose second
 * one describes a thumbnail.
 */

const [ORIENTATION, GPS] = [0x0112, 0x8825]
const [SHORT, LONG] = [3, 4]
const ENTRY = 12

/**
 * A copy in which the picture is upright, and without the thumbnail, which shows the face as it was. The place where the
 * picture was taken goes as well, unless `keepLocation` says otherwise.
 *
 * @param exif As files hold it: with or without the six bytes `Exif` that go before.
 * @returns The TIFF structure alone; `null` for bytes that are none.
 */
export function tidyExif(exif: Uint8Array, { keepLocation }: { keepLocation: boolean }): Buffer | null {
  const bytes = Buffer.from(exif)
  const tiff = bytes.toString('latin1', 0, 4) === 'Exif' ? bytes.subarray(6) : bytes
  try {
    const order = tiff.toString('latin1', 0, 4)
    if (order !== 'II*\0' && order !== 'MM\0*') return null
    tidy(new Reader(tiff, order.startsWith('II')), keepLocation)
    return tiff
  } catch {
    return null // it ends within a number
  }
}

/** Numbers of either byte order. */
class Reader {
  constructor(
    readonly bytes: Buffer,
    private readonly little: boolean,
  ) {}

  short(at: number): number {
    return this.little ? this.bytes.readUInt16LE(at) : this.bytes.readUInt16BE(at)
  }

  long(at: number): number {
    return this.little ? this.bytes.readUInt32LE(at) : this.bytes.readUInt32BE(at)
  }

  setShort(at: number, value: number): void {
    if (this.little) this.bytes.writeUInt16LE(value, at)
    else this.bytes.writeUInt16BE(value, at)
  }
}

function tidy(tiff: Reader, keepLocation: boolean): void {
  const first = tiff.long(4)
  let count = tiff.short(first)
  for (let i = 0; i < count; i++) {
    const entry = first + 2 + ENTRY * i
    const [tag, type] = [tiff.short(entry), tiff.short(entry + 2)]
    if (tag === ORIENTATION && type === SHORT) tiff.setShort(entry + 8, 1)
    if (tag !== GPS || type !== LONG || keepLocation) continue
    erase(tiff, tiff.long(entry + 8))
    const end = first + 2 + ENTRY * count + 4 // where the next directory lies stands behind the entries
    tiff.bytes.copy(tiff.bytes, entry, entry + ENTRY, end)
    tiff.setShort(first, --count)
    i--
  }
  const next = first + 2 + ENTRY * count
  tiff.bytes.fill(0, next, next + 4)
}

/** Bytes of a value of each type. */
const SIZES = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8]

/** Overwrites a directory and what its entries point to: bytes that nothing points to could still be read. */
function erase(tiff: Reader, directory: number): void {
  const count = tiff.short(directory)
  for (let i = 0; i < count; i++) {
    const entry = directory + 2 + ENTRY * i
    const bytes = (SIZES[tiff.short(entry + 2)] ?? 0) * tiff.long(entry + 4)
    if (bytes > 4) tiff.bytes.fill(0, tiff.long(entry + 8), Math.min(tiff.bytes.length, tiff.long(entry + 8) + bytes))
  }
  tiff.bytes.fill(0, directory, directory + 2 + ENTRY * count + 4)
}
