/**
 * `@iconface/native`: restores degraded face photos with the help of reference photos of the same person.
 *
 * @packageDocumentation
 */

export type { Rng } from './limits'
export type { AdapterVariant } from './checkpoint/contract'
export { ICONFACE_ERROR_CODES, IConFaceError, type IConFaceErrorCode, isIConFaceError } from './errors'
export {
  type EmbedOptions,
  type FaceEmbedding,
  IConFace,
  type EstimateOptions,
  type ModelInfo,
  type RestoreEstimate,
} from './iconface'
export { type RestoreDefaults } from './options'
export { allocateImage, type ImageInput, type RawImage } from './image'
export type { IdentityReport, MemoryEstimate } from './native'
export type { LoadOptions, Progress, RestoreOptions, Stage, Variant } from './options'
export type { Precision } from './limits'
export { type EncodeOptions, type OutputFormat, Restoration } from './restoration'
export { type Restore, restore, type RestoreOnceOptions } from './restore'
export { ICONFACE_WARNING_CODES, IConFaceWarning, type IConFaceWarningCode } from './warning'
