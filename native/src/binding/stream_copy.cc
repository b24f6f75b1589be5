#include "op/stream_copy.h"

#include "binding/call.h"

namespace iconface::binding {

/// x [n] F32, streaming (1) -> out [n]
void stream_copy(Context& ctx, Call& call) {
  const Tensor x = call.input("x");
  op::stream_copy(
      ctx, {.x = x, .out = call.output_like("out", DType::F32, x), .streaming = call.number("streaming", 1) != 0});
}

}  // namespace iconface::binding
