/** Published RetinaFace weights as a checkpoint for the networks. */
import { expectation, IConFaceError } from '../errors'
import type { Checkpoint, StoredTensor } from './spec'
import { openSafetensors } from '../formats/safetensors'

/** Other names of the same tensors: those of the other PyTorch implementation, and of parallel training. */
const OTHER_NAMES: readonly (readonly [RegExp, string])[] = [
  [/^module\./, ''],
  [/^body\./, 'fx.'],
  [/^BboxHead\.(\d)\.conv1x1\./, 'bbox_head.bbox_head.$1.'],
  [/^ClassHead\.(\d)\.conv1x1\./, 'class_head.class_head.$1.'],
  [/^LandmarkHead\.(\d)\.conv1x1\./, 'landmark_head.landmark_head.$1.'],
]

/**
 * A file of RetinaFace's weights as a checkpoint for `Networks`, under the names `fx.`, `fpn.`, `ssh1.`, `bbox_head.`
 * ...
 *
 * @throws {IConFaceError} `ERR_ICONFACE_INVALID_CHECKPOINT`, `ERR_ICONFACE_FILE_NOT_FOUND`, `ERR_ICONFACE_IO`.
 */
export function detectorCheckpoint(file: string): Checkpoint {
  const { path, fileSize, tensors } = openSafetensors(file)
  const named: Record<string, StoredTensor> = {}
  for (const [name, tensor] of tensors) {
    if (name.endsWith('.num_batches_tracked')) continue
    const canonical = OTHER_NAMES.reduce((text, [pattern, to]) => text.replace(pattern, to), name)
    if (`detector.${canonical}` in named) {
      const message = expectation('the face detector', `one tensor ${canonical}`, 'several under different names')
      throw new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', `${path}: ${message}`)
    }
    named[`detector.${canonical}`] = { file: 0, ...tensor }
  }
  if (!('detector.fpn.output1.0.weight' in named)) {
    const message = expectation('the face detector', 'the tensors of a RetinaFace network', path)
    throw new IConFaceError('ERR_ICONFACE_INVALID_CHECKPOINT', message)
  }
  return { files: [{ path, size: fileSize }], tensors: named }
}
