/**
 * The `iconface.json` of a model that consists of given files.
 */
import path from 'node:path'
import type { Chosen } from './choose'
import { FORMAT } from '../checkpoint/config'
import type { TransformerSizes } from '../checkpoint/expected'
import type { PartDescription } from './findings'
import { type TextPlan, textSettings } from './prepare-text'
import type { Kind } from '../checkpoint/roles'
import { modelSettings, type Section, settingsBeside } from './settings'

/** A file that is named, and where it comes from: what lies beside its source says how to read it. */
export interface ConfiguredPart {
  readonly role: Kind
  /** Both absolute. */
  readonly file: string
  readonly source: string
}

/**
 * @param parts   what is used; paths become relative to `folder`
 * @param notes   gets what is assumed
 */
export function composeConfig(
  folder: string,
  parts: readonly ConfiguredPart[],
  chosen: Chosen,
  text: TextPlan | undefined,
  options: { readonly name?: string | undefined; readonly names?: string | undefined },
  notes: string[],
) {
  const transformer = chosen.single.get('transformer')!.part
  const adapter = chosen.single.get('adapter')?.part
  const hasFace = chosen.single.has('face')
  const identity = hasFace || !adapter?.sizes.identity ? {} : { identity: false }
  if (!/base/i.test(transformer.file) && /klein/i.test(transformer.file)) {
    notes.push(
      `${transformer.file} does not say "base": the distilled klein has the same shapes and cannot be told apart by them, and IConFace needs the base model`,
    )
  }
  const entry = (part: ConfiguredPart, section: Section) => ({
    file: relative(folder, part.file),
    ...settingsBeside(section, part.source),
  })
  const the = (role: Kind, section: Section) =>
    entry(
      parts.find((part) => part.role === role)!,
      section,
    )
  const loras = parts.filter(({ role }) => role === 'lora')
  return {
    format: FORMAT,
    name: options.name ?? path.basename(folder),
    transformer: { ...assumedRope(transformer, notes), ...the('transformer', 'transformer') },
    autoencoder: the('autoencoder', 'autoencoder'),
    ...(adapter && {
      adapter: {
        ...the('adapter', 'adapter'),
        ...(options.names === undefined ? {} : { names: relative(folder, path.resolve(options.names)) }),
        ...identity,
      },
    }),
    ...(loras.length > 0 && { lora: loras.map((part) => ({ strength: 1, ...entry(part, 'lora') })) }),
    ...(hasFace && { identity: the('face', 'identity') }),
    prompt: the('prompt', 'prompt'),
    ...(text && {
      textEncoder: {
        ...the('text encoder', 'textEncoder'),
        ...textSettings(text),
        tokenizer: relative(folder, text.tokenizer),
      },
    }),
    ...modelSettings(transformer.file),
  }
}

/** With `/` on every system. */
function relative(folder: string, file: string): string {
  return path.relative(folder, file).split(path.sep).join('/')
}

/** The rotary embedding of a transformer that is not as wide as the published one, and about which nothing is said. */
function assumedRope({ file, sizes }: PartDescription, notes: string[]): { ropeAxes?: readonly number[] } {
  const { headDim } = sizes as unknown as TransformerSizes
  if (headDim === 128 || settingsBeside('transformer', file).ropeAxes !== undefined) return {}
  notes.push(`heads of ${headDim} values: ropeAxes is assumed to be four times ${headDim / 4}`)
  return { ropeAxes: Array.from({ length: 4 }, () => headDim / 4) }
}
