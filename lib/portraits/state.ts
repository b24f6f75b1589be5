/**
 * How a person looks in one picture: pose, expression, gaze, light, background, make-up, crop, clothes.
 */

import { mix } from './maths'
import { Random } from '../util/random'

/** Backgrounds, by `PortraitState.backgroundStyle`. */
export const BACKGROUND_STYLES = ['studio', 'gradient', 'bokeh', 'indoors', 'outdoors'] as const

/** Clothes, by `PortraitState.clothingStyle`. */
export const CLOTHING_STYLES = ['crew neck', 'V-neck', 'turtleneck', 'shirt', 'jacket'] as const

/** Range of each parameter and its value in the neutral studio picture (`strength` 0). Angles are in degrees. */
export const STATE_RANGES = {
  /** Head turn; positive turns the nose to the right of the image. */
  yaw: [-40, 40, 0],
  /** Positive looks up. */
  pitch: [-22, 22, 0],
  /** Roll of the head; positive is clockwise in the image. */
  tilt: [-25, 25, 0],
  /** -1 sad to 1 broad smile. */
  smile: [-1, 1, 0],
  mouthOpen: [0, 1, 0],
  browRaise: [-1, 1, 0],
  /** 0 closed, 1 relaxed, 1.3 wide. */
  eyeOpen: [0, 1.3, 1],
  /** Positive looks to the right of the image. */
  gazeX: [-1, 1, 0],
  /** Positive looks down. */
  gazeY: [-1, 1, 0],
  /** Positive lights from the right of the image. */
  lightAzimuth: [-90, 90, -18],
  lightElevation: [-20, 80, 38],
  /** 0 flat to 1 hard. */
  lightContrast: [0, 1, 0.45],
  lightStrength: [0.5, 1.3, 1],
  /** -1 blue to 1 orange. */
  lightWarmth: [-1, 1, 0.1],
  /** Index into `BACKGROUND_STYLES`. */
  backgroundStyle: [0, BACKGROUND_STYLES.length - 1, 0],
  backgroundHue: [0, 1, 0.58],
  backgroundSaturation: [0, 1, 0.12],
  backgroundLightness: [0, 1, 0.62],
  backgroundSeed: [0, 2 ** 32 - 1, 0],
  lipstick: [0, 1, 0],
  lipstickHue: [0, 1, 0.5],
  eyeshadow: [0, 1, 0],
  eyeshadowHue: [0, 1, 0],
  blush: [0, 1, 0],
  cropScale: [0.85, 1.15, 1],
  /** Pixels of the 512 px template. */
  cropX: [-30, 30, 0],
  cropY: [-30, 30, 0],
  /** Index into `CLOTHING_STYLES`. */
  clothingStyle: [0, CLOTHING_STYLES.length - 1, 0],
  clothingHue: [0, 1, 0.6],
  clothingSaturation: [0, 1, 0.25],
  clothingLightness: [0, 1, 0.3],
} as const satisfies Record<string, readonly [number, number, number]>

/** The parameters that count or choose: whole numbers. */
export const STATE_WHOLE: readonly string[] = ['backgroundStyle', 'backgroundSeed', 'clothingStyle']

/** Named numbers within {@link STATE_RANGES}. */
export type PortraitState = { -readonly [Name in keyof typeof STATE_RANGES]: number }

/** Draws a state; `strength` 0 to 1 scales it from the neutral picture. Both are checked by the caller. */
export function drawState(seed: number, strength: number): PortraitState {
  const random = new Random(seed, 'state')
  const full = fullState(random)
  const state = {} as PortraitState
  for (const name of Object.keys(STATE_RANGES) as (keyof PortraitState)[]) {
    const neutral = STATE_RANGES[name][2]
    if (STATE_WHOLE.includes(name)) state[name] = strength === 0 ? neutral : full[name]
    else state[name] = mix(neutral, full[name], strength)
  }
  return state
}

function fullState(random: Random): PortraitState {
  const bell = () => random.bell()
  const smile = random.weighted([3, 3, 3, 1])
  const made = random.chance(0.35)
  const face = {
    yaw: bell() * 36,
    pitch: bell() * 17,
    tilt: bell() * 18,
    smile: [random.uniform(-0.2, 0.2), random.uniform(0.25, 0.6), random.uniform(0.6, 1), random.uniform(-0.8, -0.2)][
      smile
    ]!,
    mouthOpen: random.chance(0.45) ? random.uniform(0.1, 0.9) * (smile === 3 ? 0.4 : 1) : 0,
    browRaise: bell(),
    eyeOpen: random.chance(0.05) ? random.uniform(0, 0.4) : random.uniform(0.78, 1.15),
    gazeX: bell(),
    gazeY: bell() * 0.7,
  }
  const light = {
    lightAzimuth: random.uniform(-75, 75),
    lightElevation: random.uniform(5, 62),
    lightContrast: random.uniform(0.15, 0.9),
    lightStrength: random.uniform(0.78, 1.15),
    lightWarmth: bell(),
  }
  const background = {
    backgroundStyle: random.index(BACKGROUND_STYLES.length),
    backgroundHue: random.uniform(),
    backgroundSaturation: random.uniform(0.05, 0.6),
    backgroundLightness: random.uniform(0.12, 0.85),
    backgroundSeed: random.index(2 ** 32),
  }
  const makeup = {
    lipstick: made ? random.uniform(0.3, 1) : 0,
    lipstickHue: random.uniform(),
    eyeshadow: made ? random.uniform(0, 0.9) : 0,
    eyeshadowHue: random.uniform(),
    blush: made ? random.uniform(0.2, 0.9) : 0,
  }
  const crop = { cropScale: 1 + bell() * 0.07, cropX: bell() * 12, cropY: bell() * 12 }
  const clothing = {
    clothingStyle: random.index(CLOTHING_STYLES.length),
    clothingHue: random.uniform(),
    clothingSaturation: random.uniform(0, 0.7),
    clothingLightness: random.uniform(0.08, 0.85),
  }
  return { ...face, ...light, ...background, ...makeup, ...crop, ...clothing }
}
