#include "op/add_upsampled.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void add_upsampled(Context& ctx, const AddUpsampledArgs& a) {
  constexpr const char* kOp = "add_upsampled";
  check_map(kOp, "x", a.x, kF32, {-1, -1, -1, -1});
  const int64_t* s = a.x.shape;
  check_map(kOp, "y", a.y, kF32, {s[0], -1, -1, s[3]});
  check(a.y.shape[1] <= s[1] && a.y.shape[2] <= s[2], kOp, "y %s must not be larger than x %s", a.y.describe().c_str(),
        a.x.describe().c_str());
  check_map(kOp, "out", a.out, kF32, {s[0], s[1], s[2], s[3]});
  check(a.out.data != a.y.data || (a.y.shape[1] == s[1] && a.y.shape[2] == s[2]), kOp, "out must not be y");
  ctx.backend.add_upsampled(ctx, a);
}

}  // namespace iconface::op
