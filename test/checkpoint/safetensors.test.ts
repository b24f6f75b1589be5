// One test per rule of the safetensors format, and the writer.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { roundToBFloat16, toFloat32 } from '../../dist/formats/dtype.js'
import { openSafetensors, parseHeader, readTensorBytes } from '../../dist/formats/safetensors.js'
import { SafetensorsWriter, writeSafetensors } from '../../dist/formats/safetensors-writer.js'
import { fileBytes } from '../fixtures/mutate'

const folder = t.testdir({})
const f32 = (shape: number[], begin: number, end: number) => ({ dtype: 'F32', shape, data_offsets: [begin, end] })

/** Opens a file of these bytes. */
function open(bytes: Buffer) {
  const file = join(folder, 'case.safetensors')
  writeFileSync(file, bytes)
  return openSafetensors(file)
}

/** A rule: a file that breaks it, and what the message must say. */
function refuses(rule: string, header: string | object, dataBytes: number, message: RegExp): void {
  t.test(rule, async (t) => {
    const bytes = fileBytes(header, dataBytes)
    t.throws(() => open(bytes), { code: 'ERR_ICONFACE_INVALID_CHECKPOINT', message })
    t.throws(() => open(bytes), { message: /case\.safetensors is no valid safetensors file: / })
  })
}

t.test('a valid file: names, shapes, absolute offsets, metadata', async (t) => {
  const header = { __metadata__: { a: 'b' }, second: f32([2], 4, 12), first: f32([], 0, 4), none: f32([0, 3], 12, 12) }
  const bytes = fileBytes(header, 12)
  const file = open(bytes)
  const start = bytes.length - 12
  t.equal(file.fileSize, bytes.length)
  t.equal(file.headerBytes, start - 8)
  t.ok(file.mtimeMs > 0)
  t.same(file.metadata, { a: 'b' })
  t.same(
    [...file.tensors],
    [
      ['first', { dtype: 'F32', shape: [], offset: start, bytes: 4 }],
      ['second', { dtype: 'F32', shape: [2], offset: start + 4, bytes: 8 }],
      ['none', { dtype: 'F32', shape: [0, 3], offset: start + 12, bytes: 0 }],
    ],
  )
})

t.test('a file without tensors is valid', async (t) => {
  t.equal(open(fileBytes('{}')).tensors.size, 0)
})

t.test('spaces after the JSON are allowed', async (t) => {
  t.equal(open(fileBytes('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}   ', 1)).tensors.size, 1)
})

t.test('types this package cannot use are read all the same', async (t) => {
  for (const dtype of ['F8_E4M3', 'F8_E5M2', 'F8_E8M0', 'BOOL', 'U8', 'I8']) {
    t.equal(open(fileBytes({ a: { dtype, shape: [3], data_offsets: [0, 3] } }, 3)).tensors.get('a')?.dtype, dtype)
  }
  t.equal(open(fileBytes({ a: { dtype: 'F4', shape: [2, 3], data_offsets: [0, 3] } }, 3)).tensors.get('a')?.bytes, 3)
})

t.test('names with escapes, quotes and characters beyond ASCII are kept', async (t) => {
  const name = 'a "é" \\ 漢 😀'
  t.ok(open(fileBytes({ [name]: f32([1], 0, 4) }, 4)).tensors.has(name))
  t.ok(open(fileBytes('{"\\u0061\\/":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1)).tensors.has('a/'))
  t.ok(open(fileBytes('{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1)).tensors.has('__proto__'))
})

t.test('rule: the length field is there', async (t) => {
  for (const length of [0, 1, 7]) {
    t.throws(() => open(Buffer.alloc(length)), {
      code: 'ERR_ICONFACE_INVALID_CHECKPOINT',
      message: new RegExp(`has ${length} bytes`),
    })
  }
})

t.test('rule: the header is at most 100 MB', async (t) => {
  const bytes = fileBytes('{}')
  bytes.writeBigUInt64LE(100_000_001n)
  t.throws(() => open(bytes), { message: /header would be 100000001 bytes, more than 100000000/ })
  bytes.writeBigUInt64LE(2n ** 64n - 1n)
  t.throws(() => open(bytes), { message: /more than 100000000/ })
})

t.test('rule: the header lies within the file', async (t) => {
  const bytes = fileBytes('{}')
  bytes.writeBigUInt64LE(3n)
  t.throws(() => open(bytes), { message: /header is 3 bytes, but only 2 follow/ })
})

t.test('files of other kinds are named', async (t) => {
  const starts: [string, RegExp][] = [
    ['PK\x03\x04rest of an archive', /PyTorch file, convert it with "iconface convert"/],
    ['\x80\x02}q\x00(X\x05\x00', /pickle/],
    ['GGUF\x03\x00\x00\x00', /GGUF/],
    ['version https://git-lfs.github.com/spec/v1', /git lfs pull/],
    ['<!DOCTYPE html>', /failed download/],
  ]
  for (const [start, message] of starts) t.throws(() => open(Buffer.from(start, 'latin1')), { message })
})

t.test('rule: the header is UTF-8', async (t) => {
  const bytes = fileBytes('{"aa":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1)
  bytes[10] = 0xff
  t.throws(() => open(bytes), { message: /not valid UTF-8/ })
})

refuses('rule: the header begins with {', ' {}', 0, /begins with " " instead of "{"/)
refuses('rule: the header is an object and nothing else', '{}x', 0, /character 2 of its header: expected the end/)
refuses('rule: an empty header is no header', '', 0, /begins with ""/)
refuses(
  'rule: no duplicate tensor',
  '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
  1,
  /key "a" twice/,
)
refuses(
  'rule: no duplicate that an escape hides',
  '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\\u0061":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
  1,
  /key "a" twice/,
)
refuses(
  'rule: no duplicate key in a tensor',
  '{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
  1,
  /tensor "a" has the key "dtype" twice/,
)
refuses('rule: no duplicate metadata', '{"__metadata__":{"a":"","a":""}}', 0, /__metadata__ has the key "a" twice/)
refuses('rule: metadata comes once', '{"__metadata__":{},"__metadata__":{}}', 0, /key "__metadata__" twice/)
refuses('rule: metadata maps to strings', '{"__metadata__":{"a":1}}', 0, /a string for __metadata__\.a but found "1/)
refuses('rule: metadata is an object', '{"__metadata__":null}', 0, /an object for __metadata__/)
refuses('rule: a tensor is an object', '{"a":[]}', 0, /an object for tensor "a"/)
refuses('rule: a tensor has a dtype', { a: { shape: [1], data_offsets: [0, 1] } }, 1, /"a" has no dtype/)
refuses('rule: a tensor has a shape', { a: { dtype: 'U8', data_offsets: [0, 1] } }, 1, /"a" has no shape/)
refuses('rule: a tensor has offsets', { a: { dtype: 'U8', shape: [1] } }, 1, /"a" has no data_offsets/)
refuses('rule: a tensor has nothing else', { a: { ...f32([1], 0, 4), x: 1 } }, 4, /"a" has an unknown key "x"/)
refuses('rule: the dtype is known', { a: { dtype: 'f32', shape: [1], data_offsets: [0, 4] } }, 4, /unknown dtype "f32"/)
refuses(
  'rule: no prototype is taken for a dtype',
  { a: { dtype: 'toString', shape: [], data_offsets: [0, 4] } },
  4,
  /unknown dtype/,
)
refuses('rule: sizes are not negative', { a: f32([-1], 0, 4) }, 4, /whole number from 0 in the shape of tensor "a"/)
refuses('rule: sizes are whole', { a: f32([1.5], 0, 4) }, 4, /whole number/)
refuses('rule: sizes have no exponent', '{"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}', 1, /whole number/)
refuses('rule: sizes have no leading zero', '{"a":{"dtype":"U8","shape":[01],"data_offsets":[0,1]}}', 1, /whole number/)
refuses('rule: sizes are numbers', { a: { dtype: 'U8', shape: ['1'], data_offsets: [0, 1] } }, 1, /whole number/)
refuses(
  'rule: sizes are exact',
  '{"a":{"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,1]}}',
  1,
  /"9007199254740993", which is too large/,
)
refuses(
  'rule: the product of sizes does not overflow',
  { a: f32([2 ** 31, 2 ** 31, 4], 0, 0) },
  0,
  /too large to count/,
)
refuses(
  'rule: a zero does not hide an overflow before it',
  { a: f32([2 ** 40, 2 ** 40, 0], 0, 0) },
  0,
  /too large to count/,
)
refuses(
  'rule: the bits do not overflow',
  { a: { dtype: 'F64', shape: [2 ** 50], data_offsets: [0, 0] } },
  0,
  /too large to count/,
)
refuses('rule: a shape has at most 64 axes', { a: f32(Array(65).fill(1) as number[], 0, 4) }, 4, /more than 64 numbers/)
refuses('rule: offsets are two', { a: { dtype: 'U8', shape: [1], data_offsets: [0, 1, 1] } }, 1, /are 3 numbers, not 2/)
refuses('rule: a tensor ends after it begins', { a: f32([0], 4, 0) }, 4, /ends at 0 before it begins at 4/)
refuses(
  'rule: offsets hold the shape',
  { a: f32([2, 3], 0, 20) },
  20,
  /"a" of F32 \[2, 3\] takes 24 bytes, but its offsets 0 to 20 hold 20/,
)
refuses(
  'rule: small types fill whole bytes',
  { a: { dtype: 'F4', shape: [3], data_offsets: [0, 2] } },
  2,
  /12 bits, which is no whole number of bytes/,
)
refuses(
  'rule: tensors lie within the file',
  { a: f32([2], 0, 8) },
  7,
  /ends at byte 8 of the data, but only 7 are there/,
)
refuses('rule: the data begins with a tensor', { a: f32([1], 4, 8) }, 8, /"a", begins at 4 instead of 0/)
refuses(
  'rule: no hole',
  { a: f32([1], 0, 4), b: f32([1], 8, 12) },
  12,
  /bytes 4 to 8 between tensor "a" and tensor "b"/,
)
refuses('rule: no overlap', { a: f32([2], 0, 8), b: f32([1], 4, 8) }, 8, /"b" begins at 4, but tensor "a" reaches to 8/)
refuses('rule: no two tensors over the same bytes', { a: f32([1], 0, 4), b: f32([1], 0, 4) }, 4, /they overlap/)
refuses(
  'rule: the file ends with the last tensor',
  { a: f32([1], 0, 4) },
  5,
  /end at byte 4 of the data, but the data has 5/,
)
refuses('rule: no data without tensors', '{}', 1, /end at byte 0 of the data, but the data has 1/)
refuses('rule: strings hold no control character', '{"a\n":{}}', 0, /the end of a string/)
refuses('rule: strings end', '{"a', 0, /the end of a string but found its end/)
refuses('rule: escapes are known', '{"\\x":{}}', 0, /malformed escape/)
refuses(
  'rule: strings hold whole characters',
  '{"\\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
  1,
  /half a character/,
)
refuses('rule: no comma before the end', '{"a":{"dtype":"U8","shape":[1,],"data_offsets":[0,1]}}', 1, /whole number/)

t.test('a header that promises terabytes costs no memory', async (t) => {
  const header = Buffer.from(JSON.stringify({ a: f32([2 ** 38], 0, 2 ** 40) }))
  const before = process.memoryUsage().rss
  t.throws(() => parseHeader(header, 8 + header.length, 'x'), { message: /only 0 are there/ })
  t.ok(process.memoryUsage().rss - before < 50e6)
})

t.test('what is no regular file is refused without blocking', async (t) => {
  t.throws(() => openSafetensors(join(folder, 'nothing')), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
  t.throws(() => openSafetensors(folder), { code: 'ERR_ICONFACE_IO', message: /not a regular file/ })
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  t.throws(() => openSafetensors(pipe), { code: 'ERR_ICONFACE_IO', message: /not a regular file/ })
})

t.test('the writer writes what the reader reads', async (t) => {
  const file = join(folder, 'written.safetensors')
  const halves = new Uint16Array([0x3c00, 0xc000, 0x0001, 0x7bff])
  await writeSafetensors(
    file,
    [
      { name: '10', dtype: 'F32', shape: [2], data: new Float32Array([1.5, -2]) },
      { name: '2', dtype: 'F16', shape: [2, 2], data: halves },
      { name: 'none', dtype: 'F64', shape: [0], data: new Float64Array(0) },
    ],
    { note: 'é' },
  )
  const read = openSafetensors(file)
  t.same([...read.tensors.keys()], ['10', '2', 'none'])
  t.same(read.metadata, { note: 'é' })
  t.equal((read.headerBytes + 8) % 8, 0)
  t.same([...toFloat32(readTensorBytes(read, '10'), 'F32')], [1.5, -2])
  t.same([...toFloat32(readTensorBytes(read, '2'), 'F16')], [1, -2, 2 ** -24, 65504])
  t.throws(() => readTensorBytes(read, 'other'), { message: /no tensor named "other"/ })
  truncateSync(file, read.fileSize - 4)
  t.throws(() => readTensorBytes(read, '2'), { message: /shrank/ })
})

t.test(
  'the writer streams in pieces that ignore tensor borders, and leaves nothing behind when given up',
  async (t) => {
    const into = join(folder, 'stream')
    mkdirSync(into)
    const file = join(into, 'a.safetensors')
    const tensors = ['a', 'b'].map((name) => ({ name, dtype: 'U8' as const, shape: [3] }))
    const writer = await SafetensorsWriter.create(file, tensors)
    await writer.write(new Uint8Array([1, 2, 3, 4]))
    t.notOk(existsSync(file), 'no file before the end')
    await t.rejects(writer.write(new Uint8Array(3)), {
      code: 'ERR_ICONFACE_INVALID_ARGUMENT',
      message: /at most 2 more bytes/,
    })
    await writer.write(new Uint8Array([5, 6]))
    await writer.finish()
    t.same([...readTensorBytes(openSafetensors(file), 'b')], [4, 5, 6])
    await t.rejects(writer.write(new Uint8Array(0)), { code: 'ERR_ICONFACE_DISPOSED' })
    await writer.abort()

    const second = await SafetensorsWriter.create(join(into, 'b.safetensors'), tensors)
    await t.rejects(second.finish(), { message: /expected 6 bytes in all/ })
    await second.abort()
    t.same(readdirSync(into), ['a.safetensors'])
  },
)

t.test('the writer refuses impossible tensors and folders', async (t) => {
  const file = join(folder, 'impossible.safetensors')
  const bad = [
    [{ name: 'a', dtype: 'F4', shape: [3] }],
    [{ name: 'a', dtype: 'F32', shape: [-1] }],
    [{ name: '__metadata__', dtype: 'F32', shape: [1] }],
    [
      { name: 'a', dtype: 'F32', shape: [] },
      { name: 'a', dtype: 'F32', shape: [] },
    ],
  ] as const
  for (const tensors of bad)
    await t.rejects(SafetensorsWriter.create(file, tensors), { code: 'ERR_ICONFACE_INVALID_ARGUMENT' })
  await t.rejects(SafetensorsWriter.create(join(folder, 'no/such/x'), []), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
  await t.rejects(writeSafetensors(file, [{ name: 'a', dtype: 'F32', shape: [2], data: new Float32Array(1) }]), {
    message: /8 bytes/,
  })
  t.notOk(existsSync(file))
})

t.test('rounding to bfloat16 is to nearest, ties to even', async (t) => {
  const values = new Float32Array([1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20, -3.14159, 1e-30])
  const halves = new Uint16Array(values.length)
  roundToBFloat16(new Uint32Array(values.buffer), halves)
  const back = toFloat32(new Uint8Array(halves.buffer), 'BF16')
  t.same([...back.subarray(0, 4)], [1, 1, 1 + 2 ** -6, 1 + 2 ** -7])
  for (const [i, value] of values.entries()) t.ok(Math.abs(back[i]! - value) <= Math.abs(value) * 2 ** -8)
})
