#include "op/batch_norm_prelu.h"

#include "binding/call.h"

namespace iconface::binding {

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

}  // namespace iconface::binding
