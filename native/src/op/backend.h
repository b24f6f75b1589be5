// Backend: the operations of one device, as a table. op/*.cc check the arguments, then call through it.
#pragma once
#include "op/attention.h"
#include "op/convert.h"
#include "op/convolution.h"
#include "op/embedding.h"
#include "op/flow.h"
#include "op/identity_anchor.h"
#include "op/linear.h"
#include "op/lowrank_cross_attention.h"
#include "op/normalize.h"
#include "op/pixels.h"
#include "op/probe.h"
#include "op/quantise_rows.h"

namespace iconface {

struct Backend {
  const char* name;  // "cpu/avx512bf16", ...

  void (*linear)(Context&, const op::LinearGroup&);
  void (*quantise_rows)(Context&, const op::QuantiseRowsArgs&);
  void (*layer_norm_modulate)(Context&, const op::LayerNormModulateArgs&);
  void (*rms_norm)(Context&, const op::RmsNormArgs&);
  void (*qk_norm_rope)(Context&, const op::QkNormRopeArgs&);
  /// Returns the place of the first id outside the table, then nothing is written; else the number of ids.
  int64_t (*embedding)(Context&, const op::EmbeddingArgs&);
  void (*silu)(Context&, const op::SiluArgs&);
  void (*add)(Context&, const op::AddArgs&);
  void (*attention)(Context&, const op::AttentionArgs&);  // tensors with a batch axis
  void (*lowrank_memory)(Context&, const op::LowrankMemoryArgs&);
  void (*lowrank_cross_attention)(Context&, const op::LowrankCrossAttentionArgs&);
  void (*token_detail)(Context&, const op::TokenDetailArgs&);
  void (*resize_tokens)(Context&, const op::ResizeTokensArgs&);
  void (*conv2d)(Context&, const op::Conv2dArgs&);
  void (*group_norm_silu)(Context&, const op::GroupNormSiluArgs&);
  void (*batch_norm_prelu)(Context&, const op::BatchNormPreluArgs&);
  void (*subsample)(Context&, const op::SubsampleArgs&);
  void (*depthwise_conv2d)(Context&, const op::DepthwiseConv2dArgs&);
  void (*max_pool2d)(Context&, const op::MaxPool2dArgs&);
  void (*add_upsampled)(Context&, const op::AddUpsampledArgs&);
  void (*pack_latents)(Context&, const op::PackLatentsArgs&);
  void (*to_channels_last)(Context&, const op::ToChannelsLastArgs&);
  void (*image_to_tensor)(Context&, const op::ImageToTensorArgs&);
  void (*tensor_to_image)(Context&, const op::TensorToImageArgs&);
  void (*detector_input)(Context&, const op::DetectorInputArgs&);
  void (*face_crop)(Context&, const op::FaceCropArgs&);
  void (*flow_step)(Context&, const op::FlowStepArgs&);
  void (*transpose)(Context&, const op::TransposeArgs&);
  void (*convert)(Context&, const op::ConvertArgs&);
  bool (*all_finite)(Context&, const Tensor&);
  int64_t (*peak_flops)(Context&, const op::PeakFlopsArgs&);
  void (*stream_copy)(Context&, const op::StreamCopyArgs&);
  // Small tables made once per restore, in double: all instruction sets give the same bits.
  void (*rope_table)(Context&, const op::RopeTableArgs&);
  void (*timestep_embedding)(Context&, const op::TimestepEmbeddingArgs&);
  void (*random_normal)(Context&, const op::RandomNormalArgs&);
  void (*identity_anchor)(Context&, const op::IdentityAnchorArgs&);
};

}  // namespace iconface
