/**
 * The networks by themselves: the transformer, its blocks, the sampler, the autoencoder, the face encoder and the face
 * detector over a checkpoint, tensors in and tensors out. For parity runs, tests, and people who train against this
 * runtime.
 *
 * @example
 * import { f32 } from '@iconface/native/ops'
 * import { Networks } from '@iconface/native/networks'
 *
 * await using networks = await Networks.load('models/tiny', { precision: 'f32' })
 * const { tokens } = await networks.run('encode', { image: f32([64, 64, 3], pixels) })
 *
 * @packageDocumentation
 */

export type { ByteRange } from '../formats/named-tensors'
export type { Checkpoint, JoinedTensor, LoraUpdate, StoredTensor } from '../checkpoint/spec'
export type { Result, RunParams, Tensor } from '../ops'
export type { DetectedFace, Point } from '../photo/anchors'
export { FaceDetector, type DetectOptions, type DetectorOptions, type FindOptions } from '../photo/detect'
export type { FaceSelection } from '../photo/policy'
export { type OpenTextEncoder, openTextEncoder, type TextEncoderOptions } from '../text/encoder'
export { PromptTokenizer, type PromptTokens } from '../text/tokenizer'
export type { NetworkKinds } from './kinds'
export { Networks, type NetworksOptions } from './networks'
