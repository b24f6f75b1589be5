#include "op/to_channels_last.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void to_channels_last(Context& ctx, const ToChannelsLastArgs& a) {
  check_tensor("to_channels_last", "weight", a.weight, kWeight, {-1, -1, -1, -1});
  const int64_t* s = a.weight.shape;
  check_tensor("to_channels_last", "out", a.out, kFloat, {s[0], s[2], s[3], s[1]});
  if (a.scale.defined()) check_tensor("to_channels_last", "scale", a.scale, kF32, {s[0]});
  check(a.weight.contiguous() && a.out.contiguous(), "to_channels_last", "weight and out must be contiguous");
  ctx.backend.to_channels_last(ctx, a);
}

}  // namespace iconface::op
