#include "op/token_detail.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void token_detail(Context& ctx, const TokenDetailArgs& a) {
  const char* op = "token_detail";
  check_tensor(op, "x", a.x, kF32, {-1, -1});
  check_grid(op, "x", a.x, a.rows, a.columns, a.x.last());
  check_grid(op, "out", a.out, a.rows, a.columns, a.x.last());
  check(a.x.data != a.out.data, op, "out must not be x");
  ctx.backend.token_detail(ctx, a);
}

}  // namespace iconface::op
