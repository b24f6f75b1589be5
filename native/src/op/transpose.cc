#include "op/transpose.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void transpose(Context& ctx, const TransposeArgs& a) {
  const char* op = "transpose";
  check_tensor(op, "x", a.x, kF32, {-1, -1});
  check_tensor(op, "out", a.out, kF32, {a.x.shape[1], a.x.shape[0]});
  check(a.x.contiguous() && a.out.contiguous(), op, "x and out must be contiguous");
  check(a.x.data != a.out.data, op, "out must not be x");
  ctx.backend.transpose(ctx, a);
}

}  // namespace iconface::op
