// Whatever is quoted in a message is cut: no value makes a message long.
import t from 'tap'
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openCheckpoint } from '../dist/checkpoint/open.js'
import { openSafetensors } from '../dist/formats/safetensors.js'
import { degrade } from '../dist/degrade/index.js'
import { IConFace, IConFaceError, IConFaceWarning, restore } from '../dist/index.js'
import { OpContext } from '../dist/ops/index.js'
import { pairedCases } from '../dist/evaluate/index.js'
import { scratchFolder } from './fixtures/fake'

const MAIN = join(__dirname, '..', 'dist', 'cli', 'main.js')
const scratch = scratchFolder()
const MILLION = 'x'.repeat(1_000_000)
const WORDS = 'some words '.repeat(100_000)
/** Room for a value or two, and for what is known instead. */
const LONGEST = 1500

t.test('errors of every part', async (t) => {
  const header = (json: string) => {
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(json.length))
    return Buffer.concat([length, Buffer.from(json)])
  }
  const file = (name: string, content: string | Buffer) => {
    writeFileSync(join(scratch, name), content)
    return join(scratch, name)
  }
  const model = (name: string, config: object) => {
    mkdirSync(join(scratch, name))
    file(join(name, 'iconface.json'), JSON.stringify(config))
    return join(scratch, name)
  }
  const ops = new OpContext({ threads: 1 })
  t.teardown(() => ops.dispose())
  for (const [kind, value] of Object.entries({ MILLION, WORDS })) {
    const cases: Record<string, () => unknown> = {
      'a picture': () => restore(value),
      'a model': () => restore(Buffer.of(1), [], { model: value }),
      'a folder': () => IConFace.load(value),
      'an option': () => restore(Buffer.of(1), [], { [value]: value } as object),
      'the name of a choice': () => restore(Buffer.of(1), [], { rng: value } as object),
      'a device': () => IConFace.load(scratch, { device: value }),
      'a pipeline': () => degrade(Buffer.of(1), { strength: 1, seed: 1, pipeline: value as 'bsrgan' }),
      pairs: () => pairedCases(value),
      'a key of iconface.json': () => openCheckpoint(model(`key-${kind}`, { format: 1, [value]: 1 })),
      'a file of iconface.json': () =>
        openCheckpoint(model(`file-${kind}`, { format: 1, name: value, transformer: { file: value } })),
      'a tensor': () =>
        openSafetensors(
          file(`name-${kind}`, header(JSON.stringify({ [value]: { dtype: 'F32', shape: [1], data_offsets: [0, 1] } }))),
        ),
      'a type': () =>
        openSafetensors(
          file(`type-${kind}`, header(JSON.stringify({ a: { dtype: value, shape: [1], data_offsets: [0, 4] } }))),
        ),
      'an operation': () => (ops as unknown as { run(k: string, t: object): unknown }).run(value, {}),
      'a text of the addon': () => {
        throw Object.assign(new IConFaceError('ERR_ICONFACE_INTERNAL', `native: ${value}`))
      },
    }
    for (const [what, call] of Object.entries(cases)) {
      const error = await (async () => call())().then(
        () => null,
        (e: unknown) => e as IConFaceError,
      )
      t.match(error?.code, /^ERR_ICONFACE_/, `${what} (${kind})`)
      const limit = what === 'a text of the addon' ? 4100 : LONGEST
      t.ok(
        error && error.message.length <= limit,
        `${what} (${kind}): ${error?.message.length} characters, ${error?.message.slice(0, 120)}`,
      )
    }
  }
  t.ok(new IConFaceWarning('WARN_ICONFACE_DAMAGED', MILLION).message.length <= 100)
})

t.test('the command line', async (t) => {
  const long = 'x'.repeat(100_000) // the system takes 131,071 bytes an argument
  for (const args of [
    [long],
    ['restore', long],
    ['restore', `--${long}`],
    ['restore', long, '-o', 'out.png'],
    ['restore', MAIN, '-o', `${long}.png`],
    ['restore', MAIN, '-o', `out.${long}`],
    ['restore', MAIN, '-o', 'out.png', '--steps', long],
    ['evaluate', '--pairs', long],
    ['inspect', long],
    ['degrade', long, '-o', 'x.png', '--strength', '1'],
    ['convert', long, 'x.safetensors'],
    ['prepare', long, '--out', join(scratch, 'out')],
  ]) {
    const { status, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', cwd: scratch })
    const what = args.map((arg) => arg.slice(0, 20)).join(' ')
    t.ok(status === 1 || status === 2, what)
    t.match(stderr, /^iconface: ERR_ICONFACE_(?!INTERNAL)/, what)
    t.ok(stderr.length <= LONGEST, `${what}: ${stderr.length} characters`)
  }
})
