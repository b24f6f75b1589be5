#include "op/silu.h"

#include "binding/call.h"

namespace iconface::binding {

void silu(Context& ctx, Call& call) {
  const Tensor x = call.input("x");
  op::silu(ctx, {x, call.output_like("out", DType::F32, x)});
}

}  // namespace iconface::binding
