#include "cpu/kernels.h"

#include "cpu/host_tables.h"

#define ICONFACE_TEXT_(x) #x
#define ICONFACE_TEXT(x) ICONFACE_TEXT_(x)

namespace iconface::cpu::ICONFACE_ISA {

extern const Backend backend;
const Backend backend = {
    .name = "cpu/" ICONFACE_TEXT(ICONFACE_ISA),
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
    .rope_table = cpu::rope_table,
    .timestep_embedding = cpu::timestep_embedding,
    .random_normal = cpu::random_normal,
    .identity_anchor = cpu::identity_anchor,
};

}  // namespace iconface::cpu::ICONFACE_ISA
