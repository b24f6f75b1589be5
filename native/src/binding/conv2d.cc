#include "op/conv2d.h"

#include <cmath>

#include "binding/call.h"

namespace iconface::binding {

/// x [B, H, W, C], weight [O, kh, kw, C], bias?, slope?, residual?; stride, pad [top, left, bottom, right], upsample,
/// compute 'f32' | 'bf16' (x's type unless given), outDtype (x's type unless given).
void conv2d(Context& ctx, Call& call) {
  op::Conv2dArgs a;
  a.x = call.input("x");
  a.weight = call.input("weight");
  a.bias = call.optional("bias");
  a.slope = call.optional("slope");
  a.residual = call.optional("residual");
  a.stride = call.whole("stride", 1);
  a.upsample = call.whole("upsample", 1);
  const std::vector<double> pad = call.numbers("pad");
  if (!pad.empty() && pad.size() != 4)
    fail(Code::InvalidArgument, "expected 4 numbers (top, left, bottom, right) for pad but received %zu", pad.size());
  for (const double n : pad)
    if (!(n >= 0 && n <= INT32_MAX) || n != std::floor(n))
      fail(Code::InvalidArgument, "expected whole numbers of 0 or more in pad but received %g", n);
  if (!pad.empty()) {
    a.pad_top = static_cast<int>(pad[0]), a.pad_left = static_cast<int>(pad[1]);
    a.pad_bottom = static_cast<int>(pad[2]), a.pad_right = static_cast<int>(pad[3]);
  }
  a.compute = call.dtype("compute", a.x.dtype);

  // The result's shape; sizes that cannot be right give an empty one here and a message from the operation.
  int64_t height = 0, width = 0, channels = 0, batch = 0;
  if (a.x.rank == 4 && a.weight.rank == 4 && a.stride > 0 && a.upsample > 0) {
    const auto size = [&](int axis, int before, int after) {
      const int64_t padded = a.x.shape[axis] * a.upsample + before + after;
      return padded < a.weight.shape[axis] ? 0 : (padded - a.weight.shape[axis]) / a.stride + 1;
    };
    batch = a.x.shape[0], channels = a.weight.shape[0];
    height = size(1, a.pad_top, a.pad_bottom), width = size(2, a.pad_left, a.pad_right);
  }
  a.out = call.output("out", call.dtype("outDtype", a.x.dtype), {batch, height, width, channels});
  op::conv2d(ctx, a);
}

}  // namespace iconface::binding
