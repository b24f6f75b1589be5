// Values are judged by what they are, whichever realm made them: contexts of node:vm, and Jest's environments in them.
import t from 'tap'
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { createContext, runInContext } from 'node:vm'
import sharp from 'sharp'
import { psnr } from '../dist/evaluate/index.js'
import { describeValue } from '../dist/errors.js'
import { IConFace, type ImageInput, type Restoration, type RestoreOptions } from '../dist/index.js'
import { f32, OpContext, type Tensor } from '../dist/ops/index.js'
import { checkKnown } from '../dist/options.js'
import { isBytes, isRecord, isThenable, isUrl, messageOf, pathOfUrl } from '../dist/util/realm.js'
import { createRealm } from './fixtures/realm'
import { picture, QUICK, scratch, tinyModel } from './fixtures/tiny'

const DIST = join(__dirname, '..', 'dist')
const realm = createContext({ URL })
const there = <T>(code: string) => runInContext(code, realm) as T
const SIDE = 48
const image = picture(1, SIDE)
let png: Buffer
let model: IConFace
let expected: Uint8Array

t.before(async () => {
  const { data, width, height, channels } = image
  png = await sharp(data, { raw: { width, height, channels } }).png().toBuffer()
  writeFileSync(join(scratch, 'face.png'), png)
  model = await IConFace.load(await tinyModel(), { threads: 2 })
  expected = (await model.restore(image, [], QUICK)).data
})
t.teardown(() => model.dispose())

const restored = async (input: ImageInput, options: RestoreOptions = QUICK) =>
  Buffer.compare((await model.restore(input, [], options)).data, expected) === 0

t.test("a buffer of another realm, transferred and collected while it is read, is not the job's", async (t) => {
  const program = `
    const { createContext, runInContext } = require('node:vm')
    const { IConFace } = require(${JSON.stringify(join(DIST, 'index.js'))})
    const side = 4096 // large enough that its pages go away with the buffer
    const load = async () => {
      const model = await IConFace.load(${JSON.stringify(await tinyModel())}, { threads: 1 })
      const realm = createContext()
      const there = (kind) => runInContext('new ' + kind + '(' + side * side * 3 + ')', realm)
      const makers = [() => there('Uint8Array').fill(77), () => Buffer.from(there('ArrayBuffer')).fill(77)]
      const options = { steps: 1, size: 32 }
      const picture = (data) => ({ data, width: side, height: side, channels: 3 })
      const { data: expected } = await model.restore(picture(makers[0]()), [], options)
      for (const [i, make] of [...makers, ...makers, ...makers].entries()) {
        let data = make()
        let collecting
        const take = () => {
          if (data) structuredClone(data.buffer, { transfer: [data.buffer] })
          data = null
          gc()
          collecting ??= setInterval(gc, 1)
        }
        // At the call, and when the job has just begun.
        const onProgress = () => void setImmediate(take)
        const restoring = model.restore(picture(data), [], { ...options, onProgress })
        if (i < 2) take()
        const { data: result } = await restoring
        clearInterval(collecting)
        console.log(Buffer.compare(result, expected))
      }
      await model.dispose()
    }
    load()`
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '-e', program])
  t.equal(stdout, '0\n'.repeat(6))
})

t.test('pictures of another realm', async (t) => {
  Object.assign(realm, { bytes: png.toString('base64'), href: pathToFileURL(join(scratch, 'face.png')).href })
  Object.assign(realm, { atob })
  const encoded = 'Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))'
  t.ok(await restored(there<Uint8Array>(encoded)), 'encoded bytes')
  t.ok(await restored(there<Uint8Array>(`${encoded}.buffer`)), 'an encoded buffer')
  t.ok(await restored(there<URL>('new URL(href)')), 'a URL')
  t.ok(await restored(there<URL>("({ href, protocol: 'file:' })")), 'a URL of another implementation')
  const raw = there<{ data: Uint8Array }>(
    `Object.assign(Object.create(null), { data: new Uint8Array(${SIDE * SIDE * 3}), width: ${SIDE}, height: ${SIDE}, channels: 3 })`,
  )
  raw.data.set(image.data)
  t.ok(await restored(raw as unknown as ImageInput), 'pixels')
  const grey = { data: there<Uint8ClampedArray>(`new Uint8ClampedArray(${SIDE * SIDE})`), width: SIDE, height: SIDE }
  await model.restore({ ...grey, channels: 1 }, [], QUICK)
  const references = there<ImageInput[]>(`[${encoded}]`)
  await model.restore(image, references, QUICK)
  for (const url of ["'http://a/b'", "'file://host/face.png'", "'file:///a%2Fb'"]) {
    const wrong = there<URL>(`new URL(${url})`)
    await t.rejects(model.restore(wrong), { code: 'ERR_ICONFACE_INVALID_ARGUMENT', message: /a file: URL/ }, url)
  }
  const result = await model.restore(image, [], QUICK)
  const target = pathToFileURL(join(scratch, 'written.png')).href
  await result.toFile(there<URL>(`new URL(${JSON.stringify(target)})`))
  t.ok(readdirSync(scratch).includes('written.png'))
  t.equal(psnr(image, { ...image, data: raw.data }), Infinity)
})

t.test('options of another realm, without a prototype, of a class', async (t) => {
  const options = JSON.stringify(QUICK)
  t.ok(await restored(image, there(`(${options})`)))
  t.ok(await restored(image, there(`Object.assign(Object.create(null), ${options})`)))
  t.ok(await restored(image, there(`Object.assign(new (class Options {})(), ${options})`)))
  for (const wrong of [
    '[]',
    'new Map([["steps", 2]])',
    'new Date()',
    'Promise.resolve({})',
    'new Uint8Array(2)',
    '/a/',
    'new Error()',
    'null',
    '1',
  ]) {
    const error = { code: 'ERR_ICONFACE_INVALID_ARGUMENT', message: /expected an object for options/ }
    await t.rejects(model.restore(image, [], there(wrong)), error, wrong)
  }
  await t.rejects(model.restore(image, [], new AbortController().signal as RestoreOptions), /instance of AbortSignal/)
})

t.test('what callbacks of another realm give', async (t) => {
  const thrown = there<Error>('new Error("no more")')
  const rejecting = (code: string) => there<(error: Error) => () => Promise<void>>(code)(thrown)
  for (const callback of [
    '(error) => () => Promise.reject(error)',
    '(error) => () => ({ then: (_, reject) => reject(error) })',
    '(error) => () => { throw error }',
  ]) {
    const restoring = model.restore(image, [], { ...QUICK, onProgress: rejecting(callback) })
    t.equal(await restoring.catch((error: unknown) => error), thrown, callback)
  }
})

t.test('operands of another realm', async (t) => {
  const ops = new OpContext({ threads: 1 })
  t.teardown(() => ops.dispose())
  const there32 = there<Tensor>('({ dtype: "f32", shape: [2], data: Float32Array.of(1, 2) })')
  const { out } = await ops.run('add', { a: there32, b: f32([2], [10, 20]) })
  t.same([...(out.data as Float32Array)], [11, 22])
})

t.test('what things are', (t) => {
  const yes = (judge: (value: unknown) => boolean, ...codes: string[]) =>
    codes.forEach((code) => t.ok(judge(there(code)), code))
  const no = (judge: (value: unknown) => boolean, ...codes: string[]) =>
    codes.forEach((code) => t.notOk(judge(there(code)), code))
  yes(isBytes, 'new Uint8Array(1)', 'new Uint8ClampedArray(1)', 'new (class extends Uint8Array {})(1)')
  no(isBytes, 'new Int8Array(1)', '[1]', '({ length: 1, buffer: new ArrayBuffer(1) })', 'null', '"a"')
  yes(isUrl, 'new URL("file:///a")')
  no(isUrl, '({ href: 1, protocol: "file:" })', '"file:///a"', 'null', 'undefined')
  yes(isThenable, 'Promise.resolve()', '({ then() {} })')
  no(isThenable, '({ then: 1 })', 'null', '() => {}')
  yes(isRecord, '({})', 'Object.create(null)', 'new (class A {})()', 'new Proxy({}, {})')
  no(isRecord, '[]', 'new Set()', 'null', '(() => {})', 'new String("a")', 'new ArrayBuffer(1)')
  t.equal(messageOf(there('new TypeError("of there")')), 'of there')
  t.equal(messageOf(there('"text"')), 'text')
  t.equal(messageOf(there('undefined')), 'undefined')
  t.equal(messageOf(there('({ message: 1 })')), '[object Object]')
  t.equal(pathOfUrl(there('new URL("file:///a%20b")')), '/a b')
  t.equal(describeValue(there('new Uint8Array(3)')), 'a Uint8Array of 3 bytes')
  t.match(describeValue(there('Object.setPrototypeOf(new Uint8Array(3), null)')), /^a view of /)
  t.equal(describeValue(there('Object.create(null)')), 'an object')
  t.doesNotThrow(() => checkKnown('options', { a: 1 }, ['a']))
  t.end()
})

t.test('the package in a realm that is not the main one, as Jest loads it', async (t) => {
  const jest = createRealm()
  const { IConFace: There } = jest.load('index.js') as { IConFace: typeof IConFace }
  const loaded = await There.load(await tinyModel(), { threads: 2 })
  t.teardown(() => loaded.dispose())
  const same = ({ data }: Restoration) => t.ok(Buffer.compare(data, expected) === 0)
  const raw = (data: Uint8Array): ImageInput => ({ data, width: SIDE, height: SIDE, channels: 3 })
  same(await loaded.restore(raw(Buffer.from(image.data)), [], QUICK))
  same(
    await loaded.restore({ ...(raw(Uint8Array.from(image.data)) as object), transfer: true } as ImageInput, [], QUICK),
  )
  same(await loaded.restore(Buffer.from(png), [], QUICK))
  same(
    await loaded.restore(
      jest.evaluate(`new URL(${JSON.stringify(pathToFileURL(join(scratch, 'face.png')).href)})`) as URL,
      [],
      QUICK,
    ),
  )
  const result = await loaded.restore(image, [image], QUICK)
  t.ok((await result.toBuffer('png')).length > 0)

  const stop = jest.evaluate('new AbortController()') as AbortController
  const onProgress = () => stop.abort()
  await t.rejects(loaded.restore(image, [], { ...QUICK, signal: stop.signal, onProgress }), {
    code: 'ERR_ICONFACE_ABORTED',
  })
  const main = new AbortController()
  main.abort()
  await t.rejects(loaded.restore(image, [], { signal: main.signal }), { code: 'ERR_ICONFACE_ABORTED' })

  // Promises of the addon belong to the main realm: their rejections have to become errors of the package all the same.
  const { OpContext: ThereOps } = jest.load('ops/index.js') as { OpContext: typeof OpContext }
  const ops = new ThereOps({ threads: 1 })
  t.teardown(() => ops.dispose())
  const { isIConFaceError } = jest.load('errors.js') as { isIConFaceError(error: unknown): boolean }
  const refused: unknown = await ops.run('add', { a: f32([2], [1, 2]), b: f32([1], [1]) }).catch((e: unknown) => e)
  t.ok(isIConFaceError(refused), String(refused))

  const { degrade } = jest.load('degrade/index.js') as typeof import('../dist/degrade/index.js')
  const degraded = await degrade(Buffer.from(png), { strength: 6, seed: 1 })
  t.equal(degraded.data.length, image.data.length)
  const { evaluate } = jest.load('evaluate/index.js') as typeof import('../dist/evaluate/index.js')
  const one = { name: 'a', severity: 'as given', references: 1 }
  const load = async () => ({ input: png, truth: png, references: [png], landmarks: null })
  const { cases } = await evaluate(loaded, [{ ...one, load }], { steps: 1, references: [0] })
  t.equal(cases.length, 1)
})

t.test('nothing is judged by the realm that made it', (t) => {
  const files = (readdirSync(DIST, { recursive: true }) as string[]).filter((name) => name.endsWith('.js'))
  const texts = files.map((file) => readFileSync(join(DIST, file), 'utf8').replace(/^\s*(\/\/|\/?\*).*$/gm, ''))
  // Classes of the package's own may be told apart by their prototype where callers cannot make them. Its errors come
  // from other copies of the package, too.
  const own = new Set(texts.flatMap((text) => [...text.matchAll(/\bclass (\w+)/g)].map(([, name]) => name!)))
  own.delete('IConFaceError')
  t.ok(own.has('PickleDict'))
  const found: string[] = []
  for (const [i, text] of texts.entries()) {
    for (const [, name] of text.matchAll(/\binstanceof\s+([\w.]+)/g)) {
      const last = name!.split('.').at(-1)!
      if (!own.has(last)) found.push(`${files[i]}: instanceof ${last}`)
    }
    if (/\.constructor\s*[!=]==?/.test(text)) found.push(`${files[i]}: compares constructors`)
  }
  t.same(found, [])
  t.end()
})
