// PyTorch files: what torch.save wrote is read to the bit; what an attacker wrote is an error that says what it was.
// ICONFACE_FUZZ_CASES sets the number of mutations, ICONFACE_FUZZ_FIRST where they begin.
import t from 'tap'
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { dtypeBits } from '../../dist/formats/dtype.js'
import { openPytorch, readPytorch } from '../../dist/formats/pytorch.js'
import { type ByteSource, memorySource } from '../../dist/formats/byte-source.js'
import { crc32, readZipEntries, readZipEntry } from '../../dist/formats/zip.js'
import { isIConFaceError } from '../../dist/errors.js'
import { numbers } from '../fixtures/mutate'
import {
  bytes,
  call,
  checkpoint,
  dict,
  floats,
  global,
  int,
  pickle,
  storage,
  tensor,
  text,
  tuple,
  zip,
} from '../fixtures/pickle'

const FOLDER = resolve(__dirname, '../fixtures/pytorch')
const CASES = Number(process.env.ICONFACE_FUZZ_CASES ?? 6000)
const FIRST = Number(process.env.ICONFACE_FUZZ_FIRST ?? 0)
const DAMAGED = 'ERR_ICONFACE_INVALID_CHECKPOINT'

/** By torch.save's own account: what make.py wrote beside the files. */
const expected = JSON.parse(readFileSync(join(FOLDER, 'expected.json'), 'utf8')) as Record<
  string,
  Record<string, { dtype: string; shape: number[]; hex: string }>
>
const DTYPES: Record<string, string> = {
  float64: 'F64',
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
  int64: 'I64',
  int32: 'I32',
  int16: 'I16',
  int8: 'I8',
  uint8: 'U8',
  bool: 'BOOL',
}

const fixture = (name: string) => readFileSync(join(FOLDER, name))
const read = (file: Buffer) => readPytorch(memorySource(file, 'file.pt'))
/** Every tensor in hex. */
const contents = (file: Buffer) =>
  Object.fromEntries(
    [...read(file).tensors].map(([name, tensor]) => [name, Buffer.from(tensor.read()).toString('hex')]),
  )
/** A file of one pickle whose value is `value`, with a storage of 4 floats. */
const file = (...value: Buffer[]) => checkpoint(pickle(...value), [floats(1, 2, 3, 4)])
const weight = tensor(storage(4), [4], [1])

t.test('every file of torch.save', async (t) => {
  const readable = Object.entries(expected).filter(([, tensors]) => Object.keys(tensors).length > 0)
  t.equal(readable.length, 14)
  for (const [name, tensors] of readable) {
    const opened = openPytorch(join(FOLDER, name))
    const actual = [...opened.tensors].map(([key, { dtype, shape, read }]) => [
      key,
      { dtype, shape, hex: Buffer.from(read()).toString('hex') },
    ])
    const wanted = Object.entries(tensors).map(([key, value]) => [key, { ...value, dtype: DTYPES[value.dtype] }])
    t.same(actual, wanted, name)
    t.equal(opened.container, name.includes('legacy') ? 'legacy' : 'zip')
    opened.close()
  }
})

t.test('what a training checkpoint holds beside its weights is skipped and named', async (t) => {
  for (const container of ['zip', 'legacy']) {
    t.same(read(fixture(`lightning-${container}.pt`)).skipped, [
      { name: 'epoch', kind: 'int' },
      { name: 'global_step', kind: 'int' },
      { name: 'pytorch-lightning_version', kind: 'str' },
      { name: 'callbacks', kind: 'dict, 1 tensor' },
      { name: 'optimizer_states', kind: 'list, 6 tensors' },
      { name: 'lr_schedulers', kind: 'list' },
      { name: 'hyper_parameters', kind: 'dict' },
    ])
  }
})

t.test('repacked archives: deflated, zip64, big-endian', async (t) => {
  const source = memorySource(fixture('views-zip.pt'), 'views')
  const entries = [...readZipEntries(source).values()].map((entry) => ({
    name: entry.name,
    data: readZipEntry(source, entry, 1e6),
  }))
  const original = contents(fixture('views-zip.pt'))
  t.same(contents(zip(entries.map((entry) => ({ ...entry, deflate: true })))), original)
  t.same(contents(zip(entries, { zip64: true })), original)
  const swapped = Buffer.from(floats(1, -2, 3, 0.5)).swap32()
  const big = (order: string) =>
    checkpoint(pickle(dict(text('a'), weight)), [swapped], [{ name: 'archive/byteorder', data: Buffer.from(order) }])
  t.same(contents(big('big')), { a: floats(1, -2, 3, 0.5).toString('hex') })
  t.same(contents(big('little')), { a: swapped.toString('hex') })
  t.throws(() => read(big('middle')), { code: DAMAGED, message: /byte order is "middle"/ })
})

t.test('untyped storages, parameters, single tensors', async (t) => {
  const untyped = storage(16, '0', global('torch.storage', 'UntypedStorage'))
  const v3 = (type: Buffer) =>
    call(global('torch._utils', '_rebuild_tensor_v3'), untyped, int(1), tuple(int(3)), tuple(int(1)), 0x89, 'N', type)
  t.same(contents(file(dict(text('a'), v3(global('torch', 'float32'))))), { a: floats(2, 3, 4).toString('hex') })
  t.throws(() => read(file(v3(text('float32')))), { message: /"float32" is no type of elements/ })
  t.throws(() => read(file(tensor(untyped, [1], [1]))), { message: /has no type of elements/ })
  t.same(contents(file(call(global('torch._utils', '_rebuild_parameter'), weight, 0x88, 'N'))), {
    tensor: floats(1, 2, 3, 4).toString('hex'),
  })
})

t.test('globals that are not for tensors are named and never run', async (t) => {
  const refused = (module: string, name: string, ...pieces: Buffer[]) => {
    const message = new RegExp(`the global "${module}\\.${name.replace('.', '\\.')}" is not allowed`)
    t.throws(() => read(file(...pieces)), { code: DAMAGED, message }, `${module}.${name}`)
    t.throws(() => read(file(dict(text('a'), weight, text('b'), ...pieces))), { code: DAMAGED, message })
  }
  for (const [module, name] of [
    ['os', 'system'],
    ['posix', 'system'],
    ['builtins', 'eval'],
    ['__builtin__', 'exec'],
    ['subprocess', 'Popen'],
    ['torch', 'load'],
    ['torch', 'hub.load'],
    ['torch._utils', '__builtins__'],
    ['collections', 'namedtuple'],
    ['__proto__', 'constructor'],
    ['torch', 'constructor'],
  ] as const) {
    refused(module, name, call(global(module, name), text('touch owned')))
    refused(module, name, bytes(text(module), text(name), 0x93, tuple(text('touch owned')), 'R')) // STACK_GLOBAL
    refused(module, name, bytes(global(module, name), tuple(), 0x81)) // NEWOBJ
  }
  t.throws(() => openPytorch(join(FOLDER, 'module-zip.pt')), { message: /torch\.nn\.modules\.container\.Sequential/ })
  for (const name of ['zip', 'legacy']) {
    t.throws(() => openPytorch(join(FOLDER, `counterexample-${name}.pt`)), { message: /UserDict/ })
  }
})

t.test('opcodes and pickles that are refused say where', async (t) => {
  const cases: [Buffer, RegExp][] = [
    [bytes(0xff), /opcode 0xff at byte 2: it is unknown/],
    [bytes('(ios\nsystem\n'), /opcode 0x69 at byte 3: it is INST/],
    [bytes('(o'), /it is OBJ/],
    [bytes(0x82, 1), /it is EXT1/],
    [bytes(0x97), /it is NEXT_BUFFER/],
    [bytes('I1\n'), /it is INT of protocol 0/],
    [bytes(0x80, 9), /protocol 9 is not one of 2 to 5/],
    [bytes('h\x07'), /the memo holds nothing at 7/],
    [bytes('q\0'), /the stack is empty/],
    [bytes('R'), /the stack is empty/],
    [bytes('t'), /there is no mark/],
    [bytes('NN'), /values are left on the stack/],
    [bytes('X\xff\xff\xff\x7f'), /needs 2147483647 more bytes/],
    [bytes(0x8d, '\xff\xff\xff\xff\xff\xff\xff\xff'), /a length of .* is impossible/],
    [bytes(0x8b, '\xff\xff\xff\x7f'), /an integer of 2147483647 bytes is too large/],
    [bytes('X\x01\0\0\0\xff'), /not valid UTF-8/],
    [bytes('cos'), /a name has no end/],
    [call(text('os.system'), text('x')), /"os\.system" cannot be called/],
    [bytes(global('torch', 'FloatStorage'), ')R'), /torch\.FloatStorage cannot be called/],
    [bytes(weight, dict(), 'b'), /takes no state/],
    [bytes(int(1), int(2), 'a'), /cannot be appended to 1/],
    [bytes(dict(dict(), 'N')), /a dict of 0 cannot be a key/],
    [bytes('}(NNNu'), /a key has no value/],
    [bytes(text('x'), 'Q'), /"x" names no storage/],
    [bytes(tuple(text('module'), 'N', 'N', 'N'), 'Q'), /a whole module/],
    [bytes(tuple(text('storage'), global('torch', 'Size'), text('0'), 'N', int(4)), 'Q'), /no type of storage/],
    [storage(-1), /a whole number from 0 for the number of elements but received -1/],
    [bytes(storage(4), storage(5)), /storage "0" is described twice/],
    [bytes('('.repeat(5000)), /nested more than 1000 deep/],
  ]
  for (const [value, message] of cases) t.throws(() => read(file(value)), { code: DAMAGED, message }, String(message))
})

t.test('tensors and storages that contradict the file', async (t) => {
  const cases: [Buffer, RegExp][] = [
    [tensor(storage(4), [5], [1]), /reaches element 5 of storage "0", which has 4/],
    [tensor(storage(4), [2], [2 ** 40]), /reaches element/],
    [tensor(storage(4), [1], [1], 4), /reaches element 5/],
    [tensor(storage(4), [-1], [1]), /for a size but received -1/],
    [tensor(storage(4), [2, 2], [1]), /2 sizes .* and 1 strides/],
    [tensor(storage(4), Array(65).fill(1) as number[], Array(65).fill(1) as number[]), /65 sizes \(at most 64\)/],
    [tensor(storage(4), [2 ** 40, 2 ** 40], [0, 0]), /is too large/],
    [tensor(storage(4), [2 ** 31], [0]), /take more than \d+ bytes, 16 times the file/],
    [tensor(storage(5), [5], [1]), /should have 20 bytes, but has 16/],
    [tensor(storage(2 ** 50), [2 ** 50], [1]), /should have|take more/],
    [tensor(storage(4, '7'), [4], [1]), /storage "7" is not in it/],
    [tensor(storage(4, '../data.pkl'), [4], [1]), /is not in it|should have/],
    [dict(text('a'), dict(text('b'), weight), text('a.b'), weight), /two of its tensors are named "a\.b"/],
    [dict(text('a'.repeat(5000)), weight), /a name has 5000 characters/],
    [dict(text('a'), int(1)), /holds no tensors/],
  ]
  for (const [value, message] of cases) t.throws(() => read(file(value)), { code: DAMAGED, message }, String(message))
})

t.test('loops, deep nesting and values shared without end stop at a number of steps', async (t) => {
  const self = bytes(']q\0', weight, 'ah\0a') // a list that holds a tensor and itself
  t.throws(() => read(file(self)), { code: DAMAGED, message: /nested more than 64 deep/ })
  t.throws(() => read(file(dict(text('state_dict'), bytes('}q\0', text('a'), 'h\0s')))), { message: /64 deep/ })
  const deep = bytes(']'.repeat(200_000), weight, 'a'.repeat(200_000))
  t.throws(() => read(file(deep)), { code: DAMAGED, message: /nested more than 64 deep/ })
  let laughs = bytes(']', weight, 'aq\0')
  for (let i = 0; i < 30; i++) laughs = bytes(laughs, `0](${`h${String.fromCharCode(i)}`.repeat(10)}eq`, i + 1)
  t.throws(() => read(file(laughs)), { code: DAMAGED, message: /more than 1048576 values/ })
  const many = bytes(`](${'N'.repeat(1000)}`, ']'.repeat(3_000_000), 'e')
  t.throws(() => read(file(many)), { code: DAMAGED, message: /makes more than 1048576 values/ })
  const large = bytes('](', 'N'.repeat(500_000), 'eq\0', 0x85, 'q', 1, '0')
  const copies = bytes(large, global('torch', 'Size'), 'q', 2, '0', 'h\x02h\x01R0'.repeat(1000), 'N')
  t.throws(() => read(file(copies)), { code: DAMAGED, message: /makes more than/ })
  let names = bytes(']', weight, 'aq\0')
  for (let i = 0; i < 4; i++)
    names = bytes(
      names,
      `0}(${Array.from({ length: 10 }, (_, k) => text(`${k}`.repeat(900)).toString('latin1') + `h${String.fromCharCode(i)}`).join('')}uq`,
      i + 1,
    )
  t.throws(() => read(file(names)), { code: DAMAGED, message: /names take more than/ })
})

t.test('archives that lie', async (t) => {
  const data = pickle(dict(text('a'), weight))
  const values = floats(1, 2, 3, 4)
  const main = { name: 'archive/data.pkl', data }
  const cases: [string, Buffer, RegExp, string?][] = [
    [
      'bomb',
      zip([{ ...main, data: Buffer.concat([data, Buffer.alloc(1 << 22)]), deflate: true, size: data.length }]),
      /inflates to more than the declared/,
    ],
    ['declared bomb', zip([{ ...main, deflate: true, size: 2 ** 31 }]), /would have 2147483648 bytes, and at most/],
    ['short', zip([{ ...main, deflate: true, size: data.length + 1 }]), /inflates to \d+ bytes, not/],
    ['no deflate data', zip([{ ...main, method: 8 }]), /cannot be inflated/],
    ['beyond the file', zip([{ ...main, size: 1e9, compressed: 1e9 }]), /would be bytes \d+ to \d+ of a file of/],
    ['stored sizes', zip([{ ...main, size: 5 }]), /stored as it is, but has/],
    ['offset', zip([{ ...main, offset: 1e9 }]), /of a file of \d+ bytes/],
    ['zip64 offset', zip([{ ...main, offset: 2 ** 52 }], { zip64: true }), /of a file of \d+ bytes/],
    ['zip64 too large', zip([{ ...main, offset: 2 ** 60 }], { zip64: true }), /no valid zip64 sizes/],
    ['wrong place', zip([{ ...main, offset: 1 }]), /there is no header/],
    ['names', zip([{ ...main, localName: 'archive/data.pkk' }]), /contradicts the directory/],
    ['twice', zip([main, main]), /holds "archive\/data\.pkl" twice/],
    ['checksum', zip([{ ...main, crc: 1 }]), /has the checksum [0-9a-f]{8} instead of 00000001/],
    ['encrypted', zip([{ ...main, flags: 1 }]), /is encrypted/, 'ERR_ICONFACE_UNSUPPORTED'],
    ['method', zip([{ ...main, method: 12 }]), /compression method 12/, 'ERR_ICONFACE_UNSUPPORTED'],
    [
      'TorchScript',
      zip([main, { name: 'archive/constants.pkl', data }]),
      /is a TorchScript/,
      'ERR_ICONFACE_UNSUPPORTED',
    ],
    ['two pickles', zip([main, { name: 'other/data.pkl', data }]), /2 of its 2 entries/],
    ['no pickle', zip([{ name: 'readme', data }]), /0 of its 1 entries/],
    ['trailing', checkpoint(bytes(data, 'x'), [values]), /goes on after its end/],
  ]
  for (const [name, archive, message, code = DAMAGED] of cases)
    t.throws(() => contents(archive), { code, message }, name)
  const inner = zip([{ name: 'archive/data/0', data: values }]).subarray(0, 30 + 14 + 16)
  const outer = { name: 'archive/x', data: inner }
  const overlapping = zip([
    main,
    outer,
    { name: 'archive/data/0', data: values, offset: 30 + main.name.length + data.length + 30 + 9 },
  ])
  t.throws(() => read(overlapping), { code: DAMAGED, message: /they overlap/ })
  const flipped = file(dict(text('a'), weight))
  flipped[flipped.indexOf(values)]! ^= 1
  t.throws(() => contents(flipped), { code: DAMAGED, message: /has the checksum/ }, 'a bit of a weight')
  t.equal(crc32(Buffer.from('123456789')), 0xcbf43926)
})

t.test('files of other kinds', async (t) => {
  t.throws(() => read(Buffer.alloc(0)), { code: DAMAGED, message: /begins with nothing/ })
  t.throws(() => read(Buffer.from('{"a":1}')), { code: DAMAGED, message: /neither a zip archive nor a pickle/ })
  t.throws(() => read(pickle(int(1))), { code: DAMAGED, message: /magic number/ })
  t.throws(() => openPytorch(FOLDER), { code: 'ERR_ICONFACE_IO', message: /not a regular file/ })
  t.throws(() => openPytorch(join(FOLDER, 'gone')), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
})

t.test('cut at every byte, and continued', async (t) => {
  for (const name of ['nested-zip.pt', 'nested-legacy.pt', 'views-legacy.pt', 'lightning-zip.pt']) {
    const whole = fixture(name)
    let accepted = 0
    for (let length = 0; length < whole.length; length++) {
      const complaint = failure(memorySource(whole.subarray(0, length), 'file.pt'))
      if (complaint === 'accepted') accepted++
      else if (complaint) t.fail(`${name} cut at ${length}: ${complaint}`)
    }
    t.equal(accepted, 0, `${name}: ${whole.length} lengths`)
    t.throws(() => read(Buffer.concat([whole, Buffer.alloc(1)])), { code: DAMAGED }, 'one byte more')
  }
})

/**
 * Bytes as a source that counts what is read of it: work that grows without bound reads, or is counted by the reader.
 */
function countedSource(file: Buffer): ByteSource & { bytesRead: number } {
  const source = memorySource(file, 'file.pt')
  const counted = {
    ...source,
    bytesRead: 0,
    read(offset: number, bytes: number, what: string) {
      counted.bytesRead += bytes
      return source.read.call(counted, offset, bytes, what)
    },
  }
  return counted
}

/** `undefined` for a clear error, `accepted` when every promise is kept, else what went wrong. */
function failure(source: ByteSource): string | undefined {
  try {
    for (const [name, tensor] of readPytorch(source).tensors) {
      const size = (tensor.shape.reduce((a, b) => a * b, 1) * dtypeBits(tensor.dtype)) / 8
      if (tensor.read().length !== size || tensor.bytes !== size) return `${name} has not ${size} bytes`
    }
    return 'accepted'
  } catch (error) {
    const known = isIConFaceError(error) && [DAMAGED, 'ERR_ICONFACE_UNSUPPORTED'].includes(error.code)
    return known && error.message ? undefined : error instanceof Error ? error.stack : String(error)
  }
}

/** Whole files, and archives whose pickle alone is altered (otherwise its checksum ends most of them). */
const SEEDS = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.pt'))
  .sort()
const TOKENS = [
  '.',
  '(',
  ')',
  ']',
  '}',
  'N',
  'R',
  'Q',
  'b',
  'a',
  'e',
  's',
  'u',
  't',
  '0',
  '1',
  '2',
  'h\0',
  'q\0',
  'r\xff\xff\xff\xff',
  'J\xff\xff\xff\xff',
  'J\xff\xff\xff\x7f',
  'X\xff\xff\xff\xff',
  '\x81',
  '\x85',
  '\x86',
  '\x87',
  '\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f',
  '\x8b\xff\xff\xff\xff',
  '\x93',
  '\x94',
  '\x95',
  'cos\nsystem\n',
  'PK\x01\x02',
  'PK\x03\x04',
  'PK\x05\x06',
  '\xff\xff\xff\xff',
].map((token) => Buffer.from(token, 'latin1'))

function mutated(index: number): Buffer {
  const random = numbers(index)
  const whole = fixture(SEEDS[random(SEEDS.length)]!)
  if (whole[0] === 0x80 || random(2) === 0) return mutate(whole, random)
  const source = memorySource(whole, 'seed')
  return zip(
    [...readZipEntries(source).values()].map((entry) => {
      const data = readZipEntry(source, entry, 1e6)
      return { name: entry.name, data: entry.name.endsWith('data.pkl') ? mutate(data, random) : data }
    }),
  )
}

function mutate(original: Buffer, random: (below: number) => number): Buffer {
  let file = Buffer.from(original)
  for (let changes = 1 + random(4); changes > 0; changes--) {
    const at = random(file.length)
    const token = TOKENS[random(TOKENS.length)]!
    const kind = random(5)
    if (kind === 0) file[at]! ^= 1 << random(8)
    else if (kind === 1) file[at] = random(256)
    else if (kind === 2) token.copy(file, at)
    else if (kind === 3) file = Buffer.concat([file.subarray(0, at), token, file.subarray(at + random(8))])
    else file = Buffer.concat([file.subarray(0, at), file.subarray(random(file.length))])
    if (file.length === 0) return file
  }
  return file
}

t.test(`${CASES} mutated files`, async (t) => {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  let accepted = 0
  let most = 0
  try {
    for (let i = FIRST; i < FIRST + CASES; i++) {
      const file = mutated(i)
      const source = countedSource(file)
      const complaint = failure(source)
      most = Math.max(most, source.bytesRead / file.length)
      if (complaint === 'accepted') accepted++
      else if (complaint) t.fail(`mutation ${i}: ${complaint}`)
    }
  } finally {
    Error.stackTraceLimit = limit
  }
  t.ok(most < 20, `no file is read more than 20 times over: ${most.toFixed(1)}`)
  t.ok(accepted > CASES / 100 && accepted < CASES / 2, `${accepted} accepted: acceptance is tested too`)
})
