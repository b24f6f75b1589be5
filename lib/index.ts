/**
 * `@iconface/native`: restores degraded face photos with the help of reference photos of the same person.
 *
 * @packageDocumentation
 */

export type { AdapterVariant } from './checkpoint/contract'
export { ICONFACE_ERROR_CODES, IConFaceError, type IConFaceErrorCode, isIConFaceError } from './errors'
export { type EmbedOptions, type EstimateOptions, IConFace } from './iconface'
export { allocateImage, type ImageInput, type RawImage } from './image'
export type { Precision, Rng } from './limits'
export type { FaceEmbedding, ModelInfo, RestoreEstimate } from './model-info'
export type { Alignment, AlignmentOptions, BorderMode } from './photo/alignment'
export type { PasteMask } from './photo/paste-back'
export type { FaceChoice, FoundFace, PhotoOptions, PhotoProgress } from './photo/photo-options'
export { type PhotoFace, PhotoRestoration } from './photo/photo-restoration'
export type { Point } from './photo/anchors'
export type { AffineMatrix, Five } from './photo/similarity'
export type { IdentityReport, MemoryEstimate } from './native'
export type { Align, LoadOptions, Progress, RestoreDefaults, RestoreOptions, Stage, Variant } from './options'
export { type EncodeOptions, type OutputFormat, Restoration } from './restoration'
export { type Restore, restore, type RestoreOnceOptions, restorePhoto, type RestorePhotoOnceOptions } from './restore'
export { ICONFACE_WARNING_CODES, IConFaceWarning, type IConFaceWarningCode } from './warning'
