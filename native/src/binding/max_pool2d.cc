#include "op/max_pool2d.h"

#include "binding/call.h"

namespace iconface::binding {

/// x [B, H, W, C]; size (2), stride (2), pad (0) -> out [B, H', W', C]
void max_pool2d(Context& ctx, Call& call) {
  op::MaxPool2dArgs a;
  a.x = call.map("max_pool2d", "x");
  a.size = call.whole("size", 2);
  a.stride = call.whole("stride", 2);
  a.pad = call.whole("pad", 0);
  const int64_t* s = a.x.shape;
  a.out = call.output("out", DType::F32,
                      {s[0], window_places(s[1], a.size, a.stride, a.pad, a.size),
                       window_places(s[2], a.size, a.stride, a.pad, a.size), s[3]});
  op::max_pool2d(ctx, a);
}

}  // namespace iconface::binding
