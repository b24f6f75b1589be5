#include "op/convert.h"

#include "binding/call.h"

namespace iconface::binding {

void convert(Context& ctx, Call& call) {
  const Tensor x = call.input("x");
  op::convert(ctx, {.x = x, .out = call.output_like("out", call.dtype("outDtype", DType::F32), x)});
}

}  // namespace iconface::binding
