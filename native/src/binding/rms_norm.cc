#include "op/rms_norm.h"

#include "binding/call.h"

namespace iconface::binding {

/// x [..., D], weight [D]; outDtype (x's type unless given) -> out
void rms_norm(Context& ctx, Call& call) {
  const Tensor x = call.input("x");
  op::rms_norm(
      ctx,
      {.x = x, .out = call.output_like("out", call.dtype("outDtype", x.dtype), x), .weight = call.input("weight")});
}

}  // namespace iconface::binding
