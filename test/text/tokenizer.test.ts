// Prompts to tokens: by a small tokenizer of Qwen's kind, and whatever a file may hold instead.
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { isIConFaceError } from '../../dist/index.js'
import { chatText } from '../../dist/text/chat.js'
import { PromptTokenizer } from '../../dist/text/tokenizer.js'
import { numbers } from '../fixtures/mutate'
import { smallTokenizer } from '../fixtures/qwen'

const folder = t.testdir({})
const code = 'ERR_ICONFACE_INVALID_CHECKPOINT'
const parse = (json: unknown) => PromptTokenizer.parse(json, 'tokenizer.json')

t.test('words, bytes and special tokens', async (t) => {
  const json = smallTokenizer()
  const tokenizer = parse(json)
  const ids = (...tokens: string[]) =>
    tokens.map((token) => json.added_tokens.find(({ content }) => content === token)?.id ?? json.model.vocab[token])
  t.same(tokenizer.encode('photo of me'), ids('photo', 'Ġof', 'Ġme'))
  t.same(tokenizer.encode('photo 12'), ids('photo', 'Ġ', '1', '2'), 'digits one by one')
  t.same(tokenizer.encode("I'M"), ids('I', "'", 'M'))
  t.same(tokenizer.encode('user\n\n'), ids('user', 'ĊĊ'))
  t.same(tokenizer.encode('<|im_end|>user<think>'), ids('<|im_end|>', 'user', '<think>'))
  t.same(tokenizer.encode('é'), tokenizer.encode('e\u0301'), 'composed')
  t.same(tokenizer.encode('é'), ids('Ã', '©'), 'bytes')
  t.equal(tokenizer.encode('\0\x85\xad\u{1f600}').length, 1 + 2 + 2 + 4, 'no byte is lost')
  t.same(tokenizer.encode(''), [])
  const listed = { ...json, model: { ...json.model, merges: json.model.merges.map((m) => (m as string).split(' ')) } }
  t.same(parse(listed).encode('photo of me'), ids('photo', 'Ġof', 'Ġme'), 'merges as lists')

  t.equal(chatText('hi'), '<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n')
  const template = ids(
    '<|im_start|>',
    'user',
    'Ċ',
    'photo',
    '<|im_end|>',
    'Ċ',
    '<|im_start|>',
    'assistant',
    'Ċ',
    '<think>',
    'ĊĊ',
    '</think>',
    'ĊĊ',
  )
  const padded = tokenizer.encodePrompt('photo', 16)
  t.same([...padded.ids], [...template, ...Array.from({ length: 3 }, () => ids('<|endoftext|>')[0])])
  t.equal(padded.real, 13)
  t.equal(tokenizer.encodePrompt('aaaa', 16).real, 16)
  const long = () => tokenizer.encodePrompt('aaaaa', 16)
  t.throws(long, { code: 'ERR_ICONFACE_INVALID_ARGUMENT', message: /at most 4 tokens .* received "5 tokens"/ })
})

t.test('files that are no tokenizer, or of another model', async (t) => {
  type Small = ReturnType<typeof smallTokenizer>
  const refused = (change: (json: Small) => unknown, message: RegExp) => {
    const json = smallTokenizer()
    t.throws(() => parse(change(json) ?? json), { code, message }, String(message))
  }
  refused(() => 7, /the file is 7/)
  refused(() => [], /the file is \[\]/)
  refused(() => ({}), /model is undefined/)
  refused((j) => void (j.model.type = 'Unigram'), /its model is "Unigram"/)
  refused((j) => void Object.assign(j.model, { byte_fallback: true }), /byte_fallback/)
  refused((j) => void Object.assign(j.model, { vocab: [] }), /model\.vocab/)
  refused((j) => void delete j.model.vocab['Ġ'], /lacks "Ġ", which stands for a byte/)
  for (const id of [-1, 1.5, 1e9, NaN, '3', null])
    refused((j) => void Object.assign(j.model.vocab, { a: id }), /the token "a" has the id/)
  refused((j) => void Object.assign(j.model.vocab, { a: j.model.vocab.b }), /two tokens .* have the id/)
  refused((j) => void Object.assign(j.model, { merges: {} }), /merges/)
  for (const merge of ['ab', 'a b c', 'q z', 7, ['a'], ['a', 7], null])
    refused((j) => void (j.model.merges[0] = merge), /its merge 0, .* is no pair/)
  refused((j) => void Object.assign(j, { added_tokens: 'none' }), /added_tokens/)
  refused((j) => void j.added_tokens.pop(), /no token <\/think>/)
  refused((j) => void (j.added_tokens[1]!.id = 2 ** 40), /has the id/)
  refused((j) => void (j.added_tokens[1]!.content = ''), /content ""/)
  refused((j) => void (j.added_tokens[1]!.lstrip = true), /lstrip/)
  refused((j) => void j.added_tokens.push({ ...j.added_tokens[0]!, content: 'a' }), /"a" has the ids/)
  refused((j) => void (j.normalizer = { type: 'NFKC' }), /normalizer is "NFKC"/)
  refused((j) => void (j.normalizer = null), /normalizer is null/)
  refused((j) => void (j.pre_tokenizer.pretokenizers[0]!.pattern = { Regex: '(a+)+$' }), /by "\(a\+\)\+\$" instead/)
  refused((j) => void j.pre_tokenizer.pretokenizers.pop(), /two steps/)
  refused((j) => void (j.pre_tokenizer.pretokenizers[1]!.use_regex = true), /ByteLevel/)
})

t.test('damaged files', async (t) => {
  const file = join(folder, 'tokenizer.json')
  const text = JSON.stringify(smallTokenizer())
  for (let cut = 0; cut < text.length; cut += 97) {
    writeFileSync(file, text.slice(0, cut))
    t.throws(() => PromptTokenizer.open(file), { code, message: /tokenizer\.json is no valid JSON/ })
  }
  writeFileSync(file, '['.repeat(1 << 20))
  t.throws(() => PromptTokenizer.open(file), { code }, 'deep')
  writeFileSync(file, text)
  truncateSync(file, (64 << 20) + 1)
  t.throws(() => PromptTokenizer.open(file), { code, message: /has 67108865 bytes, more than/ })
  mkdirSync(join(folder, 'folder.json'))
  t.throws(() => PromptTokenizer.open(join(folder, 'folder.json')), { code: 'ERR_ICONFACE_IO' })
  t.throws(() => PromptTokenizer.open(join(folder, 'none.json')), { code: 'ERR_ICONFACE_FILE_NOT_FOUND' })
})

const ODD = [
  null,
  true,
  -1,
  0.5,
  1e300,
  '',
  'a',
  '\0',
  '__proto__',
  [],
  [[]],
  {},
  ['a', 'b'],
  { type: 'BPE' },
  'x'.repeat(500),
]

/** Puts something odd in the place of a value somewhere inside, or leaves a value out. */
function mutateInside(json: object, random: (below: number) => number): void {
  const inside = json as Record<string, unknown>
  const keys = Object.keys(inside)
  const key = keys[random(keys.length)]
  if (key === undefined) return
  const value = inside[key]
  if (typeof value === 'object' && value !== null && random(6) > 0) mutateInside(value, random)
  else if (random(4) === 0 && !Array.isArray(json)) delete inside[key]
  else inside[key] = ODD[random(ODD.length)]
}

function mutateText(text: Buffer, random: (below: number) => number): Buffer {
  const at = random(text.length)
  if (random(2) === 0)
    return Buffer.concat([text.subarray(0, at), Buffer.from([32 + random(95)]), text.subarray(at + 1)])
  const pieces = ['"', '{}', '[]', 'null', '-1', '1e999', '"\\u0000"', '[[', '9'.repeat(30), '"a"', ',']
  const piece = Buffer.from(pieces[random(pieces.length)]!)
  return Buffer.concat([text.subarray(0, at), piece, text.subarray(at + random(12))])
}

t.test('two thousand mutated files: an error of ours, or a tokenizer that works', async (t) => {
  const counts = { good: 0, bad: 0 }
  const text = Buffer.from(JSON.stringify(smallTokenizer()))
  for (let index = 0; index < 2000; index++) {
    const random = numbers(index)
    try {
      const json = JSON.parse((index % 2 === 0 ? text : mutateText(text, random)).toString()) as object
      if (index % 2 === 0) for (let changes = 1 + random(3); changes > 0; changes--) mutateInside(json, random)
      const { ids } = parse(json).encodePrompt('a photo of me, 12\n', 64)
      if (![...ids].every((id) => Number.isInteger(id) && id >= 0)) t.fail(`mutation ${index} made impossible ids`)
      counts.good++
    } catch (error) {
      const ours = isIConFaceError(error) || error instanceof SyntaxError // of JSON.parse, which open() turns into ours
      if (!ours) t.fail(`mutation ${index}: ${String(error)}`)
      counts.bad++
    }
  }
  t.ok(counts.good > 100 && counts.bad > 1000, JSON.stringify(counts))
})
