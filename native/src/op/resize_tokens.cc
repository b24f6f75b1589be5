#include "op/resize_tokens.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void resize_tokens(Context& ctx, const ResizeTokensArgs& a) {
  const char* op = "resize_tokens";
  check_tensor(op, "x", a.x, kF32, {-1, -1});
  check_grid(op, "x", a.x, a.rows_x, a.columns_x, a.x.last());
  check_grid(op, "out", a.out, a.rows_out, a.columns_out, a.x.last());
  check(a.x.data != a.out.data, op, "out must not be x");
  ctx.backend.resize_tokens(ctx, a);
}

}  // namespace iconface::op
