/**
 * Who a portrait shows: everything that stays the same between two pictures of one person.
 */

import { Random } from '../util/random'
import { clamp, mix } from './maths'

/** A mole on the head: position in head coordinates (template pixels from between the eyes), radius, darkness 0-1. */
export interface Mole {
  x: number
  y: number
  radius: number
  tone: number
}

/** Hair styles, by `PortraitIdentity.hairStyle`. */
export const HAIR_STYLES = [
  'bald',
  'buzz',
  'short',
  'side part',
  'quiff',
  'curly crop',
  'afro',
  'bob',
  'bob with fringe',
  'long',
  'long with fringe',
  'bun',
  'receding',
  'pixie',
] as const

/** Beard styles, by `PortraitIdentity.beardStyle`. */
export const BEARD_STYLES = ['none', 'stubble', 'moustache', 'goatee', 'full', 'long'] as const

/** Glasses, by `PortraitIdentity.glassesStyle`. */
export const GLASSES_STYLES = ['none', 'round', 'rectangular', 'browline', 'thin', 'cat-eye'] as const

/** Range of each parameter. Where it is -1 to 1, 0 is the average face. */
export const IDENTITY_RANGES = {
  /** 0 feminine to 1 masculine. */
  sex: [0, 1],
  /** 0 young adult to 1 old. */
  age: [0, 1],
  headWidth: [-1, 1],
  headHeight: [-1, 1],
  foreheadWidth: [-1, 1],
  cheekWidth: [-1, 1],
  cheekFullness: [-1, 1],
  jawWidth: [-1, 1],
  chinWidth: [-1, 1],
  chinLength: [-1, 1],
  chinCleft: [0, 1],
  /** 0 very fair to 1 very dark. */
  skinTone: [0, 1],
  /** -1 olive and yellow to 1 pink. */
  skinUndertone: [-1, 1],
  skinRedness: [0, 1],
  skinGloss: [0, 1],
  eyeSpacing: [-1, 1],
  eyeSize: [-1, 1],
  eyeHeight: [-1, 1],
  /** Outer corners: -1 low to 1 high. */
  eyeTilt: [-1, 1],
  /** 0 open crease to 1 lid without a crease. */
  eyeHood: [0, 1],
  eyeDepth: [-1, 1],
  /** 0 near black, brown, hazel, green, blue to 1 grey. */
  irisTone: [0, 1],
  irisShade: [-1, 1],
  lashes: [0, 1],
  browHeight: [-1, 1],
  browThickness: [-1, 1],
  browArch: [-1, 1],
  browTilt: [-1, 1],
  browLength: [-1, 1],
  noseLength: [-1, 1],
  noseWidth: [-1, 1],
  noseBridge: [-1, 1],
  noseHump: [-1, 1],
  noseTip: [-1, 1],
  mouthWidth: [-1, 1],
  mouthHeight: [-1, 1],
  upperLip: [-1, 1],
  lowerLip: [-1, 1],
  cupidBow: [0, 1],
  lipColour: [-1, 1],
  /** Index into `HAIR_STYLES`. */
  hairStyle: [0, HAIR_STYLES.length - 1],
  /** 0 black, brown, blond to 1 white blond. */
  hairTone: [0, 1],
  hairRed: [0, 1],
  hairGrey: [0, 1],
  hairVolume: [-1, 1],
  hairLength: [-1, 1],
  hairWave: [0, 1],
  /** Side of the parting, -1 image left to 1 image right. */
  hairPart: [-1, 1],
  hairline: [-1, 1],
  hairSeed: [0, 255],
  /** Index into `BEARD_STYLES`. */
  beardStyle: [0, BEARD_STYLES.length - 1],
  beardDensity: [0, 1],
  earSize: [-1, 1],
  earAngle: [0, 1],
  freckles: [0, 1],
  freckleSeed: [0, 2 ** 32 - 1],
  wrinkles: [0, 1],
  /** Index into `GLASSES_STYLES`. */
  glassesStyle: [0, GLASSES_STYLES.length - 1],
  glassesHue: [0, 1],
  glassesTone: [0, 1],
  glassesSize: [-1, 1],
} as const satisfies Record<string, readonly [number, number]>

/** The parameters that count or choose: whole numbers. */
export const IDENTITY_WHOLE: readonly string[] = ['hairStyle', 'beardStyle', 'glassesStyle', 'hairSeed', 'freckleSeed']

/** Named numbers within {@link IDENTITY_RANGES}, and the moles. */
export type PortraitIdentity = { -readonly [Name in keyof typeof IDENTITY_RANGES]: number } & { moles: readonly Mole[] }

/** Draws a person. `seed` is checked by the caller. */
export function drawIdentity(seed: number): PortraitIdentity {
  const random = new Random(seed, 'identity')
  const bell = () => clamp(random.bell() * 1.25, -1, 1)
  const masculine = random.chance(0.5)
  const sex = masculine ? random.uniform(0.68, 1) : random.uniform(0, 0.32)
  const age = random.uniform() ** 1.35
  const skinTone = random.uniform() ** 1.6
  const hair = drawHair(random, masculine, age, skinTone)
  const shape = {
    headWidth: bell(),
    headHeight: bell(),
    foreheadWidth: bell(),
    cheekWidth: bell(),
    cheekFullness: bell(),
    jawWidth: clamp(bell() + mix(-0.3, 0.35, sex), -1, 1),
    chinWidth: clamp(bell() + mix(-0.3, 0.35, sex), -1, 1),
    chinLength: bell(),
    chinCleft: masculine && random.chance(0.25) ? random.uniform(0.4, 1) : 0,
  }
  const skin = { skinTone, skinUndertone: bell(), skinRedness: random.uniform(), skinGloss: random.uniform() }
  const eyes = {
    eyeSpacing: bell(),
    eyeSize: bell(),
    eyeHeight: bell(),
    eyeTilt: bell(),
    eyeHood: random.chance(0.3) ? random.uniform(0.6, 1) : random.uniform(0, 0.5),
    eyeDepth: bell(),
    irisTone: clamp(skinTone < 0.45 ? random.uniform(0.08, 1) : random.uniform(0, 0.24)),
    irisShade: bell(),
    lashes: clamp(random.uniform(0, 0.5) + 0.5 * (1 - sex)),
  }
  const brows = {
    browHeight: bell(),
    browThickness: clamp(bell() + mix(-0.25, 0.4, sex), -1, 1),
    browArch: bell(),
    browTilt: bell(),
    browLength: bell(),
  }
  const nose = {
    noseLength: bell(),
    noseWidth: clamp(bell() * 0.8 + mix(-0.35, 0.4, skinTone), -1, 1),
    noseBridge: bell(),
    noseHump: bell(),
    noseTip: bell(),
  }
  const lips = clamp(skinTone * 0.6 - 0.2 - age * 0.4, -1, 1)
  const mouth = {
    mouthWidth: bell(),
    mouthHeight: bell(),
    upperLip: clamp(bell() + lips, -1, 1),
    lowerLip: clamp(bell() + lips, -1, 1),
    cupidBow: random.uniform(),
    lipColour: bell(),
  }
  const spectacles = random.chance(0.24) ? 1 + random.index(GLASSES_STYLES.length - 1) : 0
  return {
    sex,
    age,
    ...shape,
    ...skin,
    ...eyes,
    ...brows,
    ...nose,
    ...mouth,
    ...hair,
    beardStyle: masculine && random.chance(0.58) ? 1 + random.weighted([4, 1.2, 1.8, 3, 1]) : 0,
    beardDensity: random.uniform(0.35, 1),
    earSize: bell(),
    earAngle: random.uniform(),
    freckles: skinTone < 0.5 && random.chance(0.3) ? random.uniform(0.3, 1) : 0,
    freckleSeed: random.index(2 ** 32),
    wrinkles: clamp(age * 1.15 - 0.3 + 0.15 * random.bell()),
    glassesStyle: spectacles,
    glassesHue: random.uniform(),
    glassesTone: random.uniform() ** 1.5,
    glassesSize: bell(),
    moles: drawMoles(random),
  }
}

function drawHair(random: Random, masculine: boolean, age: number, skinTone: number) {
  const dark = skinTone > 0.5
  const styles = masculine
    ? [0.7 + age, 1.4, 2.2, 2.2, 1.6, 1.6, dark ? 1.6 : 0.3, 0.3, 0, 0.5, 0, 0.2, 0.4 + 2.2 * age, 0]
    : [0.03, 0.25, 0.3, 0.6, 0.2, 0.9, dark ? 1.8 : 0.3, 1.8, 1.8, 3, 2, 2, 0, 1.4]
  const hairGrey = age > 0.45 && random.chance(0.25 + age * 0.6) ? clamp((age - 0.3) * random.uniform(0.7, 2)) : 0
  return {
    hairStyle: random.weighted(styles),
    hairTone: dark ? random.uniform() ** 2 * 0.4 : random.uniform(0.05, 1) ** 1.2,
    hairRed: !dark && random.chance(0.22) ? random.uniform(0.4, 1) : random.uniform(0, 0.25),
    hairGrey,
    hairVolume: random.bell(),
    hairLength: random.uniform(-1, 1),
    hairWave: dark && random.chance(0.4) ? random.uniform(0.5, 1) : random.uniform() ** 1.3,
    hairPart: random.uniform(-1, 1),
    hairline: clamp(random.bell() + (masculine ? age * 0.7 - 0.2 : -0.1), -1, 1),
    hairSeed: random.index(256),
  }
}

function drawMoles(random: Random): Mole[] {
  return Array.from({ length: random.weighted([3, 3, 2, 1.5, 1]) }, () => {
    const side = random.chance(0.5) ? 1 : -1
    const [x, y] = random.chance(0.25)
      ? [random.uniform(-60, 60), random.uniform(-105, -62)]
      : [side * random.uniform(34, 100), random.uniform(38, 165)]
    return { x: x * (y > 120 ? 0.8 : 1), y, radius: random.uniform(1.8, 4.2), tone: random.uniform(0.4, 1) }
  })
}
