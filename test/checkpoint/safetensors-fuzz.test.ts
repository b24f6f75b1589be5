// Damaged safetensors headers: an IConFaceError or a file that keeps every promise, never anything else.
// ICONFACE_FUZZ_CASES sets the number of mutations, ICONFACE_FUZZ_FIRST where they begin.
import t from 'tap'
import { type DType, dtypeBits } from '../../dist/formats/dtype.js'
import { headerLength, parseHeader, type SafetensorsHeader } from '../../dist/formats/safetensors.js'
import { isIConFaceError } from '../../dist/errors.js'
import { fileBytes, mutatedFile, SEEDS } from '../fixtures/mutate'

const CASES = Number(process.env.ICONFACE_FUZZ_CASES ?? 50_000)
const FIRST = Number(process.env.ICONFACE_FUZZ_FIRST ?? 0)

/** What openSafetensors does, on bytes. */
function parse(file: Buffer): SafetensorsHeader {
  const length = headerLength(file.subarray(0, 8), file.length, 'fuzz')
  return parseHeader(file.subarray(8, 8 + length), file.length, 'fuzz')
}

/** The first promise that an accepted header breaks. */
function brokenPromise(file: Buffer, { tensors, metadata }: SafetensorsHeader): string | undefined {
  let end = 8 + Number(file.readBigUInt64LE())
  for (const [name, { dtype, shape, offset, bytes }] of tensors) {
    if (offset !== end) return `${name} begins at ${offset}, not at ${end}`
    if (shape.some((size) => !Number.isSafeInteger(size) || size < 0)) return `${name} has the shape ${shape.join()}`
    const bits = shape.reduce((product, size) => product * BigInt(size), BigInt(dtypeBits(dtype as DType)))
    if (bits !== BigInt(bytes) * 8n) return `${name} has ${bytes} bytes for ${bits} bits`
    end += bytes
  }
  const json = file.subarray(8, 8 + Number(file.readBigUInt64LE())).toString()
  const names = Object.keys(JSON.parse(json) as object).filter((name) => name !== '__metadata__')
  if (names.length !== tensors.size || !names.every((name) => tensors.has(name)))
    return `JSON.parse sees ${names.join()}`
  if (end !== file.length) return `the tensors end at ${end} of ${file.length}`
  return Object.values(metadata).every((value) => typeof value === 'string') ? undefined : 'metadata is no text'
}

/** `undefined`, or what went wrong with these bytes. */
function failure(file: Buffer): string | undefined {
  try {
    return brokenPromise(file, parse(file))
  } catch (error) {
    if (isIConFaceError(error) && error.code === 'ERR_ICONFACE_INVALID_CHECKPOINT' && error.message) return undefined
    return error instanceof Error ? error.stack : String(error)
  }
}

t.test('the seeds themselves are valid', async (t) => {
  for (const { header, dataBytes } of SEEDS) {
    const file = fileBytes(header, dataBytes)
    t.equal(brokenPromise(file, parse(file)), undefined)
  }
})

t.test(`${CASES} mutated files`, async (t) => {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0 // most of the time would go into traces
  let accepted = 0
  try {
    for (let i = FIRST; i < FIRST + CASES; i++) {
      const file = mutatedFile(i)
      const complaint = failure(file)
      if (complaint !== undefined) t.fail(`mutation ${i}: ${complaint}`, { file: file.toString('latin1') })
    }
    for (let i = FIRST; i < FIRST + 2000; i++) {
      try {
        parse(mutatedFile(i))
        accepted++
      } catch {
        // refused
      }
    }
  } finally {
    Error.stackTraceLimit = limit
  }
  t.ok(accepted > 20 && accepted < 1900, `${accepted} of 2000 valid: acceptance is tested too`)
})

t.test('cut at every byte of the header and at places of the data', async (t) => {
  for (const { header, dataBytes } of SEEDS) {
    const file = fileBytes(header, dataBytes)
    for (let length = 0; length < file.length; length++) {
      const cut = file.subarray(0, length)
      t.throws(() => parse(cut), { code: 'ERR_ICONFACE_INVALID_CHECKPOINT' }, `${length} of ${file.length} bytes`)
    }
  }
})

t.test('deep nesting and endless lists end at once, without a stack overflow', async (t) => {
  for (const piece of ['[', '{"a":', '{"a":{"shape":[', '"\\\\', '0', ' ']) {
    const header = `{"a":{"dtype":"F32","shape":${piece.repeat(200_000)}`
    t.throws(() => parse(fileBytes(header)), { code: 'ERR_ICONFACE_INVALID_CHECKPOINT' }, JSON.stringify(piece))
  }
})
