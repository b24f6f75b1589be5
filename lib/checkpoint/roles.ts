/**
 * The parts of a model, and everything else that weights can be.
 */

/** The parts a model consists of. */
export type Role = 'transformer' | 'autoencoder' | 'adapter' | 'face' | 'prompt'

/** What weights can be; the last three are recognised, and not used by this version or not by themselves. */
export type Kind = Role | 'lora' | 'text encoder' | 'face detector' | 'unknown'

/** What the parts are called in reports. */
export const TITLES: Readonly<Record<Kind, string>> = {
  transformer: 'FLUX.2 transformer',
  autoencoder: 'FLUX.2 autoencoder',
  adapter: 'IConFace adapter',
  face: 'AdaFace face encoder',
  prompt: 'prompt embeddings',
  lora: 'LoRA',
  'text encoder': 'Qwen3 text encoder',
  'face detector': 'RetinaFace face detector',
  unknown: 'unknown tensors',
}
