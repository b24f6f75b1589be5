#include "op/lowrank_memory.h"

#include "binding/call.h"

namespace iconface::binding {

void lowrank_memory(Context& ctx, Call& call) {
  op::LowrankMemoryArgs a;
  a.memory = call.input("memory");
  a.query_up = call.input("queryUp");
  a.key_down = call.input("keyDown");
  a.key_up = call.input("keyUp");
  a.value_down = call.input("valueDown");
  const int64_t heads = call.size("heads");
  const int64_t memory = a.memory.rank > 0 ? a.memory.shape[0] : 0;
  const int64_t rank = a.key_down.rank > 0 ? a.key_down.shape[0] : 0;
  a.keys = call.output("keys", DType::F32, {heads, memory, rank});
  a.values = call.output("values", DType::F32, {memory, rank});
  op::lowrank_memory(ctx, a);
}

}  // namespace iconface::binding
