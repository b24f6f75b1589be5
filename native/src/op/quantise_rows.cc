#include "op/quantise_rows.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void quantise_rows(Context& ctx, const QuantiseRowsArgs& a) {
  const char* op = "quantise_rows";
  check(a.x.defined() && a.x.rank >= 1 && a.x.elements() > 0 &&
            (a.x.dtype == DType::F32 || a.x.dtype == DType::BF16 || a.x.dtype == DType::F16),
        op, "x must be F32, BF16 or F16 [..., K] and not empty, not %s",
        a.x.defined() ? a.x.describe().c_str() : "absent");
  check_rows(op, "out", a.out, DType::F8E4M3, a.x, a.x.last());
  check_rows(op, "scale", a.scale, DType::F32, a.x, 1);
  check_e4m3(op, ctx);
  ctx.backend.quantise_rows(ctx, a);
}

}  // namespace iconface::op
