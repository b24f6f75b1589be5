#include "op/timestep_embedding.h"

#include "binding/call.h"

namespace iconface::binding {

void timestep_embedding(Context& ctx, Call& call) {
  const int64_t width = call.numbers("dim").empty() ? 256 : call.size("dim");
  op::timestep_embedding(ctx, {call.number("timestep"), call.output("out", DType::F32, {width})});
}

}  // namespace iconface::binding
