/**
 * `iconface prepare`: a model folder from downloaded files, or from repositories of the Hugging Face Hub.
 */

import path from 'node:path'
import { downloadFromHub } from '../prepare/hub'
import { prepareModel } from '../prepare/prepare'
import { type Preparation } from '../prepare/preparation'
import { invalid } from '../errors'
import { type Command, missing, parse } from './command'
import { print } from './output'
import { missingTable, partRow } from './parts'
import { progressDisplay, type Shown, table } from './terminal'

export const command: Command = {
  summary: 'make a model folder of downloaded files, or of repositories of the Hugging Face Hub',
  usage: `Usage: iconface prepare [<path> ...] [--hub <owner/name> ...] --out <folder> [options]

Says what each file is and writes <folder>/iconface.json, which names them where they lie. Only what cannot be mapped is
written once more, into <folder>: PyTorch files (AdaFace's .ckpt) as safetensors, fp8 weights as bf16.

A <path> is a file, or a folder to look for files in: the FLUX.2 [klein] base transformer and the FLUX.2 autoencoder
(single files, both in one, or diffusers' folders, whole or in shards), an IConFace adapter, LoRAs (FaceIR, PEFT, diffusers, kohya),
AdaFace, and the text encoder Qwen3-4B with its tokenizer.json, which encodes the prompt once, here (or prompt embeddings).
What is missing is listed with what that costs.

  --out <folder>       where to
  --hub <repository>   owner/name, owner/name@revision or owner/name:path, may be repeated; downloads into the cache that
                       all Hugging Face libraries share, goes on where it broke off, checks what came. Heeded are
                       HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_HUB_OFFLINE=1 (the cache is enough),
                       HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY
  --adapter <file>     an adapter whose tensors have other names
  --names <file>       which names those are (JSON; see docs/checkpoints.md)
  --prompt <text>      what the picture shall be, in words (default: the one of the paper's authors)
  --name <text>        name of the model (default: the folder's)
  --force              replace the iconface.json and the prompt embeddings of the folder
  --json               for programs
`,
  async run(args, stop) {
    const { values, positionals } = parse(args, {
      out: { type: 'string' },
      hub: { type: 'string', multiple: true, default: [] },
      adapter: { type: 'string' },
      names: { type: 'string' },
      prompt: { type: 'string' },
      name: { type: 'string' },
      force: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    } as const)
    if (!values.out) throw missing('--out', 'the folder to make')
    const { out, hub, json, ...options } = values
    if (positionals.length + hub.length === 0) throw invalid('the arguments', 'files, folders or --hub', positionals)
    const display = progressDisplay()
    const show = (stage: string) => {
      const begun = performance.now()
      return (progress: Bytes) => display.show(megabytes(stage, progress, performance.now() - begun))
    }
    try {
      const paths = [...positionals]
      for (const repository of hub) {
        paths.push(await downloadFromHub(repository, { signal: stop, onProgress: show('download') }))
        display.end()
      }
      const begun = performance.now()
      const preparation = await prepareModel(paths, out, {
        ...options,
        signal: stop,
        onProgress: show('convert'),
        onEncode: (step) =>
          display.show({ stage: 'encode', step, steps: 2, elapsedMs: performance.now() - begun, etaMs: null }),
      })
      display.end()
      print(json ? `${JSON.stringify(preparation, null, 2)}\n` : describe(preparation))
    } finally {
      display.end()
    }
  },
}

interface Bytes {
  readonly bytes: number
  readonly totalBytes: number
}

/**
 * Progress in MiB; the time left is estimated from the bytes received since `elapsedMs` began, which a resumed download
 * exceeds.
 */
function megabytes(stage: string, { bytes, totalBytes }: Bytes, elapsedMs: number): Shown {
  const etaMs = bytes === 0 ? null : (elapsedMs * (totalBytes - bytes)) / bytes
  return { stage, step: Math.floor(bytes / 2 ** 20), steps: Math.ceil(totalBytes / 2 ** 20), elapsedMs, etaMs }
}

function describe({ folder, parts, unused, missing, notes }: Preparation): string {
  const used = parts.map((part) => {
    const how = part.converted && `converted ${part.converted} to ${path.basename(part.file)}`
    return partRow(part.title, { ...part, file: part.source }, how)
  })
  const sections = [`${folder}/iconface.json\n\nused\n${table(used)}`]
  if (unused.length > 0) sections.push(`not used\n${table(unused.map(({ file, reason }) => [`  ${file}`, reason]))}`)
  if (missing.length > 0) sections.push(missingTable(missing))
  if (notes.length > 0) sections.push(`note\n${notes.map((note) => `  ${note}\n`).join('')}`)
  sections.push(`next: iconface restore photo.jpg --ref same-person.jpg --model ${folder} -o restored.png\n`)
  return sections.join('\n')
}
