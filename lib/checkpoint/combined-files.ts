/**
 * Files that hold several networks, or one under a longer name: ComfyUI's SaveCheckpoint puts the transformer, the
 * autoencoder and perhaps the text encoder into one, each after a prefix of its own.
 */
import { isAdapterTensor } from './lora-names'
import type { NamedTensors } from '../formats/named-tensors'
import { recogniseKind } from './recognise'
import { type Kind } from './roles'

/** What may stand before the names of a whole network; the longest that fits is taken. */
const PREFIX =
  /^(?:model\.diffusion_model|diffusion_model|first_stage_model|vae|text_encoders\.[^.]+(?:\.transformer)?|text_encoder|cond_stage_model(?:\.[^.]+\.transformer)?)\./

/** What other tools put before the names of a transformer, which too many networks share to be told by it alone. */
const BEFORE_BLOCKS =
  /^((?:transformer|model|module|net|unet|dit)\.)(?:double|single|transformer|single_transformer)_blocks\.\d+\./

/** The networks of a file by the prefix of their names, without it; what has no prefix is under ''. */
export function splitNetworks(tensors: NamedTensors): Map<string, NamedTensors> {
  // A LoRA is one, though parts of it may be for several networks.
  if ([...tensors.keys()].some(isAdapterTensor)) return new Map([['', tensors]])
  const ofBlocks = [...tensors.keys()]
    .map((name) => BEFORE_BLOCKS.exec(name)?.[1])
    .find((prefix) => prefix !== undefined)
  const prefixOf = (name: string) => {
    const [prefix = ''] = PREFIX.exec(name) ?? []
    return prefix === '' && ofBlocks !== undefined && name.startsWith(ofBlocks) ? ofBlocks : prefix
  }
  const networks = new Map<string, NamedTensors>()
  for (const [name, tensor] of tensors) {
    const prefix = prefixOf(name)
    const network: NamedTensors = networks.get(prefix) ?? new Map()
    networks.set(prefix, network.set(name.slice(prefix.length), tensor))
  }
  return networks
}

/** The tensors of one network of a file, without its prefix; all tensors where the network cannot be told. */
export function networkOf(kind: Kind, tensors: NamedTensors): NamedTensors {
  const networks = splitNetworks(tensors)
  if (networks.size === 1) return [...networks.values()][0]!
  const own = [...networks.values()].filter((network) => recogniseKind([...network.keys()]) === kind)
  return own.length === 1 ? own[0]! : tensors
}
