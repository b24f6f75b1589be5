#include "op/max_pool2d.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void max_pool2d(Context& ctx, const MaxPool2dArgs& a) {
  constexpr const char* kOp = "max_pool2d";
  check_map(kOp, "x", a.x, kF32, {-1, -1, -1, -1});
  check_window(kOp, a.x, a.size, a.size);
  check(a.stride >= 1, kOp, "stride must be at least 1, but is %d", a.stride);
  check(a.pad >= 0 && a.pad <= a.size / 2, kOp, "pad must be 0 to half of size %d, but is %d", a.size, a.pad);
  const int64_t *s = a.x.shape, height = s[1] + 2 * a.pad - a.size, width = s[2] + 2 * a.pad - a.size;
  check(height >= 0 && width >= 0, kOp, "size %d is larger than the padded x %s", a.size, a.x.describe().c_str());
  check_map(kOp, "out", a.out, kF32, {s[0], height / a.stride + 1, width / a.stride + 1, s[3]});
  check(a.out.data != a.x.data, kOp, "out must not be x");
  ctx.backend.max_pool2d(ctx, a);
}

}  // namespace iconface::op
