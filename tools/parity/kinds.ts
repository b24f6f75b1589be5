/** What a golden file is, told from its metadata or else from its contents, and what compares it. */
import { loraName } from '../../dist/checkpoint/lora-names.js'
import { openSafetensors, type SafetensorsFile } from '../../dist/formats/safetensors.js'
import { compareAdapter } from './adapter'
import { compareAutoencoder, compareDiffusersNames } from './autoencoder'
import { compareDetectionPolicy, compareDetector } from './detector'
import { compareAlignment, compareAnchors, compareFaceEncoder } from './face'
import { Golden, type Json, readJson } from './golden'
import { compareAlignmentParameters, compareFaceAlign, compareLandmarkTable, comparePasteBack } from './photo'
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
  face_align: tensors(compareFaceAlign, false),
  face_align_params: numbers(compareAlignmentParameters),
  landmark_table: tensors(compareLandmarkTable, false),
  paste_back: tensors(comparePasteBack, false),
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

/** Kinds of which there are several cases, named after the kind: adaface_ir50_full, qwen3_hd32, paste_back/small. */
const FAMILIES: readonly (readonly [cases: RegExp, kind: string])[] = [
  [/^adaface_ir/, 'adaface_ir'],
  [/^qwen3/, 'qwen3'],
  [/^retinaface/, 'retinaface'],
  [/^face_align\/landmark_table/, 'landmark_table'],
  [/^face_align/, 'face_align'],
  [/^paste_back/, 'paste_back'],
]

/** What is to be done with a file. */
export type Decision =
  | { readonly kind: string; readonly precisions: boolean; compare(file: string, run: Run): Promise<void> }
  | { readonly kind: string; readonly skipped: string }

export function decide(file: string): Decision {
  const kind = file.endsWith('.json') ? kindOfJson(readJson(file)) : kindOfTensors(file)
  if (kind === undefined) return { kind: 'unknown', skipped: 'no known kind' }
  const family = Object.hasOwn(KINDS, kind) ? kind : FAMILIES.find(([cases]) => cases.test(kind))?.[1]
  if (family !== undefined) return { kind, ...KINDS[family]! }
  return { kind, skipped: COMPANIONS[kind] ?? 'no known kind' }
}

/** Keys that only one kind of JSON file has. */
const JSON_KINDS: readonly (readonly [key: string, kind: string])[] = [
  ['schedules', 'schedule'],
  ['fnv1a64_hex', 'formula_values'],
  ['lora_rank', 'adapter_config'],
  ['lora_alpha', 'adapter_config'],
  ['adaface_template_112', 'adaface_alignment'],
  ['detector', 'detection_policy'],
  ['crop_scale', 'face_align_params'],
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
  [/^output\.corner_shift_px$/, 'landmark_table'],
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
