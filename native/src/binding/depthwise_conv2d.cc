#include "op/depthwise_conv2d.h"

#include <algorithm>

#include "binding/call.h"

namespace iconface::binding {

/// x [B, H, W, C], weight [kh, kw, C], bias? [C], slope? [C]; stride (1), pad (0) -> out [B, H', W', C]
void depthwise_conv2d(Context& ctx, Call& call) {
  op::DepthwiseConv2dArgs a;
  a.x = call.map("depthwise_conv2d", "x");
  a.weight = call.input("weight");
  a.bias = call.optional("bias");
  a.slope = call.optional("slope");
  a.stride = call.whole("stride", 1);
  a.pad = call.whole("pad", 0);
  if (a.weight.rank != 3)
    fail(Code::InvalidArgument, "depthwise_conv2d: weight must be [kh, kw, C], not %s", a.weight.describe().c_str());
  const int64_t *s = a.x.shape, height = a.weight.shape[0], width = a.weight.shape[1], most = std::max(height, width);
  a.out = call.output("out", DType::F32,
                      {s[0], window_places(s[1], height, a.stride, a.pad, most),
                       window_places(s[2], width, a.stride, a.pad, most), s[3]});
  op::depthwise_conv2d(ctx, a);
}

}  // namespace iconface::binding
