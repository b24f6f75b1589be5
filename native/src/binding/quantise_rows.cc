#include "op/quantise_rows.h"

#include "binding/call.h"

namespace iconface::binding {

/// x -> out f8_e4m3, scale [..., 1].
void quantise_rows(Context& ctx, Call& call) {
  const Tensor x = call.input("x");
  Tensor one = x;
  one.shape[one.rank - 1] = 1;
  op::quantise_rows(
      ctx,
      {.x = x, .out = call.output_like("out", DType::F8E4M3, x), .scale = call.output_like("scale", DType::F32, one)});
}

}  // namespace iconface::binding
