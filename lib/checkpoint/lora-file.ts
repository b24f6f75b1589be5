/**
 * The file of a LoRA: safetensors, which is mapped as it lies, or PyTorch's, which `prepare` converts first.
 */
import fs from 'node:fs'
import path from 'node:path'
import { ADAPTER_CONFIG } from './peft-config'
import { isPytorch, openPytorch } from '../formats/pytorch'
import { openSafetensors, readTensorBytes, type SafetensorsFile } from '../formats/safetensors'
import { type TensorInfo } from '../formats/named-tensors'
import { weightsPath } from '../formats/shards'
import { statusOf } from '../util/file-status'

/** An opened file; offsets mean something in safetensors only. */
export interface LoraFile {
  /** Absolute. */
  readonly path: string
  readonly metadata: Readonly<Record<string, string>>
  readonly tensors: ReadonlyMap<string, TensorInfo>
  /** `undefined` for what has to be converted. */
  readonly safetensors: SafetensorsFile | undefined
  /** The bytes of a tensor of one number, little-endian. */
  read(name: string): Uint8Array
}

/** The names that trainers give the weights in a folder, the likeliest first. */
const STEMS = ['lora_weights', 'adapter_model', 'pytorch_lora_weights']
const ENDINGS = ['.safetensors', '.sft', '.bin', '.pt']
const WEIGHTS_NAMES = ENDINGS.flatMap((ending) => STEMS.map((stem) => stem + ending))

/** The weights that a LoRA's folder holds; a file is returned as it is. */
export function loraWeights(target: string): string {
  if (!statusOf(target)?.isDirectory()) return target
  const known = WEIGHTS_NAMES.map((name) => path.join(target, name)).find((file) => fs.existsSync(file))
  return known ?? weightsPath(target)
}

/** Whether a folder holds a LoRA, by the names of its files. */
export function isLoraFolder(folder: string): boolean {
  return [...WEIGHTS_NAMES, ADAPTER_CONFIG].some((name) => fs.existsSync(path.join(folder, name)))
}

export function openLoraFile(file: string): LoraFile {
  if (isPytorch(file)) return openPytorchLora(file)
  const opened = openSafetensors(file)
  const { path, metadata, tensors } = opened
  return { path, metadata, tensors, safetensors: opened, read: (name) => readTensorBytes(opened, name) }
}

function openPytorchLora(file: string): LoraFile {
  const opened = openPytorch(file)
  try {
    const tensors = new Map<string, TensorInfo>()
    const numbers = new Map<string, Uint8Array>()
    for (const [name, tensor] of opened.tensors) {
      const { dtype, shape, bytes } = tensor
      tensors.set(name, { dtype, shape, bytes, offset: 0 })
      if (bytes <= 8) numbers.set(name, Uint8Array.from(tensor.read()))
    }
    const read = (name: string) => numbers.get(name)!
    return { path: opened.path, metadata: {}, tensors, safetensors: undefined, read }
  } finally {
    opened.close()
  }
}
