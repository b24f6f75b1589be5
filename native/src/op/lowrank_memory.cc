#include "op/lowrank_memory.h"

#include "op/backend.h"
#include "op/check.h"
#include "runtime/meter.h"

namespace iconface::op {

void lowrank_memory(Context& ctx, const LowrankMemoryArgs& a) {
  const char* op = "lowrank_memory";
  check_tensor(op, "memory", a.memory, kF32, {-1, -1});
  check_tensor(op, "keyDown", a.key_down, kWeight, {-1, a.memory.shape[1]});
  const int64_t memory = a.memory.shape[0], width = a.memory.shape[1], rank = a.key_down.shape[0];
  check_tensor(op, "keys", a.keys, kF32, {-1, memory, rank});
  check_heads(op, width, a.keys.shape[0], memory, rank);
  check_tensor(op, "queryUp", a.query_up, kWeight, {width, rank});
  check_tensor(op, "keyUp", a.key_up, kWeight, {width, rank});
  check_tensor(op, "valueDown", a.value_down, kWeight, {rank, width});
  check_tensor(op, "values", a.values, kF32, {memory, rank});
  check_contiguous(op, "keys", a.keys);
  check_contiguous(op, "values", a.values);
  // Two projections of the memory, and for every head U_q^T U_k and its product with the projected memory.
  const auto n = [](int64_t x) { return static_cast<double>(x); };
  const Work work(
      ctx, 4 * n(memory) * n(width) * n(rank) + 2 * n(rank) * n(rank) * (n(width) + n(memory) * n(a.keys.shape[0])));
  ctx.backend.lowrank_memory(ctx, a);
}

}  // namespace iconface::op
