#include "op/batch_norm_prelu.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void batch_norm_prelu(Context& ctx, const BatchNormPreluArgs& a) {
  constexpr const char* kOp = "batch_norm_prelu";
  check_map(kOp, "x", a.x, kFloat, {-1, -1, -1, -1});
  const int64_t *s = a.x.shape, channels = a.x.last();
  check_map(kOp, "out", a.out, kFloat, {s[0], s[1], s[2], s[3]});
  check_tensor(kOp, "scale", a.scale, kF32, {channels});
  check_tensor(kOp, "shift", a.shift, kF32, {channels});
  if (a.slope.defined()) check_tensor(kOp, "slope", a.slope, kF32, {channels});
  ctx.backend.batch_norm_prelu(ctx, a);
}

}  // namespace iconface::op
