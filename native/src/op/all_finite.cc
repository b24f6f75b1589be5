#include "op/all_finite.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

bool all_finite(Context& ctx, const Tensor& x) {
  check(x.defined() && x.dtype == DType::F32 && x.rank > 0, "all_finite", "x must be F32, not %s",
        x.describe().c_str());
  const bool finite = ctx.backend.all_finite(ctx, x);  // while planning it only takes its scratch
  return ctx.planning() || finite;
}

}  // namespace iconface::op
