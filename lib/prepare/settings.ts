/**
 * Settings that shapes do not tell, from the files beside the weights: the `iconface.json` of a model that they are
 * part of, or the `config.json` of a diffusers folder.
 */
import fs from 'node:fs'
import path from 'node:path'
import { expectation, IConFaceError } from '../errors'
import { CONFIG_NAME } from '../checkpoint/config'
import { readJson } from '../formats/json'

/** Keys of `iconface.json` that hold for weights wherever they are used, by the section they are in. */
const CARRIED = {
  transformer: ['ropeAxes', 'ropeTheta', 'heads'],
  autoencoder: ['groups'],
  adapter: ['residualStrength', 'temperature'],
  lora: ['strength', 'alpha'],
  identity: ['crop'],
  prompt: ['withReferences', 'withoutReferences', 'empty'],
  textEncoder: ['outputLayers', 'ropeTheta'],
} as const

export type Section = keyof typeof CARRIED
type Settings = Readonly<Record<string, unknown>>

/** diffusers' keys and what they are called in `iconface.json`. */
const DIFFUSERS: Partial<Record<Section, Readonly<Record<string, string>>>> = {
  transformer: { axes_dims_rope: 'ropeAxes', rope_theta: 'ropeTheta' },
  autoencoder: { norm_num_groups: 'groups' },
}

/** diffusers' keys that have one value in every published model, which is the one that is computed with. */
const FIXED: Partial<Record<Section, Readonly<Record<string, number>>>> = {
  transformer: { eps: 1e-6 },
  autoencoder: { batch_norm_eps: 1e-4 },
}

/**
 * The settings of a section of `iconface.json` that are to be kept with `file`; unchecked but for their names.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_UNSUPPORTED` for a value that would be computed with wrongly;
 *         `ERR_ICONFACE_INVALID_CHECKPOINT` when a file beside is no JSON
 */
export function settingsBeside(section: Section, file: string): Settings {
  const own = entryOf(section, file)
  if (own) return pick(own, Object.fromEntries(CARRIED[section].map((key) => [key, key])))
  const names = DIFFUSERS[section]
  const config = path.join(path.dirname(file), 'config.json')
  const json = names && readObject(config)
  if (!json || !('_class_name' in json)) return {}
  for (const [key, value] of Object.entries(FIXED[section] ?? {})) {
    if (json[key] === undefined || json[key] === value) continue
    throw new IConFaceError('ERR_ICONFACE_UNSUPPORTED', `${config}: ${expectation(key, String(value), json[key])}`)
  }
  return pick(json, names)
}

/** `defaults` and `synthesized` of the model that a transformer was part of. */
export function modelSettings(transformer: string): Settings {
  if (!entryOf('transformer', transformer)) return {}
  const keys = { defaults: 'defaults', synthesized: 'synthesized' }
  return pick(readObject(path.join(path.dirname(transformer), CONFIG_NAME))!, keys)
}

/** What the `iconface.json` beside a file says of it. */
function entryOf(section: Section, file: string): Settings | undefined {
  const folder = path.dirname(file)
  const value = readObject(path.join(folder, CONFIG_NAME))?.[section]
  const entries = (Array.isArray(value) ? value : [value]) as unknown[]
  return entries.filter(isObject).find((entry) => {
    return typeof entry.file === 'string' && path.resolve(folder, entry.file) === file
  })
}

function readObject(file: string): Settings | undefined {
  const json = fs.existsSync(file) ? readJson(file) : undefined
  return isObject(json) ? json : undefined
}

function isObject(value: unknown): value is Settings {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function pick(from: Settings, names: Readonly<Record<string, string>>): Settings {
  const kept = Object.entries(names).filter(([key]) => from[key] !== undefined)
  return Object.fromEntries(kept.map(([key, name]) => [name, from[key]]))
}
