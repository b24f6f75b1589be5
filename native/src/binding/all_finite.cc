#include "op/all_finite.h"

#include "binding/call.h"

namespace iconface::binding {

void all_finite(Context& ctx, Call& call) {
  const bool finite = op::all_finite(ctx, call.input("x"));
  const Tensor out = call.host_output("out", DType::U8, {1});
  if (!ctx.planning()) *out.as<uint8_t>() = finite;
}

}  // namespace iconface::binding
