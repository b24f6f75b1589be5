#include "op/random_normal.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void random_normal(Context& ctx, const RandomNormalArgs& a) {
  check(a.out.defined() && a.out.dtype == DType::F32 && a.out.contiguous(), "random_normal",
        "out must be contiguous F32, not %s", a.out.defined() ? a.out.describe().c_str() : "absent");
  ctx.backend.random_normal(ctx, a);
}

}  // namespace iconface::op
