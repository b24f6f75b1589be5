#include "binding/call.h"
#include "op/convolution.h"

namespace iconface::binding {

/// x [B, H, W, C], weight, bias [C]; groups (32), eps (1e-6), silu (1), outDtype ("f32") -> out
void group_norm_silu(Context& ctx, Call& call) {
  op::GroupNormSiluArgs a;
  a.x = call.input("x");
  a.weight = call.input("weight");
  a.bias = call.input("bias");
  a.groups = call.whole("groups", 32);
  a.eps = static_cast<float>(call.number("eps", 1e-6));
  a.silu = call.number("silu", 1) != 0;
  a.out = call.output_like("out", call.dtype("outDtype", DType::F32), a.x);
  op::group_norm_silu(ctx, a);
}

/// x [B, H, W, C], scale, shift, slope? [C]; outDtype ("f32") -> out
void batch_norm_prelu(Context& ctx, Call& call) {
  op::BatchNormPreluArgs a;
  a.x = call.input("x");
  a.scale = call.input("scale");
  a.shift = call.input("shift");
  a.slope = call.optional("slope");
  a.out = call.output_like("out", call.dtype("outDtype", DType::F32), a.x);
  op::batch_norm_prelu(ctx, a);
}

/// x [B, H, W, C]; stride (2) -> out [B, ceil(H/stride), ceil(W/stride), C]
void subsample(Context& ctx, Call& call) {
  op::SubsampleArgs a;
  a.x = call.input("x");
  a.stride = call.whole("stride", 2);
  if (a.x.rank != 4) fail(Code::InvalidArgument, "subsample: x must be [B, H, W, C], not %s", a.x.describe().c_str());
  if (a.stride < 1) fail(Code::InvalidArgument, "subsample: stride must be at least 1, but is %d", a.stride);
  const int64_t* s = a.x.shape;
  a.out =
      call.output("out", a.x.dtype, {s[0], (s[1] + a.stride - 1) / a.stride, (s[2] + a.stride - 1) / a.stride, s[3]});
  op::subsample(ctx, a);
}

namespace {

Tensor map(const Call& call, const char* kind, const char* name) {
  const Tensor t = call.input(name);
  if (t.rank != 4) fail(Code::InvalidArgument, "%s: %s must be [B, H, W, C], not %s", kind, name, t.describe().c_str());
  return t;
}

/// Places of a window of `size` on `length` pixels, padded by `pad`, at most `most_pad`; what does not fit is refused by the
/// operation.
int64_t windows(int64_t length, int64_t size, int stride, int pad, int64_t most_pad) {
  if (size < 1 || stride < 1 || pad < 0 || pad > most_pad) return 1;
  const int64_t room = length + 2 * static_cast<int64_t>(pad) - size;
  return room < 0 ? 1 : room / stride + 1;
}

}  // namespace

/// x [B, H, W, C], weight [kh, kw, C], bias? [C], slope? [C]; stride (1), pad (0) -> out [B, H', W', C]
void depthwise_conv2d(Context& ctx, Call& call) {
  op::DepthwiseConv2dArgs a;
  a.x = map(call, "depthwise_conv2d", "x");
  a.weight = call.input("weight");
  a.bias = call.optional("bias");
  a.slope = call.optional("slope");
  a.stride = call.whole("stride", 1);
  a.pad = call.whole("pad", 0);
  if (a.weight.rank != 3)
    fail(Code::InvalidArgument, "depthwise_conv2d: weight must be [kh, kw, C], not %s", a.weight.describe().c_str());
  const int64_t *s = a.x.shape, height = a.weight.shape[0], width = a.weight.shape[1], most = std::max(height, width);
  a.out = call.output(
      "out", DType::F32,
      {s[0], windows(s[1], height, a.stride, a.pad, most), windows(s[2], width, a.stride, a.pad, most), s[3]});
  op::depthwise_conv2d(ctx, a);
}

/// x [B, H, W, C]; size (2), stride (2), pad (0) -> out [B, H', W', C]
void max_pool2d(Context& ctx, Call& call) {
  op::MaxPool2dArgs a;
  a.x = map(call, "max_pool2d", "x");
  a.size = call.whole("size", 2);
  a.stride = call.whole("stride", 2);
  a.pad = call.whole("pad", 0);
  const int64_t* s = a.x.shape;
  a.out = call.output(
      "out", DType::F32,
      {s[0], windows(s[1], a.size, a.stride, a.pad, a.size), windows(s[2], a.size, a.stride, a.pad, a.size), s[3]});
  op::max_pool2d(ctx, a);
}

/// x [B, H, W, C], y [B, h, w, C] -> out, x's shape
void add_upsampled(Context& ctx, Call& call) {
  op::AddUpsampledArgs a;
  a.x = map(call, "add_upsampled", "x");
  a.y = map(call, "add_upsampled", "y");
  a.out = call.output_like("out", DType::F32, a.x);
  op::add_upsampled(ctx, a);
}

/// map [H, W, >= C], mean, var [4C]; eps (1e-4) -> tokens [H/2 * W/2, 4C]
/// inverse: tokens, mean, var; inverse 1, height and width of the map, eps -> map [height, width, C]
void pack_latents(Context& ctx, Call& call) {
  op::PackLatentsArgs a;
  a.mean = call.input("mean");
  a.var = call.input("var");
  a.eps = static_cast<float>(call.number("eps", 1e-4));
  a.inverse = call.flag("inverse");
  const int64_t channels = call.whole("channels", static_cast<double>(a.mean.elements() / 4));
  if (channels < 1) fail(Code::InvalidArgument, "pack_latents: channels must be at least 1");
  if (a.inverse) {
    a.tokens = call.input("tokens");
    const double height = call.number("height"), width = call.number("width");
    if (!(height >= 2 && height <= 1e6 && width >= 2 && width <= 1e6))
      fail(Code::InvalidArgument, "pack_latents: a map of %g x %g is impossible", height, width);
    a.map = call.output("map", DType::F32, {static_cast<int64_t>(height), static_cast<int64_t>(width), channels});
  } else {
    a.map = call.input("map");
    if (a.map.rank != 3)
      fail(Code::InvalidArgument, "pack_latents: map must be [H, W, C], not %s", a.map.describe().c_str());
    a.tokens = call.output("tokens", DType::F32, {a.map.shape[0] / 2 * (a.map.shape[1] / 2), 4 * channels});
  }
  op::pack_latents(ctx, a);
}

}  // namespace iconface::binding
