#include "op/add_upsampled.h"

#include "binding/call.h"

namespace iconface::binding {

/// x [B, H, W, C], y [B, h, w, C] -> out, x's shape
void add_upsampled(Context& ctx, Call& call) {
  op::AddUpsampledArgs a;
  a.x = call.map("add_upsampled", "x");
  a.y = call.map("add_upsampled", "y");
  a.out = call.output_like("out", DType::F32, a.x);
  op::add_upsampled(ctx, a);
}

}  // namespace iconface::binding
