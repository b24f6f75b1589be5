#include "model/model.h"

#include "base/error.h"
#include "runtime/planning.h"

namespace iconface {

Model::Model(Context& ctx, const CheckpointSpec& s, Precision p)
    : spec(s), precision(p), compute(compute_type(p)), weights(s, ctx.device) {
  if (!spec.loras.empty()) plan_then_run(ctx, [&](Context& x) { merge_loras(x, weights, spec.loras, compute); });
  if (weights.has("transformer.img_in.weight")) {
    transformer = std::make_unique<Flux2Transformer>(ctx, weights, spec, precision);
    const Flux2Config& f = transformer->config();
    structure =
        std::make_unique<StructurePathway>(ctx, weights, spec, f.hidden, f.heads, transformer->blocks(), compute);
    if (weights.has("adapter.identity.global.in.weight"))
      identity = std::make_unique<IdentityPathway>(ctx, weights, f.hidden);
  }
  for (const auto& [name, entry] : spec.tensors)
    if (name.rfind("prompt.", 0) == 0) weights.get(name);  // so that a restore finds them on the device
  ctx.check_cancelled();
  if (weights.has("vae.encoder.conv_in.weight"))
    autoencoder = std::make_unique<Autoencoder>(ctx, weights, spec, compute);
  ctx.check_cancelled();
  if (weights.has("face.input_layer.0.weight")) face = std::make_unique<AdaFace>(ctx, weights, spec);
  if (weights.has("text.embed_tokens.weight")) text = std::make_unique<Qwen3Encoder>(ctx, weights, spec, compute);
  if (weights.has("detector.fpn.output1.0.weight")) detector = std::make_unique<RetinaFace>(ctx, weights);
}

void Model::fail_missing(const char* part) {
  fail(Code::InvalidCheckpoint, "the checkpoint has no %s; `iconface inspect` lists what is missing", part);
}

}  // namespace iconface
