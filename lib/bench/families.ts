/**
 * Every benchmark of an operation, in the order in which they run, and short names of several.
 */

import type { Family, Precision } from './case'
import { conv2d } from './conv2d'
import { addUpsampled, depthwiseConv2d, detectorInput, maxPool2d } from './detector'
import { add, allFinite, convert, silu, transpose } from './elementwise'
import { lowrankCrossAttention, lowrankMemory } from './lowrank'
import { subsample, toChannelsLast } from './maps'
import { peakFlops, streamCopy } from './peaks'
import { faceCrop, imageToTensor, tensorToImage } from './pixels'
import { attention, linear, linearGated, linearQkv, linearSwiglu } from './products'
import { batchNormPrelu, flowStep, groupNormSilu, layerNormModulate, qkNormRope, quantiseRows } from './streams'
import { identityAnchor, randomNormal, ropeTable, timestepEmbedding } from './tables'
import { causalAttention, embedding, rmsNorm } from './text'
import { packLatents, resizeTokens, tokenDetail } from './tokens'

/**
 * One of every operation's own name at least; others, such as `linear_gated`, are a part of one that matters by itself.
 */
export const FAMILIES: readonly Family<Precision>[] = [
  linear,
  linearSwiglu,
  linearGated,
  linearQkv,
  attention,
  lowrankMemory,
  lowrankCrossAttention,
  conv2d,
  layerNormModulate,
  quantiseRows,
  qkNormRope,
  flowStep,
  silu,
  add,
  convert,
  transpose,
  allFinite,
  groupNormSilu,
  batchNormPrelu,
  subsample,
  toChannelsLast,
  packLatents,
  tokenDetail,
  resizeTokens,
  embedding,
  rmsNorm,
  causalAttention,
  depthwiseConv2d,
  maxPool2d,
  addUpsampled,
  detectorInput,
  imageToTensor,
  tensorToImage,
  faceCrop,
  ropeTable,
  timestepEmbedding,
  randomNormal,
  identityAnchor,
  peakFlops,
  streamCopy,
]

/** Short names of several benchmarks, or of one. */
export const GROUPS: Readonly<Record<string, readonly string[]>> = {
  modulate: ['layer_norm_modulate', 'qk_norm_rope'],
  lowrank: ['lowrank_cross_attention'],
  'flow-step': ['flow_step'],
  conv: ['conv2d'],
  vae: ['encode', 'decode'],
  detector: ['depthwise_conv2d', 'max_pool2d', 'add_upsampled', 'detector_input'],
  pixels: ['image_to_tensor', 'tensor_to_image', 'face_crop'],
  tables: ['rope_table', 'timestep_embedding', 'random_normal', 'identity_anchor'],
}
