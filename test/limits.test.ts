// One number has one range, wherever it is met: in options, in iconface.json, on the command line, in native code.
import t from 'tap'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseModelConfig } from '../dist/checkpoint/config.js'
import { command as restoreCommand } from '../dist/cli/restore.js'
import { command as evaluateCommand } from '../dist/cli/evaluate.js'
import { command as benchCommand } from '../dist/cli/bench.js'
import { command as degradeCommand } from '../dist/cli/degrade.js'
import { checkDegradeOptions } from '../dist/degrade/index.js'
import { checkCounts, evaluate } from '../dist/evaluate/evaluate.js'
import { syntheticCases } from '../dist/evaluate/synthetic.js'
import { allocateImage, type IConFace, IConFaceError, isIConFaceError } from '../dist/index.js'
import { openCheckpoint } from '../dist/checkpoint/open.js'
import { expectedOf, isWithin, type Limit, LIMITS } from '../dist/limits.js'
import { loadAddon, type NativeSession } from '../dist/native.js'
import { checkCompute, checkLoadOptions, checkRestoreOptions, checkSeed } from '../dist/options.js'
import { portraitIdentity } from '../dist/portraits/index.js'
import { plain, scratchFolder } from './fixtures/fake'
import { tinyModel } from './fixtures/tiny'
import sharp from 'sharp'

const scratch = scratchFolder()
const photo = join(scratch, 'photo.png')
let folder: string
let defaults: (values: object) => unknown
let session: NativeSession
const never = new AbortController().signal

t.before(async () => {
  folder = await tinyModel()
  const config = JSON.parse(await readFile(join(folder, 'iconface.json'), 'utf8')) as object
  defaults = (values) => parseModelConfig({ ...config, defaults: values }, join(folder, 'iconface.json'))
  session = new (loadAddon().Session)({ threads: 1, checkpoint: openCheckpoint(folder) })
  await session.load()
  const { data, ...raw } = plain(16, 16, 90)
  await sharp(data, { raw }).png().toFile(photo)
})
t.teardown(() => session.dispose())

/** Where each limit is met. A place that accepts a value may fail for another reason: without its model, say. */
const PLACES: Record<string, [limit: Limit, places: Record<string, (value: number) => unknown>]> = {
  steps: [
    LIMITS.steps,
    {
      options: (steps) => checkRestoreOptions({ steps }),
      'iconface.json': (steps) => defaults({ steps }),
      'restore --steps': (steps) => restoreCommand.run(restoreArguments('--steps', steps), never),
      'evaluate --steps': (steps) => evaluateCommand.run(evaluateArguments('--steps', steps), never),
      'native code': (steps) => session.estimate({ ...job(), steps }),
    },
  ],
  guidance: [
    LIMITS.guidance,
    {
      options: (guidance) => checkRestoreOptions({ guidance }),
      'iconface.json': (guidance) => defaults({ guidance }),
      'restore --guidance': (guidance) => restoreCommand.run(restoreArguments('--guidance', guidance), never),
      'evaluate --guidance': (guidance) => evaluateCommand.run(evaluateArguments('--guidance', guidance), never),
      'native code': (guidance) => session.estimate({ ...job(), guidance }),
    },
  ],
  size: [
    LIMITS.size,
    {
      options: (size) => checkRestoreOptions({ size }),
      'iconface.json': (resolution) => defaults({ resolution }),
      'restore --size': (size) => restoreCommand.run(restoreArguments('--size', size), never),
      'native code': (size) => session.estimate({ ...job(), size }),
    },
  ],
  seed: [
    LIMITS.seed,
    {
      options: (seed) => checkRestoreOptions({ seed }),
      'iconface.json': (seed) => defaults({ seed }),
      degrade: (seed) => checkDegradeOptions({ strength: 1, seed }),
      portraits: (seed) => portraitIdentity(seed),
      generators: (seed) => checkSeed(seed),
    },
  ],
  references: [
    LIMITS.references,
    {
      options: (maxReferences) => checkLoadOptions({ maxReferences }),
      'native code': (references) => session.estimate({ ...job(), references }),
    },
  ],
  threads: [
    LIMITS.threads,
    {
      options: (threads) => checkLoadOptions({ threads }),
      'networks and operations': (threads) => checkCompute({ threads }),
      'native threads': (threads) => new (loadAddon().Session)({ threads }).dispose(),
      'bench --threads': (threads) => benchCommand.run(['flow_step', '--quick', `--threads=${threads}`], never),
    },
  ],
  'references of an evaluation': [
    LIMITS.evaluatedReferences,
    {
      evaluate: (count) => checkCounts([count]),
      'drawn people': (references) => syntheticCases({ count: 1, references }),
      'evaluate --references': (references) =>
        evaluateCommand.run(evaluateArguments('--references', references), never),
    },
  ],
  'seed of an evaluation': [
    LIMITS.baseSeed,
    {
      evaluate: (seed) => evaluate(stub, [unreadable], { seed }),
      'drawn people': (seed) => syntheticCases({ count: 1, seed }),
    },
  ],
  'drawn people': [
    LIMITS.people,
    {
      options: (count) => syntheticCases({ count, severities: ['mild'] }),
      'evaluate --synthetic': (count) => evaluateCommand.run([`--synthetic=${count}`, '-m', 'none'], never),
    },
  ],
  strength: [
    LIMITS.strength,
    {
      options: (strength) => checkDegradeOptions({ strength, seed: 1 }),
      'degrade --strength': (strength) =>
        degradeCommand.run(['none.png', '-o', join(scratch, 'out.png'), `--strength=${strength}`], never),
    },
  ],
  'sides of raw pictures': [
    LIMITS.side,
    { width: (side) => allocateImage(side, 1), height: (side) => allocateImage(1, side) },
  ],
}

const stub = { restore() {}, embed() {}, info: { defaults: { size: 32 } } } as unknown as IConFace
const unreadable = {
  name: 'one',
  severity: 'none',
  references: 0,
  load: () => Promise.reject(new IConFaceError('ERR_ICONFACE_IO', 'it cannot be read')),
}

const job = () => ({
  references: 1,
  size: 32,
  steps: 2,
  guidance: 4,
  variant: { identity: true, structure: 'full' as const, references: true },
})
const restoreArguments = (name: string, value: number) => [
  photo,
  '-o',
  join(scratch, 'out.png'),
  '-m',
  'none',
  `${name}=${value}`,
]
const evaluateArguments = (name: string, value: number) => [
  '--synthetic',
  '1',
  '--severity',
  'mild',
  '-m',
  'none',
  `${name}=${value}`,
]

/** The values around a range, and whether they are in it. */
function values({ min, max, step }: Limit): [number, boolean][] {
  const beyond = step ?? 0.5
  const inside: [number, boolean][] = [min, max].map((value) => [value, true])
  const outside = [min - beyond, max + beyond, ...(step === undefined ? [] : [min + step / 2])]
  return [...inside, ...outside.map((value): [number, boolean] => [value, false])]
}

/** Whether the value was refused as one that no such number may have. */
async function refused(call: () => unknown, expected: string): Promise<boolean> {
  try {
    await call()
    return false
  } catch (error) {
    if (!isIConFaceError(error) && !(error as { code?: string }).code?.startsWith('ERR_ICONFACE_')) throw error
    const { code, message } = error as { code: string; message: string }
    return (
      /INVALID_(ARGUMENT|CHECKPOINT)/.test(code) &&
      (message.includes(expected) || /from \d+ to \d+|a multiple of \d+/.test(message))
    )
  }
}

for (const [name, [limit, places]] of Object.entries(PLACES)) {
  t.test(`${name}: ${expectedOf(limit)}`, async (t) => {
    for (const [place, call] of Object.entries(places))
      for (const [value, right] of values(limit)) {
        if (right && /^(bench|native threads)/.test(place)) continue // it would compute, or start so many
        t.equal(await refused(() => call(value), expectedOf(limit)), !right, `${place}: ${value}`)
      }
  })
}

t.test('the command line names the ranges', async (t) => {
  for (const limit of [LIMITS.steps, LIMITS.guidance, LIMITS.size])
    t.ok(restoreCommand.usage.includes(`${limit.min} to ${limit.max}`), `${limit.min} to ${limit.max}`)
  for (const limit of [LIMITS.steps, LIMITS.guidance])
    t.ok(evaluateCommand.usage.includes(`${limit.min} to ${limit.max}`))
})

t.test('what is in a range', async (t) => {
  for (const value of [NaN, Infinity, '4', null, undefined, 4n, {}]) t.notOk(isWithin(value, LIMITS.guidance))
  t.ok(isWithin(-0, LIMITS.guidance))
  t.ok(isWithin(Number.MAX_SAFE_INTEGER, LIMITS.seed))
  t.notOk(isWithin(Number.MAX_SAFE_INTEGER + 1, LIMITS.seed))
})
