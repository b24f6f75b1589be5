// What a result says about the pictures it came from.
import t from 'tap'
import { join } from 'node:path'
import { plain, scratchFolder, started, useFakeAddon } from './fixtures/fake'

const addon = useFakeAddon()
const { synthesizeCheckpoint } =
  require('../dist/prepare/synthesize.js') as typeof import('../dist/prepare/synthesize.js')
const { ICONFACE_WARNING_CODES, IConFace } = require('../dist/index.js') as typeof import('../dist/index.js')
const { sizeWarnings } = require('../dist/picture/size.js') as typeof import('../dist/picture/size.js')
const { shapeWarnings } = require('../dist/picture/shape.js') as typeof import('../dist/picture/shape.js')

t.test('the shape of a picture: both sides of every limit', (t) => {
  const cases: [width: number, height: number, codes: string[]][] = [
    [512, 512, []],
    [512, 507, []],
    [512, 506, ['CROPPED']],
    [506, 512, ['CROPPED']],
    [640, 480, ['CROPPED']],
    [2048, 2048, []],
    [2049, 2049, ['REDUCED']],
    [4000, 3000, ['CROPPED', 'REDUCED']],
    [128, 128, []],
    [127, 127, ['ENLARGED']],
    [4000, 100, ['CROPPED', 'ENLARGED']],
  ]
  for (const [width, height, codes] of cases) {
    const found = shapeWarnings('input', { width, height }, 512)
    t.same(
      found.map(({ code }) => code),
      codes.map((code) => `WARN_ICONFACE_${code}`),
      `${width} x ${height}`,
    )
    for (const { code, message } of found) {
      t.ok(ICONFACE_WARNING_CODES.includes(code))
      t.match(message, new RegExp(`^input of ${width} x ${height} pixels is `))
    }
  }
  const [cropped, reduced] = shapeWarnings('reference 1', { width: 4000, height: 3000 }, 512)
  t.match(cropped!.message, /25 % of it, at the left and right, is cut away/)
  t.match(reduced!.message, /reduced 5\.9 times, to 512/)
  t.match(shapeWarnings('input', { width: 8, height: 16 }, 128)[0]!.message, /50 % of it, at the top and bottom/)
  t.match(shapeWarnings('input', { width: 8, height: 8 }, 128)[0]!.message, /enlarged 16 times, to 128/)
  t.equal(String(cropped), cropped!.message)
  t.same(Object.keys(JSON.parse(JSON.stringify(cropped)) as object), ['code', 'message'])
  t.end()
})

t.test('results carry the warnings of the model and of every picture, by name', async (t) => {
  const folder = join(scratchFolder(), 'tiny')
  await synthesizeCheckpoint('tiny', folder)
  await using model = await IConFace.load(folder)
  t.match(model.info.warnings, [{ code: 'WARN_ICONFACE_RANDOM_WEIGHTS', message: /has random weights/ }])
  const { size } = model.info.defaults
  const restore = async (options: object) => {
    const pictures = [plain(size, size, 7), plain(2 * size, size, 7)]
    const running = model.restore(plain(size, size, 9), pictures, { ...options, align: 'none' })
    ;(await started(addon, addon.fake.jobs.length + 1)).finish()
    return (await running).warnings.map(({ code, message }) => [code, message.split(' of ')[0]])
  }
  const random = ['WARN_ICONFACE_RANDOM_WEIGHTS', model.info.warnings[0]!.message]
  const cropped = ['WARN_ICONFACE_CROPPED', 'reference 2']
  t.same(await restore({}), [random, cropped])
  const enlarged = ['input', 'reference 1', 'reference 2'].map((name) => ['WARN_ICONFACE_ENLARGED', name])
  const far = ['WARN_ICONFACE_SIZE', sizeWarnings(8 * size, size)[0]!.message]
  t.same(await restore({ size: 8 * size }), [random, far, ...enlarged.slice(0, 2), cropped, enlarged[2]], 'size counts')
  const { warnings } = await model.embed(plain(size, 2 * size, 9), { align: 'none' })
  t.match(warnings, [{ code: 'WARN_ICONFACE_RANDOM_WEIGHTS' }, { message: /^image of / }])
  t.equal(warnings.length, 2)
})
