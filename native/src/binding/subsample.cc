#include "op/subsample.h"

#include "binding/call.h"

namespace iconface::binding {

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

}  // namespace iconface::binding
