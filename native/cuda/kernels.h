// The GPU's operations (and the emulated GPU's). A launcher's tensors lie in device memory and their shapes were checked;
// it takes its scratch from the workspace, queues kernels unless it is planning, and never waits. backend.cc lists them.
#pragma once
#include "op/backend.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

void linear(Context&, const op::LinearGroup&);
void quantise_rows(Context&, const op::QuantiseRowsArgs&);
void layer_norm_modulate(Context&, const op::LayerNormModulateArgs&);
void rms_norm(Context&, const op::RmsNormArgs&);
void qk_norm_rope(Context&, const op::QkNormRopeArgs&);
int64_t embedding(Context&, const op::EmbeddingArgs&);  // waits: the ids are checked on the host
void silu(Context&, const op::SiluArgs&);
void add(Context&, const op::AddArgs&);
void attention(Context&, const op::AttentionArgs&);
void lowrank_memory(Context&, const op::LowrankMemoryArgs&);
void lowrank_cross_attention(Context&, const op::LowrankCrossAttentionArgs&);
void token_detail(Context&, const op::TokenDetailArgs&);
void resize_tokens(Context&, const op::ResizeTokensArgs&);
void conv2d(Context&, const op::Conv2dArgs&);
void group_norm_silu(Context&, const op::GroupNormSiluArgs&);
void batch_norm_prelu(Context&, const op::BatchNormPreluArgs&);
void subsample(Context&, const op::SubsampleArgs&);
void depthwise_conv2d(Context&, const op::DepthwiseConv2dArgs&);
void max_pool2d(Context&, const op::MaxPool2dArgs&);
void add_upsampled(Context&, const op::AddUpsampledArgs&);
void pack_latents(Context&, const op::PackLatentsArgs&);
void to_channels_last(Context&, const op::ToChannelsLastArgs&);
void image_to_tensor(Context&, const op::ImageToTensorArgs&);
void tensor_to_image(Context&, const op::TensorToImageArgs&);
void detector_input(Context&, const op::DetectorInputArgs&);
void face_crop(Context&, const op::FaceCropArgs&);
void flow_step(Context&, const op::FlowStepArgs&);
void transpose(Context&, const op::TransposeArgs&);
void convert(Context&, const op::ConvertArgs&);
bool all_finite(Context&, const Tensor&);  // waits: its answer is needed on the host
int64_t peak_flops(Context&, const op::PeakFlopsArgs&);
void stream_copy(Context&, const op::StreamCopyArgs&);
// In double.
void rope_table(Context&, const op::RopeTableArgs&);
void timestep_embedding(Context&, const op::TimestepEmbeddingArgs&);
void random_normal(Context&, const op::RandomNormalArgs&);
void identity_anchor(Context&, const op::IdentityAnchorArgs&);

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
