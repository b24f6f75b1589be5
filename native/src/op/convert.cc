#include "op/convert.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void convert(Context& ctx, const ConvertArgs& a) {
  bool same = a.x.defined() && a.out.defined() && a.x.rank == a.out.rank && a.x.rank > 0;
  for (int i = 0; same && i < a.x.rank; i++) same = a.x.shape[i] == a.out.shape[i];
  check(same, "convert", "x %s and out %s must have one shape", a.x.describe().c_str(), a.out.describe().c_str());
  check(a.x.dtype == DType::F32 || a.x.dtype == DType::BF16 || a.x.dtype == DType::F16, "convert",
        "x must be F32, BF16 or F16, not %s", a.x.describe().c_str());
  check(a.out.dtype == DType::F32 || a.out.dtype == DType::BF16, "convert", "out must be F32 or BF16, not %s",
        a.out.describe().c_str());
  ctx.backend.convert(ctx, a);
}

}  // namespace iconface::op
