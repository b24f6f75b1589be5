#include "network/identity_pathway.h"

#include "op/linear.h"
#include "op/silu.h"

namespace iconface {

IdentityPathway::IdentityPathway(Context& ctx, Weights& w, int64_t hidden) : hidden_(hidden) {
  auto layer = [&](const std::string& name, int64_t out, int64_t in) {
    return Layer{w.get("adapter.identity." + name + ".weight", {out, in}),
                 w.f32(ctx, "adapter.identity." + name + ".bias", {out})};
  };
  in_ = layer("global.in", hidden, w.get("adapter.identity.global.in.weight", {hidden, -1}).shape[1]);
  out_ = layer("global.out", hidden, hidden);
  double_ = layer("double", 6 * hidden, hidden);
  single_ = layer("single", 3 * hidden, hidden);
}

IdentityDeltas IdentityPathway::deltas(Context& ctx, const Tensor& anchor) const {
  const Tensor doubles = ctx.workspace.tensor(DType::F32, {1, 6 * hidden_}),
               singles = ctx.workspace.tensor(DType::F32, {1, 3 * hidden_});
  Workspace::Frame frame(ctx.workspace);
  const Tensor h = ctx.workspace.tensor(DType::F32, {1, hidden_}),
               h_id = ctx.workspace.tensor(DType::F32, {1, hidden_});
  op::linear(ctx, {.x = anchor.reshape({1, anchor.elements()}),
                   .weight = in_.weight,
                   .out = h,
                   .bias = in_.bias,
                   .activation = op::Activation::Silu});
  op::linear(ctx, {.x = h, .weight = out_.weight, .out = h_id, .bias = out_.bias});
  ctx.note("h_id", h_id);
  op::silu(ctx, {.x = h_id, .out = h});
  op::linear(ctx, {.x = h, .weight = double_.weight, .out = doubles, .bias = double_.bias});
  op::linear(ctx, {.x = h, .weight = single_.weight, .out = singles, .bias = single_.bias});
  ctx.note("delta_double", doubles);
  ctx.note("delta_single", singles);
  return {doubles.reshape({6 * hidden_}), singles.reshape({3 * hidden_})};
}

}  // namespace iconface
