#include "op/rope_table.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void rope_table(Context& ctx, const RopeTableArgs& a) {
  const char* op = "rope_table";
  check(a.axes >= 1 && a.axes <= RopeTableArgs::kMaxAxes, op, "1 to %d axes, not %d", RopeTableArgs::kMaxAxes, a.axes);
  int64_t half = 0;
  for (int i = 0; i < a.axes; i++) {
    check(a.axes_dim[i] >= 2 && a.axes_dim[i] % 2 == 0, op, "axis %d must have an even size of 2 or more, not %d", i,
          a.axes_dim[i]);
    half += a.axes_dim[i] / 2;
  }
  check(a.theta > 0, op, "theta must be positive, not %g", a.theta);
  check_tensor(op, "ids", a.ids, {DType::F32, DType::I32}, {-1, a.axes});
  check_tensor(op, "cos", a.cos, kF32, {a.ids.shape[0], half});
  check_tensor(op, "sin", a.sin, kF32, {a.ids.shape[0], half});
  ctx.backend.rope_table(ctx, a);
}

}  // namespace iconface::op
