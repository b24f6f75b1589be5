#include "op/lowrank_cross_attention.h"

#include "binding/call.h"

namespace iconface::binding {

void lowrank_cross_attention(Context& ctx, Call& call) {
  op::LowrankCrossAttentionArgs a;
  a.h = call.inout(ctx, "h");
  a.query_down = call.input("queryDown");
  a.keys = call.input("keys");
  a.values = call.input("values");
  a.value_up = call.input("valueUp");
  a.gate = static_cast<float>(call.number("gate", 1));
  a.compute = call.dtype("compute", DType::F32);
  op::lowrank_cross_attention(ctx, a);
}

}  // namespace iconface::binding
