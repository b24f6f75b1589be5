/** What a golden file is, told from its metadata or else from its contents, and what compares it. */
import { loraName } from '../../dist/checkpoint/lora-names.js'
import { openSafetensors, type SafetensorsFile } from '../../dist/formats/safetensors.js'
import { compareAdapter } from './adapter'
import { compareAutoencoder, compareDiffusersNames } from './autoencoder'
import { compareDetectionPolicy, compareDetector } from './detector'
import { compareAlignment, compareAnchors, compareFaceEncoder } from './face'
import { Golden, type Json, readJson } from './golden'
import { comparePreprocessing } from './pixels'
import { compareQkRope } from './rope'
import type { Run } from './run'
import { compareSampler } from './sampler'
import { compareNoise, compareSchedule } from './schedule'
import { compareFormulaValues } from './test-values'
import { compareTextEncoder } from './text'
import { compareBlocks, compareLora, compareTransformer } from './transformer'

interface Kind {
  /** Whether results depend on the precision; otherwise they are computed once. */
  readonly precisions: boolean
  compare(file: string, run: Run): Promise<void>
}

function tensors(compare: (golden: Golden, run: Run) => Promise<void>, precisions: boolean): Kind {
  return { precisions, compare: (file, run) => compare(Golden.open(file), run) }
}

function numbers(compare: (json: Json, run: Run) => Promise<void>): Kind {
  return { precisions: false, compare: (file, run) => compare(readJson(file), run) }
}

const KINDS: Readonly<Record<string, Kind>> = {
  flux2_transformer: tensors(compareTransformer, true),
  flux2_single_block_wide: tensors(compareBlocks, true),
  lora: tensors(compareLora, true),
  iconface_adapter: tensors(compareAdapter, true),
  vae: tensors(compareAutoencoder, true),
  vae_diffusers_keys: tensors(compareDiffusersNames, true),
  sampler: tensors(compareSampler, true),
  adaface_ir: tensors(compareFaceEncoder, false),
  qwen3: tensors(compareTextEncoder, true),
  retinaface: tensors(compareDetector, false),
  identity_anchor: tensors(compareAnchors, false),
  qk_rope: tensors(compareQkRope, false),
  preprocess: tensors(comparePreprocessing, false),
  randn: tensors(compareNoise, false),
  schedule: numbers(compareSchedule),
  adaface_alignment: numbers(compareAlignment),
  detection_policy: numbers(compareDetectionPolicy),
  formula_values: numbers(compareFormulaValues),
}

/** Every kind that is compared, sorted. */
export const KIND_NAMES: readonly string[] = Object.keys(KINDS).sort()

/** Files that belong to a case and are read with it. */
const COMPANIONS: Readonly<Record<string, string>> = {
  part: 'another part of a case',
  lora_weights: 'an adapter, read with its case',
  adapter_config: 'an adapter, read with its case',
}

/** Kinds of parts of a restore that the library does not have. */
const LATER = /^(face_align|paste_back|landmark)/

/** Kinds of which there are several cases, named after the kind. */
const FAMILIES = ['adaface_ir', 'qwen3', 'retinaface']

/** What is to be done with a file. */
export type Decision =
  | { readonly kind: string; readonly precisions: boolean; compare(file: string, run: Run): Promise<void> }
  | { readonly kind: string; readonly skipped: string }

export function decide(file: string): Decision {
  const kind = file.endsWith('.json') ? kindOfJson(readJson(file)) : kindOfTensors(file)
  if (kind === undefined) return { kind: 'unknown', skipped: 'no known kind' }
  // Cases of some networks are named after them: adaface_ir50_full, qwen3_hd32.
  const family = Object.hasOwn(KINDS, kind) ? kind : FAMILIES.find((name) => kind.startsWith(name))
  if (family !== undefined) return { kind, ...KINDS[family]! }
  if (COMPANIONS[kind] !== undefined) return { kind, skipped: COMPANIONS[kind] }
  return { kind, skipped: LATER.test(kind) ? 'not part of this version' : 'no known kind' }
}

/** Keys that only one kind of JSON file has. */
const JSON_KINDS: readonly (readonly [key: string, kind: string])[] = [
  ['schedules', 'schedule'],
  ['fnv1a64_hex', 'formula_values'],
  ['lora_rank', 'adapter_config'],
  ['lora_alpha', 'adapter_config'],
  ['adaface_template_112', 'adaface_alignment'],
  ['detector', 'detection_policy'],
  ['crop_scale', 'face_align/params'],
]

function kindOfJson(json: Json): string | undefined {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return undefined
  const named = json.kind ?? json.case
  return typeof named === 'string' ? named : JSON_KINDS.find(([key]) => Object.hasOwn(json, key))?.[1]
}

/** Tensors that only one kind has, in the order in which they are looked for. */
const CONTENTS: readonly (readonly [name: RegExp, kind: string])[] = [
  [/^adapter\./, 'iconface_adapter'],
  [/^weight\.vae\./, 'sampler'],
  [/^lora_\w+\..*\.lora_A\.weight$/, 'lora'],
  [/^weight\.encoder\.conv_in\./, 'vae'],
  [/^decoder\.up_blocks\./, 'vae_diffusers_keys'],
  [/^weight\.single\.linear1\./, 'flux2_single_block_wide'],
  [/^weight\.double_blocks\./, 'flux2_transformer'],
  [/^output\.embedding_raw$/, 'adaface_ir'],
  [/^output\..*\.e_ref$/, 'identity_anchor'],
  [/^output\.q_norm_rope$/, 'qk_rope'],
  [/^input\..*\.pixels_u8$/, 'preprocess'],
  [/^output\.torch_/, 'randn'],
  [/^output\.hidden_states\.|^output\.prompt_embeds$/, 'qwen3'],
  [/^output\..*\b(loc|landmarks)$/, 'retinaface'],
  [/^output\.affine_/, 'face_align'],
  [/^output\.mask_/, 'paste_back'],
]

function kindOfTensors(file: string): string | undefined {
  const { metadata, tensors: contents }: SafetensorsFile = openSafetensors(file)
  if (metadata.part_of !== undefined) return 'part'
  const named = metadata.kind ?? metadata.case
  if (named !== undefined) return named
  const names = [...contents.keys()]
  const found = CONTENTS.find(([pattern]) => names.some((name) => pattern.test(name)))
  if (found) return found[1]
  return names.length > 0 && names.every((name) => loraName(name)) ? 'lora_weights' : undefined
}
