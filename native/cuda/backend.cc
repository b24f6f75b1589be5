// The GPU's operations as a Backend. Nothing falls back to the processor.
#include "base/error.h"
#include "cuda/kernels.h"
#include "runtime/device.h"

#define ICONFACE_TEXT_(x) #x
#define ICONFACE_TEXT(x) ICONFACE_TEXT_(x)

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

extern const Backend backend;
const Backend backend = {
    .name = "cuda/" ICONFACE_TEXT(ICONFACE_CUDA_TARGET),
    .linear = linear,
    .quantise_rows = quantise_rows,
    .layer_norm_modulate = layer_norm_modulate,
    .rms_norm = rms_norm,
    .qk_norm_rope = qk_norm_rope,
    .embedding = embedding,
    .silu = silu,
    .add = add,
    .attention = attention,
    .lowrank_memory = lowrank_memory,
    .lowrank_cross_attention = lowrank_cross_attention,
    .token_detail = token_detail,
    .resize_tokens = resize_tokens,
    .conv2d = conv2d,
    .group_norm_silu = group_norm_silu,
    .batch_norm_prelu = batch_norm_prelu,
    .subsample = subsample,
    .depthwise_conv2d = depthwise_conv2d,
    .max_pool2d = max_pool2d,
    .add_upsampled = add_upsampled,
    .pack_latents = pack_latents,
    .to_channels_last = to_channels_last,
    .image_to_tensor = image_to_tensor,
    .tensor_to_image = tensor_to_image,
    .detector_input = detector_input,
    .face_crop = face_crop,
    .flow_step = flow_step,
    .transpose = transpose,
    .convert = convert,
    .all_finite = all_finite,
    .peak_flops = peak_flops,
    .stream_copy = stream_copy,
    .rope_table = rope_table,
    .timestep_embedding = timestep_embedding,
    .random_normal = random_normal,
    .identity_anchor = identity_anchor,
};

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
