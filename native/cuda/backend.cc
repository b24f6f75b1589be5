// The GPU's operations as a Backend. What is not written yet says so when it is called; nothing falls back to the processor.
#include "cuda/kernels.h"
#include "runtime/device.h"
#include "runtime/error.h"

#define ICONFACE_TEXT_(x) #x
#define ICONFACE_TEXT(x) ICONFACE_TEXT_(x)

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

/// Refuses an operation that has no kernel yet.
template <auto kMember>
struct Missing;
template <class Result, class Args, Result (*Backend::*kMember)(Context&, const Args&)>
struct Missing<kMember> {
  static Result run(Context& ctx, const Args&) {
    const std::string name = __PRETTY_FUNCTION__;  // "... kMember = &iconface::Backend::linear; ..."
    const size_t begin = name.rfind("Backend::") + 9;
    fail(Code::Unsupported, "the operation %s is not available on %s yet",
         name.substr(begin, name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_", begin) - begin).c_str(),
         ctx.device->name.c_str());
  }
};

}  // namespace

extern const Backend backend;
const Backend backend = {
    .name = "cuda/" ICONFACE_TEXT(ICONFACE_CUDA_TARGET),
    .linear = linear,
    .layer_norm_modulate = Missing<&Backend::layer_norm_modulate>::run,
    .qk_norm_rope = Missing<&Backend::qk_norm_rope>::run,
    .silu = silu,
    .add = add,
    .attention = attention,
    .lowrank_memory = lowrank_memory,
    .lowrank_cross_attention = lowrank_cross_attention,
    .token_detail = Missing<&Backend::token_detail>::run,
    .resize_tokens = Missing<&Backend::resize_tokens>::run,
    .conv2d = Missing<&Backend::conv2d>::run,
    .group_norm_silu = Missing<&Backend::group_norm_silu>::run,
    .batch_norm_prelu = Missing<&Backend::batch_norm_prelu>::run,
    .subsample = Missing<&Backend::subsample>::run,
    .pack_latents = Missing<&Backend::pack_latents>::run,
    .to_channels_last = Missing<&Backend::to_channels_last>::run,
    .image_to_tensor = Missing<&Backend::image_to_tensor>::run,
    .tensor_to_image = Missing<&Backend::tensor_to_image>::run,
    .face_crop = Missing<&Backend::face_crop>::run,
    .flow_step = Missing<&Backend::flow_step>::run,
    .transpose = Missing<&Backend::transpose>::run,
    .convert = Missing<&Backend::convert>::run,
    .all_finite = Missing<&Backend::all_finite>::run,
    .peak_flops = Missing<&Backend::peak_flops>::run,
    .stream_copy = Missing<&Backend::stream_copy>::run,
    .rope_table = rope_table,
    .timestep_embedding = timestep_embedding,
    .random_normal = random_normal,
    .identity_anchor = identity_anchor,
};

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
