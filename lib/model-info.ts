/**
 * What a model tells about itself, a restore it is asked about, and a face.
 */

import type { AdapterVariant } from './checkpoint/contract'
import type { MemoryEstimate } from './native'
import type { RestoreDefaults } from './options'
import type { IConFaceWarning } from './warning'

/** What is known about a loaded model. */
export interface ModelInfo {
  /** The checkpoint's name and folder. */
  name: string
  folder: string
  /** The weights are random: synthesized for tests and benchmarks. They restore nothing. */
  synthesized: boolean
  /** Which parts of the paper's model it has, by the row of its Table 3; `Other` where they are in none. */
  variant: AdapterVariant
  /** It has a face encoder: `embed` works and similarities are known. */
  identityEncoder: boolean
  /** It has a text encoder: restores take any prompt. */
  textEncoder: boolean
  /** Name of the device. On the CPU: why `device: 'auto'` chose it; empty if the CPU was asked for. */
  deviceText: string
  /** Instruction set that the CPU's part computes with. */
  isa: string
  threads: number
  /** Bytes of weights. */
  bytes: number
  defaults: RestoreDefaults
  /** What to know about the model; every result repeats it. Empty when all is well. */
  warnings: readonly IConFaceWarning[]
}

/** What a restore will need. */
export interface RestoreEstimate extends MemoryEstimate {
  /** Additions and multiplications of its matrix products, convolutions and attention. */
  operations: number
  /** Estimated milliseconds, from the model's earlier restores; `null` before the first one. */
  milliseconds: number | null
}

/** A face's embedding by the face encoder. */
export interface FaceEmbedding {
  /** Unit vector `[512]`; the cosine of two faces is their dot product. */
  embedding: Float32Array
  /** Norm of the raw embedding: how recognisable the encoder finds the face. */
  norm: number
  /** What to know about the picture; empty when all is well. */
  warnings: readonly IConFaceWarning[]
}
