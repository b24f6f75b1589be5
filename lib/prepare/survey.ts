/**
 * Surveys a folder that is no model yet: the weights in it, and the parts that are missing to make a model.
 */
import fs from 'node:fs'
import path from 'node:path'
import { fileError, isIConFaceError } from '../errors'
import { statusOf } from '../util/file-status'
import type { Problem } from '../checkpoint/contract'
import { describeWeights, type Finding } from './findings'
import { foreignName } from '../formats/foreign'
import { isLoraFolder, loraWeights } from '../checkpoint/lora-file'
import { isPytorch } from '../formats/pytorch'
import { TITLES } from '../checkpoint/roles'
import { listWeights } from '../formats/shards'

/** A part that a model can have and this one has not. */
export interface Missing {
  readonly role: keyof typeof COSTS
  readonly title: string
  /** Nothing works without it. */
  readonly required: boolean
  /** What its absence costs, or where to get it if it is required. */
  readonly cost: string
}

const COSTS = {
  transformer: {
    required: true,
    cost: 'required: take flux-2-klein-base-4b.safetensors or the folder transformer/ of black-forest-labs/FLUX.2-klein-base-4B',
  },
  autoencoder: {
    required: true,
    cost: 'required: take flux2-vae.safetensors or the folder vae/ of black-forest-labs/FLUX.2-klein-base-4B',
  },
  prompt: {
    required: true,
    cost: 'required: take the folders text_encoder/ and tokenizer/ of black-forest-labs/FLUX.2-klein-base-4B (Qwen3-4B), from which prepare makes them; or prompt_embeddings.safetensors with the tensors prompt and empty',
  },
  adapter: {
    required: false,
    cost: 'plain concat restoration: the degraded photo and the references are seen by the transformer only, no identity anchor and no structure memory keep it to them',
  },
  face: {
    required: false,
    cost: 'the identity pathway is off, and results do not say how like the references they are',
  },
  lora: {
    required: false,
    cost: 'FLUX.2 alone was not trained to restore faces: expect little without a face-restoration LoRA or an adapter trained with the whole model',
  },
  'text encoder': {
    required: false,
    cost: 'restores know the prompt of the embeddings, and no other (--prompt)',
  },
} as const

/** What is missing beside the parts that are there. Embeddings are not, where a text encoder can make them. */
export function missingParts(present: readonly string[]): Missing[] {
  const roles = Object.keys(COSTS) as (keyof typeof COSTS)[]
  const made = present.includes('text encoder') ? 'prompt' : undefined
  return roles
    .filter((role) => role !== made && !present.includes(role))
    .map((role) => ({ role, title: TITLES[role], ...COSTS[role] }))
}

/** Folders deeper than this are not looked into; a cached Hugging Face repository needs 3. */
const MAX_DEPTH = 4
const MAX_ENTRIES = 10_000
const SKIPPED_FOLDERS = /^(\..*|node_modules|blobs)$/

const HALF = /\.(incomplete|part|partial|download|crdownload|aria2)$/

/** What a folder holds. */
export interface FolderSurvey {
  readonly findings: readonly Finding[]
  /** Files that cannot be used, each with the reason. */
  readonly problems: readonly Problem[]
  /** Every `tokenizer.json`. */
  readonly tokenizers: readonly string[]
}

/** Looks for weights in a folder and the folders in it. Whatever is no weights, pictures and texts, is passed over. */
export function surveyFolder(folder: string): FolderSurvey {
  const findings: Finding[] = []
  const problems: Problem[] = []
  const tokenizers: string[] = []
  let entries = 0
  const report = (file: string, message: string) =>
    problems.push({ kind: 'file', part: path.relative(folder, file) || path.basename(file), message })
  const describe = (file: string) => {
    try {
      findings.push(describeWeights(file))
    } catch (error) {
      if (!isIConFaceError(error)) throw error
      report(file, error.message)
    }
  }
  const visit = (current: string, depth: number): void => {
    if (isLoraFolder(current)) return describe(loraWeights(current))
    listWeights(current).forEach(describe)
    for (const entry of listEntries(current)) {
      if (++entries > MAX_ENTRIES) return
      const file = path.join(current, entry.name)
      const foreign = foreignName(entry.name)
      if (foreign !== undefined) report(file, `it is ${foreign}`)
      else if (entry.folder) {
        if (depth < MAX_DEPTH && !SKIPPED_FOLDERS.test(entry.name)) visit(file, depth + 1)
      } else if (isTokenizer(file)) tokenizers.push(file)
      else if (HALF.test(entry.name)) report(file, 'it is only half downloaded')
      else if (isPytorchName(entry.name) && isPytorch(file)) describe(file)
    }
  }
  visit(folder, 0)
  if (entries > MAX_ENTRIES) report(folder, `it holds more than ${MAX_ENTRIES} files, and not all were looked at`)
  return { findings, problems, tokenizers }
}

/** By its name: what is in it is looked at when a prompt is to be encoded. */
export function isTokenizer(file: string): boolean {
  return /(^|[._-])tokenizer\.json$/.test(path.basename(file))
}

function isPytorchName(name: string): boolean {
  return /\.(pt|pth|ckpt|bin|pkl|pickle)$/i.test(name)
}

function listEntries(folder: string): { name: string; folder: boolean }[] {
  try {
    const names = fs.readdirSync(folder).sort()
    // A link that leads nowhere, as half a download into a Hugging Face cache leaves, has no status.
    return names.map((name) => ({
      name,
      folder: statusOf(path.join(folder, name))?.isDirectory() ?? false,
    }))
  } catch (cause) {
    throw fileError('read', folder, cause)
  }
}
