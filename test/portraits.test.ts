import t from 'tap'
import { createHash } from 'node:crypto'
import { type ImageInput, isIConFaceError } from '@iconface/native'
import {
  IDENTITY_RANGES,
  PORTRAIT_LANDMARKS,
  type Portrait,
  portraitIdentity,
  portraitState,
  renderPortrait,
  STATE_RANGES,
} from '@iconface/native/portraits'
import { degrade, trainingStrength } from '@iconface/native/degrade'

/** The five points of the 512 px FFHQ template. */
const TEMPLATE = [
  [192.98, 239.95],
  [318.9, 240.19],
  [256.63, 314.02],
  [201.26, 371.41],
  [313.09, 371.15],
] as const

function pixel({ data, width }: Portrait, [x, y]: readonly [number, number]): [number, number, number] {
  const at = (Math.floor(y) * width + Math.floor(x)) * 3
  return [data[at]!, data[at + 1]!, data[at + 2]!]
}

function point(portrait: Portrait, name: string): [number, number] {
  return portrait.landmarks[PORTRAIT_LANDMARKS.indexOf(name)]!
}

/** Mean absolute difference of two pictures, 0 to 255. */
function difference(a: Portrait, b: Portrait): number {
  let sum = 0
  for (const [i, value] of a.data.entries()) sum += Math.abs(value - b.data[i]!)
  return sum / a.data.length
}

void t.test('the same seeds and size give the same bytes', async (t) => {
  const draw = () => renderPortrait(portraitIdentity(2 ** 53 - 1), portraitState(12), 128)
  t.same(await draw(), await draw())
  t.same(portraitIdentity(3), portraitIdentity(3))
  t.not(portraitIdentity(3).skinTone, portraitIdentity(2 ** 32 + 3).skinTone)
})

/** The beginning of the SHA-256 of numbers, rounded to a millionth. */
function digest(value: unknown): string {
  const text = JSON.stringify(value, (_, v: unknown) => (typeof v === 'number' ? Math.round(v * 1e6) / 1e6 : v))
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}

void t.test('who a seed is and how they look is frozen', async (t) => {
  const [identity, state] = [portraitIdentity(7), portraitState(7)]
  t.match(identity, { sex: 0.1599393606930971, hairStyle: 10, glassesStyle: 4 })
  t.match(state, { yaw: -6.866841173730791, mouthOpen: 0 })
  t.equal(digest(identity), '3fef55d590440df6')
  t.equal(digest(state), 'cadb8c056339f2bc')
  t.equal(digest(portraitState(7, 0.5)), '3ea98ed0cfef3b32')
  const portrait = await renderPortrait(identity, state, 128)
  const places = portrait.landmarks.map((point) => point.map((v) => Math.round(v * 1e3) / 1e3))
  t.same(places.slice(0, 3), [
    [48.524, 62.361],
    [82.379, 62.574],
    [62.632, 81.088],
  ])
  t.equal(digest(places), 'b7c79e08af88d1d6')
  // librsvg draws a part of it, so pixels are only bounded: the mean colours of the four quarters.
  const expected = [
    [140.09, 103.18, 111.84],
    [169.43, 129.4, 122.8],
    [122.26, 85.69, 86.5],
    [148.03, 109.44, 95.4],
  ]
  for (const [i, colour] of expected.entries()) {
    const [left, top] = [64 * (i % 2), 64 * Math.floor(i / 2)]
    const found = [0, 0, 0]
    for (let y = top; y < top + 64; y++)
      for (let x = left; x < left + 64; x++)
        for (const [c, value] of pixel(portrait, [x, y]).entries()) found[c]! += value / 64 ** 2
    t.ok(
      found.every((value, c) => Math.abs(value - colour[c]!) < 0.5),
      `quarter ${i}: ${found} is near ${colour}`,
    )
  }
})

void t.test('seeds are named alike everywhere', async (t) => {
  const message = /expected a whole number from 0 to 2\^53 - 1 for seed but received -1/
  t.throws(() => portraitIdentity(-1), { message })
  t.throws(() => portraitState(-1), { message })
  t.throws(() => trainingStrength(-1), { message })
})

void t.test('a portrait is a picture for everything that takes one', async (t) => {
  const portrait: ImageInput = await renderPortrait(portraitIdentity(3), portraitState(4), 64)
  const same = await degrade(portrait, { strength: 0, seed: 1 })
  t.equal(Buffer.compare(same.data, portrait.data as Uint8Array), 0)
  const again: ImageInput = same
  t.match(again, { channels: 3, width: 64, height: 64 })
})

void t.test('sizes', async (t) => {
  for (const size of [64, 80, 256]) {
    const { data, width, height, landmarks } = await renderPortrait(portraitIdentity(1), portraitState(1), size)
    t.same([width, height, data.length, landmarks.length], [size, size, size * size * 3, PORTRAIT_LANDMARKS.length])
  }
  const [small, large] = [
    await renderPortrait(portraitIdentity(1), portraitState(1), 128),
    await renderPortrait(portraitIdentity(1), portraitState(1)),
  ]
  for (const [i, [x, y]] of small.landmarks.entries()) {
    t.ok(Math.hypot(2 * x - large.landmarks[i]![0], 2 * y - large.landmarks[i]![1]) < 1e-9, PORTRAIT_LANDMARKS[i]!)
  }
})

void t.test('drawn values lie in their ranges', async (t) => {
  const outside: string[] = []
  for (let seed = 0; seed < 300; seed++) {
    const values = { ...portraitIdentity(seed), ...portraitState(seed) } as unknown as Record<string, number>
    for (const [name, [min, max]] of Object.entries({ ...IDENTITY_RANGES, ...STATE_RANGES })) {
      if (!(values[name]! >= min && values[name]! <= max)) outside.push(`${name} is ${values[name]} for seed ${seed}`)
    }
  }
  t.same(outside, [])
})

void t.test('is framed as FFHQ frames faces', async (t) => {
  for (let seed = 0; seed < 30; seed++) {
    const neutral = await renderPortrait(portraitIdentity(seed), portraitState(seed, 0), 64)
    const varied = await renderPortrait(portraitIdentity(seed), portraitState(seed), 64)
    for (const [i, [x, y]] of TEMPLATE.entries()) {
      const off = (at: Portrait) => Math.hypot(at.landmarks[i]![0] * 8 - x, at.landmarks[i]![1] * 8 - y)
      t.ok(off(neutral) < 20, `${PORTRAIT_LANDMARKS[i]} of ${seed}: ${off(neutral)}`)
      t.ok(off(varied) < 75, `${PORTRAIT_LANDMARKS[i]} of ${seed}: ${off(varied)}`)
    }
    for (const [i, [x, y]] of varied.landmarks.entries()) {
      t.ok(x >= -6 && x < 70 && y >= 0 && y < 68, `${PORTRAIT_LANDMARKS[i]} of ${seed} at ${x}, ${y}`)
    }
  }
})

void t.test('landmarks are where the parts are drawn', async (t) => {
  const identity = { ...portraitIdentity(5), skinTone: 0.2, irisTone: 0.86, irisShade: 0, glassesStyle: 0 }
  const base = { ...portraitState(0, 0), eyeOpen: 1.1 }
  for (const yaw of [-25, 0, 25]) {
    for (const gazeX of [-0.7, 0.7]) {
      const portrait = await renderPortrait(identity, { ...base, yaw, gazeX }, 256)
      for (const name of ['leftEye', 'rightEye']) {
        const [x, y] = point(portrait, name)
        let blue = 0
        for (let dy = -6; dy <= 6; dy++)
          for (let dx = -10; dx <= 10; dx++) {
            const [r, , b] = pixel(portrait, [x + dx, y + dy])
            if (b > r + 25) blue++
          }
        t.ok(blue > 20, `${name} at yaw ${yaw}: ${blue} blue pixels`)
      }
    }
    const red = { lipstick: 1, lipstickHue: 0.7 }
    const plain = await renderPortrait(identity, { ...base, yaw }, 256)
    const painted = await renderPortrait(identity, { ...base, ...red, yaw }, 256)
    const [left, right] = [point(plain, 'leftMouth'), point(plain, 'rightMouth')]
    for (let y = 0; y < 256; y++)
      for (let x = 0; x < 256; x++) {
        const changed = Math.abs(pixel(plain, [x, y])[1] - pixel(painted, [x, y])[1]) > 12
        if (changed && (x < left[0] - 4 || x > right[0] + 4)) t.fail(`lipstick at ${x}, ${y} beside the mouth`)
      }
  }
})

void t.test('pose moves the nose and the eyes close', async (t) => {
  const identity = portraitIdentity(5)
  const nose = async (yaw: number) => {
    const portrait = await renderPortrait(identity, { ...portraitState(0, 0), yaw }, 256)
    return point(portrait, 'nose')[0] - (point(portrait, 'leftEye')[0] + point(portrait, 'rightEye')[0]) / 2
  }
  t.ok((await nose(25)) > 8)
  t.ok((await nose(-25)) < -8)
  const gap = async (eyeOpen: number) => {
    const portrait = await renderPortrait(identity, { ...portraitState(0, 0), eyeOpen }, 256)
    return point(portrait, 'leftEyeBottom')[1] - point(portrait, 'leftEyeTop')[1]
  }
  t.ok((await gap(1)) > 1.5 * (await gap(0.2)))
})

void t.test('people differ, and one person stays the same', async (t) => {
  const people = await Promise.all(
    Array.from({ length: 24 }, (_, seed) => renderPortrait(portraitIdentity(seed), portraitState(0, 0), 64)),
  )
  for (const [i, a] of people.entries())
    for (const [j, b] of people.entries()) if (i < j) t.ok(difference(a, b) > 2, `${i} and ${j}: ${difference(a, b)}`)
  // What a state changes slightly changes the picture less than another person does.
  const other = await renderPortrait(portraitIdentity(0), { ...portraitState(0, 0), smile: 0.3, gazeX: 0.3 }, 64)
  t.ok(difference(people[0]!, other) < Math.min(...people.slice(1).map((person) => difference(people[0]!, person))))
})

void t.test('wrong arguments are named', async (t) => {
  const identity = portraitIdentity(1)
  const state = portraitState(1)
  const fails = async (call: () => unknown, message: RegExp) => {
    try {
      await call()
      t.fail(`no error: ${message}`)
    } catch (error) {
      t.ok(isIConFaceError(error) && error.code === 'ERR_ICONFACE_INVALID_ARGUMENT', String(error))
      t.match(String(error), message)
    }
  }
  for (const seed of [-1, 1.5, 2 ** 53, NaN, '1', undefined] as number[]) {
    await fails(() => portraitIdentity(seed), /for seed but received/)
    await fails(() => portraitState(seed), /for seed but received/)
  }
  await fails(() => portraitState(1, 1.5), /from 0 to 1 for strength but received 1.5/)
  for (const size of [0, 48, 100, 1040, NaN]) {
    await fails(() => renderPortrait(identity, state, size), /a multiple of 16 from 64 to 1024 for size/)
  }
  await fails(() => renderPortrait({ ...identity, noseWidth: NaN }, state), /identity\.noseWidth but received NaN/)
  await fails(() => renderPortrait({ ...identity, hairStyle: 1.5 }, state), /an integer .* identity\.hairStyle/)
  await fails(() => renderPortrait(identity, { ...state, yaw: 90 }), /from -40 to 40 for state\.yaw but received 90/)
  await fails(
    () => renderPortrait(identity, { ...state, smiel: 1 } as never),
    /unknown state parameter 'smiel'.*'smile'/,
  )
  await fails(() => renderPortrait(null as never, state), /an object for identity but received null/)
  const mole = { x: 0, y: 0, radius: NaN, tone: 1 }
  await fails(() => renderPortrait({ ...identity, moles: [mole] }, state), /identity\.moles\[0\]\.radius/)
})
