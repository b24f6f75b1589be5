#include <algorithm>
#include <cmath>

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

namespace {

constexpr int kMostWindow = 1 << 16;      // far beyond any network
constexpr int64_t kMostPixels = 1 << 30;  // of a side, so that kernels may count in 32 bits

/// A whole picture of channels: no operation here takes a strided one.
void check_map(const char* op, const char* name, const Tensor& t, std::initializer_list<DType> dtypes,
               std::initializer_list<int64_t> shape) {
  check_tensor(op, name, t, dtypes, shape);
  check(t.contiguous(), op, "%s must be contiguous; %s is strided", name, t.describe().c_str());
  check(t.elements() > 0, op, "%s must not be empty, as %s is", name, t.describe().c_str());
}

/// A map that a window of these sides passes over.
void check_window(const char* op, const Tensor& x, int64_t height, int64_t width) {
  check(x.shape[1] <= kMostPixels && x.shape[2] <= kMostPixels, op, "x must have sides of at most %lld, but is %s",
        static_cast<long long>(kMostPixels), x.describe().c_str());
  check(std::min(height, width) >= 1 && std::max(height, width) <= kMostWindow, op,
        "size must be 1 to %d, but is %lld x %lld", kMostWindow, static_cast<long long>(height),
        static_cast<long long>(width));
}

}  // namespace

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

void subsample(Context& ctx, const SubsampleArgs& a) {
  constexpr const char* kOp = "subsample";
  check_map(kOp, "x", a.x, kFloat, {-1, -1, -1, -1});
  check(a.stride >= 1, kOp, "stride must be at least 1, but is %d", a.stride);
  const int64_t* s = a.x.shape;
  check_map(kOp, "out", a.out, {a.x.dtype},
            {s[0], (s[1] + a.stride - 1) / a.stride, (s[2] + a.stride - 1) / a.stride, s[3]});
  ctx.backend.subsample(ctx, a);
}

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

void pack_latents(Context& ctx, const PackLatentsArgs& a) {
  constexpr const char* kOp = "pack_latents";
  check_tensor(kOp, "map", a.map, kF32, {-1, -1, -1});
  const int64_t height = a.map.shape[0], width = a.map.shape[1];
  check(height > 0 && width > 0 && height % 2 == 0 && width % 2 == 0, kOp,
        "map must have an even height and width, but is %s", a.map.describe().c_str());
  check_tensor(kOp, "tokens", a.tokens, kF32, {height / 2 * (width / 2), -1});
  const int64_t packed = a.tokens.last();
  check(packed > 0 && packed % 4 == 0 && packed / 4 <= a.map.last(), kOp,
        "tokens must have 4 channels for each of the map's, or of its first ones, but are %s for a map %s",
        a.tokens.describe().c_str(), a.map.describe().c_str());
  check(!a.inverse || packed / 4 == a.map.last(), kOp, "tokens %s do not fill the map %s", a.tokens.describe().c_str(),
        a.map.describe().c_str());
  check_tensor(kOp, "mean", a.mean, kF32, {packed});
  check_tensor(kOp, "var", a.var, kF32, {packed});
  check(std::isfinite(a.eps) && a.eps >= 0, kOp, "eps must be finite and not negative, but is %g", a.eps);
  ctx.backend.pack_latents(ctx, a);
}

}  // namespace iconface::op
