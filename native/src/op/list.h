// Every operation, once: X(result, name, arguments). The table of a device's operations (op/backend.h), their
// declarations (cpu/kernels.h, cuda/kernels.h), what fills the table, and the names that TypeScript calls them by are
// made from this list.
//
// A new operation is a line here and files of its name: op/NAME.h and .cc declare and check it, cpu/NAME.cc and
// cuda/NAME.cu compute it, binding/NAME.cc reads its arguments from a call, lib/ops calls it, test/ops tests it,
// lib/bench times it.
// docs/adding-an-operation.md walks through one.
#pragma once
#include "op/add.h"
#include "op/add_upsampled.h"
#include "op/all_finite.h"
#include "op/attention.h"
#include "op/batch_norm_prelu.h"
#include "op/conv2d.h"
#include "op/convert.h"
#include "op/depthwise_conv2d.h"
#include "op/detector_input.h"
#include "op/embedding.h"
#include "op/face_crop.h"
#include "op/flow_step.h"
#include "op/group_norm_silu.h"
#include "op/identity_anchor.h"
#include "op/image_to_tensor.h"
#include "op/layer_norm_modulate.h"
#include "op/linear.h"
#include "op/lowrank_cross_attention.h"
#include "op/lowrank_memory.h"
#include "op/max_pool2d.h"
#include "op/pack_latents.h"
#include "op/peak_flops.h"
#include "op/qk_norm_rope.h"
#include "op/quantise_rows.h"
#include "op/random_normal.h"
#include "op/resize_tokens.h"
#include "op/rms_norm.h"
#include "op/rope_table.h"
#include "op/silu.h"
#include "op/stream_copy.h"
#include "op/subsample.h"
#include "op/tensor_to_image.h"
#include "op/timestep_embedding.h"
#include "op/to_channels_last.h"
#include "op/token_detail.h"
#include "op/transpose.h"

// Computed with every instruction set.
#define ICONFACE_KERNELS(X)                                       \
  X(void, linear, op::LinearGroup)                                \
  X(void, quantise_rows, op::QuantiseRowsArgs)                    \
  X(void, layer_norm_modulate, op::LayerNormModulateArgs)         \
  X(void, rms_norm, op::RmsNormArgs)                              \
  X(void, qk_norm_rope, op::QkNormRopeArgs)                       \
  X(int64_t, embedding, op::EmbeddingArgs)                        \
  X(void, silu, op::SiluArgs)                                     \
  X(void, add, op::AddArgs)                                       \
  X(void, attention, op::AttentionArgs)                           \
  X(void, lowrank_memory, op::LowrankMemoryArgs)                  \
  X(void, lowrank_cross_attention, op::LowrankCrossAttentionArgs) \
  X(void, token_detail, op::TokenDetailArgs)                      \
  X(void, resize_tokens, op::ResizeTokensArgs)                    \
  X(void, conv2d, op::Conv2dArgs)                                 \
  X(void, to_channels_last, op::ToChannelsLastArgs)               \
  X(void, group_norm_silu, op::GroupNormSiluArgs)                 \
  X(void, batch_norm_prelu, op::BatchNormPreluArgs)               \
  X(void, subsample, op::SubsampleArgs)                           \
  X(void, depthwise_conv2d, op::DepthwiseConv2dArgs)              \
  X(void, max_pool2d, op::MaxPool2dArgs)                          \
  X(void, add_upsampled, op::AddUpsampledArgs)                    \
  X(void, pack_latents, op::PackLatentsArgs)                      \
  X(void, image_to_tensor, op::ImageToTensorArgs)                 \
  X(void, tensor_to_image, op::TensorToImageArgs)                 \
  X(void, detector_input, op::DetectorInputArgs)                  \
  X(void, face_crop, op::FaceCropArgs)                            \
  X(void, flow_step, op::FlowStepArgs)                            \
  X(void, transpose, op::TransposeArgs)                           \
  X(void, convert, op::ConvertArgs)                               \
  X(bool, all_finite, Tensor)                                     \
  X(int64_t, peak_flops, op::PeakFlopsArgs)                       \
  X(void, stream_copy, op::StreamCopyArgs)

// Small tables, computed in double once per restore. On the CPU they are compiled once, so that every instruction set
// gets the same bits.
#define ICONFACE_TABLES(X)                               \
  X(void, rope_table, op::RopeTableArgs)                 \
  X(void, timestep_embedding, op::TimestepEmbeddingArgs) \
  X(void, random_normal, op::RandomNormalArgs)           \
  X(void, identity_anchor, op::IdentityAnchorArgs)

#define ICONFACE_OPERATIONS(X) ICONFACE_KERNELS(X) ICONFACE_TABLES(X)
