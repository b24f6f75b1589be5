/**
 * Which network a file of weights holds, by the names of its tensors.
 */
import { isAdapterTensor } from './lora-names'
import type { Kind } from './roles'

/** Which network's tensors these are. */
export function recogniseKind(names: readonly string[]): Kind {
  const some = (pattern: RegExp) => names.some((name) => pattern.test(name))
  if (names.some(isAdapterTensor)) return 'lora'
  if (some(/^(.*\.)?(double_blocks|single_blocks|transformer_blocks|single_transformer_blocks)\.\d+\./))
    return 'transformer'
  if (some(/^((encoder|decoder)\.)?(conv_in|conv_out)\./)) return 'autoencoder'
  if (some(/^(model\.)?(input_layer|output_layer)\.\d\./)) return 'face'
  if (some(/^(identity\.(global|double|single)|structure)\./)) return 'adapter'
  if (some(/^(module\.)?((BboxHead|bbox_head|LandmarkHead|landmark_head)\.|ssh\d\.conv)/)) return 'face detector'
  if (some(/^(model\.)?layers\.\d+\.self_attn\.q_norm\./)) return 'text encoder'
  return names.includes('prompt') && names.includes('empty') ? 'prompt' : 'unknown'
}
