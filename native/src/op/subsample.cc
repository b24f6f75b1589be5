#include "op/subsample.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void subsample(Context& ctx, const SubsampleArgs& a) {
  constexpr const char* kOp = "subsample";
  check_map(kOp, "x", a.x, kFloat, {-1, -1, -1, -1});
  check(a.stride >= 1, kOp, "stride must be at least 1, but is %d", a.stride);
  const int64_t* s = a.x.shape;
  check_map(kOp, "out", a.out, {a.x.dtype},
            {s[0], (s[1] + a.stride - 1) / a.stride, (s[2] + a.stride - 1) / a.stride, s[3]});
  ctx.backend.subsample(ctx, a);
}

}  // namespace iconface::op
