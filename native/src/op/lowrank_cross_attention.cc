#include "op/lowrank_cross_attention.h"

#include "op/backend.h"
#include "op/check.h"
#include "runtime/meter.h"

namespace iconface::op {

void lowrank_cross_attention(Context& ctx, const LowrankCrossAttentionArgs& a) {
  const char* op = "lowrank_cross_attention";
  check_tensor(op, "h", a.h, kF32, {-1, -1, -1});
  check_tensor(op, "keys", a.keys, kF32, {-1, -1, -1});
  const int64_t width = a.h.last(), memory = a.keys.shape[1], rank = a.keys.shape[2];
  check_heads(op, width, a.keys.shape[0], memory, rank);
  check_tensor(op, "queryDown", a.query_down, kWeight, {rank, width});
  check_tensor(op, "values", a.values, kF32, {memory, rank});
  check_tensor(op, "valueUp", a.value_up, kWeight, {width, rank});
  check_contiguous(op, "keys", a.keys);
  check_contiguous(op, "values", a.values);
  check(a.compute == DType::F32 || a.compute == DType::BF16, op, "expected compute F32 or BF16 but received %s",
        dtype_name(a.compute));
  // Down and up, and for every head the products with keys and values.
  const double tokens = static_cast<double>(a.h.rows());
  const Work work(ctx, 4 * tokens * static_cast<double>(rank * (width + a.keys.shape[0] * memory)));
  ctx.backend.lowrank_cross_attention(ctx, a);
}

}  // namespace iconface::op
