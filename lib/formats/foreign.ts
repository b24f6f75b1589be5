/**
 * Weight files in formats that this package does not read (GGUF, ONNX, ...): recognised by their first bytes or their
 * name, for an error that says what to take in their place.
 */
import fs from 'node:fs'
import path from 'node:path'
import { IConFaceError } from '../errors'
import { statusOf } from '../util/file-status'

interface Format {
  readonly name: string
  readonly ending?: RegExp
  /** Of the first bytes, as latin1. */
  readonly start?: RegExp
  /** What to do; default: {@link ADVICE}. */
  readonly advice?: string
}

const ADVICE = 'take the safetensors file (bf16 or fp8) of the same model'
const UNPACK = 'unpack it and name what is in it'

const FORMATS: readonly Format[] = [
  { name: 'a GGUF file (weights quantised for llama.cpp)', ending: /\.gguf$/i, start: /^GGUF/ },
  {
    name: 'a GGML file (weights quantised for llama.cpp)',
    ending: /\.gg(ml|mf|jt)$/i,
    start: /^(lmgg|fmgg|tjgg|algg)/,
  },
  { name: 'an ONNX graph', ending: /\.(onnx|ort)([._]data)?$/i },
  { name: 'a TensorRT engine, made for one kind of GPU', ending: /\.(engine|plan|trt)$/i, start: /^[fp]trt/ },
  { name: 'a Core ML model', ending: /\.(mlmodel|mlpackage|mlmodelc)$/i },
  { name: 'an OpenVINO model', ending: /(^|[\\/])openvino[^\\/]*\.(xml|bin)$/i },
  { name: "Flax weights (JAX's msgpack)", ending: /\.msgpack$/i },
  { name: 'a Keras or HDF5 file', ending: /\.(h5|hdf5|keras)$/i, start: /^\x89HDF/ },
  { name: 'a TensorFlow Lite model', ending: /\.tflite$/i, start: /^[^]{4}TFL3/ },
  { name: 'a TensorFlow graph', ending: /\.pb$/i },
  { name: 'a file of NumPy arrays', ending: /\.np[yz]$/i, start: /^\x93NUMPY/ },
  { name: 'an ExecuTorch program', ending: /\.pte$/i },
  { name: 'a DDUF archive of a diffusers folder', ending: /\.dduf$/i, advice: UNPACK },
  {
    name: 'an archive',
    ending: /\.(zip|7z|rar|tar|tgz|gz|xz|zst|bz2)$/i,
    start: /^(7z\xbc\xaf|Rar!|\x1f\x8b\x08|\xfd7zXZ|\x28\xb5\x2f\xfd)/,
    advice: UNPACK,
  },
]

/** Bytes of a file's beginning that are compared. */
export const START_BYTES = 16

/** What a file of another form is and what to do, "a GGUF file …: take …", by its name alone. */
export function foreignName(file: string): string | undefined {
  return sentence(FORMATS.find(({ ending }) => ending?.test(file)))
}

/**
 * The same by how a file begins, and by its name; `undefined` for safetensors whatever they are called.
 *
 * @param start  its first bytes
 */
export function foreignFormat(file: string, start: Uint8Array): string | undefined {
  const text = Buffer.from(start).toString('latin1')
  // A header's length may begin with any bytes, but then the header follows.
  if (text[8] === '{' && text.slice(4, 8) === '\0\0\0\0') return undefined
  return sentence(FORMATS.find((format) => format.start?.test(text))) ?? foreignName(file)
}

function sentence(format: Format | undefined): string | undefined {
  return format && `${format.name}, which is not read: ${format.advice ?? ADVICE}`
}

/**
 * Throws for a file of another form.
 *
 * @throws {IConFaceError} `ERR_ICONFACE_UNSUPPORTED` with what it is and what to do
 */
export function checkNotForeign(file: string): void {
  const absolute = path.resolve(file)
  const folder = statusOf(absolute)?.isDirectory()
  const format = folder ? foreignName(absolute) : foreignFormat(absolute, startOf(absolute))
  if (format !== undefined) throw new IConFaceError('ERR_ICONFACE_UNSUPPORTED', `${absolute} is ${format}`)
}

/** Nothing of what is no file or cannot be read: whoever opens it next says so. */
function startOf(file: string): Uint8Array {
  if (!statusOf(file)?.isFile()) return Buffer.alloc(0)
  const start = Buffer.alloc(START_BYTES)
  try {
    const descriptor = fs.openSync(file, 'r')
    try {
      return start.subarray(0, fs.readSync(descriptor, start, 0, START_BYTES, 0))
    } finally {
      fs.closeSync(descriptor)
    }
  } catch {
    return Buffer.alloc(0)
  }
}
