// Every kind that can be run by itself, by name. One function per kind, in the file of its family.
#include "binding/call.h"

namespace iconface::binding {

#define ICONFACE_KINDS(X)    \
  X(linear)                  \
  X(grouped_linear)          \
  X(quantise_rows)           \
  X(layer_norm_modulate)     \
  X(rms_norm)                \
  X(qk_norm_rope)            \
  X(embedding)               \
  X(rope_table)              \
  X(timestep_embedding)      \
  X(silu)                    \
  X(add)                     \
  X(attention)               \
  X(lowrank_memory)          \
  X(lowrank_cross_attention) \
  X(token_detail)            \
  X(resize_tokens)           \
  X(conv2d)                  \
  X(to_channels_last)        \
  X(group_norm_silu)         \
  X(batch_norm_prelu)        \
  X(subsample)               \
  X(depthwise_conv2d)        \
  X(max_pool2d)              \
  X(add_upsampled)           \
  X(pack_latents)            \
  X(image_to_tensor)         \
  X(tensor_to_image)         \
  X(detector_input)          \
  X(face_crop)               \
  X(flow_step)               \
  X(random_normal)           \
  X(transpose)               \
  X(convert)                 \
  X(all_finite)              \
  X(identity_anchor)         \
  X(peak_flops)              \
  X(stream_copy)             \
  X(transformer)             \
  X(double_block)            \
  X(single_block)            \
  X(sample)                  \
  X(face_crop_matrix)        \
  X(schedule)                \
  X(encode)                  \
  X(decode)                  \
  X(face_embedding)          \
  X(text_embedding)          \
  X(face_detection)

#define X(kind) void kind(Context&, Call&);
ICONFACE_KINDS(X)
#undef X

namespace {
struct Named {
  const char* name;
  Run run;
};
const Named kKinds[] = {
#define X(kind) {#kind, kind},
    ICONFACE_KINDS(X)
#undef X
};
}  // namespace

Run find(const std::string& kind) {
  for (const Named& k : kKinds)
    if (kind == k.name) return k.run;
  return nullptr;
}

std::vector<std::string> kinds() {
  std::vector<std::string> names;
  for (const Named& k : kKinds) names.push_back(k.name);
  return names;
}

}  // namespace iconface::binding
