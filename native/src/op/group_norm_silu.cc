#include "op/group_norm_silu.h"

#include <cmath>

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void group_norm_silu(Context& ctx, const GroupNormSiluArgs& a) {
  constexpr const char* kOp = "group_norm_silu";
  check_map(kOp, "x", a.x, kFloat, {-1, -1, -1, -1});
  const int64_t *s = a.x.shape, channels = a.x.last();
  check_map(kOp, "out", a.out, kFloat, {s[0], s[1], s[2], s[3]});
  check_tensor(kOp, "weight", a.weight, kF32, {channels});
  check_tensor(kOp, "bias", a.bias, kF32, {channels});
  check(a.groups >= 1 && channels % a.groups == 0, kOp, "groups must divide the %lld channels, but is %d",
        static_cast<long long>(channels), a.groups);
  check(std::isfinite(a.eps) && a.eps >= 0, kOp, "eps must be finite and not negative, but is %g", a.eps);
  ctx.backend.group_norm_silu(ctx, a);
}

}  // namespace iconface::op
