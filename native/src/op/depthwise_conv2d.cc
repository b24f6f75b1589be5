#include "op/depthwise_conv2d.h"

#include <algorithm>

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void depthwise_conv2d(Context& ctx, const DepthwiseConv2dArgs& a) {
  constexpr const char* kOp = "depthwise_conv2d";
  check_map(kOp, "x", a.x, kF32, {-1, -1, -1, -1});
  const int64_t *s = a.x.shape, channels = a.x.last();
  check_map(kOp, "weight", a.weight, kF32, {-1, -1, channels});
  check_window(kOp, a.x, a.weight.shape[0], a.weight.shape[1]);
  check(a.stride >= 1, kOp, "stride must be at least 1, but is %d", a.stride);
  const int64_t most_pad = std::max(a.weight.shape[0], a.weight.shape[1]);
  check(a.pad >= 0 && a.pad <= most_pad, kOp, "pad must be 0 to the kernel's %lld, but is %d",
        static_cast<long long>(most_pad), a.pad);
  const int64_t height = s[1] + 2 * a.pad - a.weight.shape[0], width = s[2] + 2 * a.pad - a.weight.shape[1];
  check(height >= 0 && width >= 0, kOp, "weight %s is larger than the padded x %s", a.weight.describe().c_str(),
        a.x.describe().c_str());
  check_map(kOp, "out", a.out, kF32, {s[0], height / a.stride + 1, width / a.stride + 1, channels});
  check(a.out.data != a.x.data, kOp, "out must not be x");
  if (a.bias.defined()) check_tensor(kOp, "bias", a.bias, kF32, {channels});
  if (a.slope.defined()) check_tensor(kOp, "slope", a.slope, kF32, {channels});
  ctx.backend.depthwise_conv2d(ctx, a);
}

}  // namespace iconface::op
