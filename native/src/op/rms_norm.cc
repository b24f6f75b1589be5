#include "op/rms_norm.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void rms_norm(Context& ctx, const RmsNormArgs& a) {
  const char* op = "rms_norm";
  check(a.x.defined() && a.x.rank >= 1 && (a.x.dtype == DType::F32 || a.x.dtype == DType::BF16) && a.x.last() > 0, op,
        "x must be F32 or BF16 [..., D], not %s", a.x.defined() ? a.x.describe().c_str() : "absent");
  check_same(op, "out", a.out, "x", a.x);
  check(a.out.dtype == DType::F32 || a.out.dtype == DType::BF16, op, "out must be F32 or BF16, not %s",
        a.out.describe().c_str());
  check(a.x.data != a.out.data || a.x.dtype == a.out.dtype, op, "out may be x only if it has x's type");
  check_tensor(op, "weight", a.weight, kWeight, {a.x.last()});
  ctx.backend.rms_norm(ctx, a);
}

}  // namespace iconface::op
