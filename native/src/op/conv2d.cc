#include "op/conv2d.h"

#include <algorithm>

#include "op/backend.h"
#include "op/check.h"
#include "runtime/meter.h"

namespace iconface::op {

namespace {
constexpr int kMaxUpsample = 64, kMaxPadding = 1 << 16;
}

void conv2d(Context& ctx, const Conv2dArgs& a) {
  check_tensor("conv2d", "x", a.x, kFloat, {-1, -1, -1, -1});
  check_tensor("conv2d", "weight", a.weight, kWeight, {-1, -1, -1, a.x.shape[3]});
  check(a.stride >= 1, "conv2d", "expected a stride of at least 1 but received %d", a.stride);
  check(a.upsample >= 1, "conv2d", "expected upsample of at least 1 but received %d", a.upsample);
  check(a.pad_top >= 0 && a.pad_left >= 0 && a.pad_bottom >= 0 && a.pad_right >= 0, "conv2d",
        "expected padding of at least 0 but received %d, %d, %d, %d", a.pad_top, a.pad_left, a.pad_bottom, a.pad_right);
  // Far beyond any network, and small enough that no size of a kernel's scratch overflows.
  check(a.upsample <= kMaxUpsample && std::max({a.pad_top, a.pad_left, a.pad_bottom, a.pad_right}) <= kMaxPadding,
        "conv2d", "expected upsample of at most %d and padding of at most %d but received %d and %d, %d, %d, %d",
        kMaxUpsample, kMaxPadding, a.upsample, a.pad_top, a.pad_left, a.pad_bottom, a.pad_right);
  check(a.compute == DType::F32 || a.compute == DType::BF16, "conv2d", "expected compute F32 or BF16 but received %s",
        dtype_name(a.compute));
  check(a.x.elements() > 0 && a.weight.elements() > 0, "conv2d", "x %s and weight %s must not be empty",
        a.x.describe().c_str(), a.weight.describe().c_str());
  const int64_t height = a.x.shape[1] * a.upsample + a.pad_top + a.pad_bottom;
  const int64_t width = a.x.shape[2] * a.upsample + a.pad_left + a.pad_right;
  check(height >= a.weight.shape[1] && width >= a.weight.shape[2], "conv2d", "weight %s is larger than the padded x %s",
        a.weight.describe().c_str(), a.x.describe().c_str());
  const int64_t out_height = (height - a.weight.shape[1]) / a.stride + 1;
  const int64_t out_width = (width - a.weight.shape[2]) / a.stride + 1, channels = a.weight.shape[0];
  check_tensor("conv2d", "out", a.out, kFloat, {a.x.shape[0], out_height, out_width, channels});
  if (a.bias.defined()) check_tensor("conv2d", "bias", a.bias, kF32, {channels});
  if (a.slope.defined()) check_tensor("conv2d", "slope", a.slope, kF32, {channels});
  if (a.residual.defined())
    check_tensor("conv2d", "residual", a.residual, kF32, {a.x.shape[0], out_height, out_width, channels});
  check(a.x.contiguous() && a.weight.contiguous() && a.out.contiguous() &&
            (!a.residual.defined() || a.residual.contiguous()),
        "conv2d", "x, weight, out and residual must be contiguous");
  const Work work(ctx,
                  2.0 * static_cast<double>(a.out.elements()) * static_cast<double>(a.weight.elements() / channels));
  ctx.backend.conv2d(ctx, a);
}

}  // namespace iconface::op
