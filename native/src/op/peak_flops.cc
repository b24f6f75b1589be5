#include "op/peak_flops.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

int64_t peak_flops(Context& ctx, const PeakFlopsArgs& a) {
  const bool e4m3 = a.dtype == DType::F8E4M3;
  check(a.dtype == DType::F32 || a.dtype == DType::BF16 || (e4m3 && ctx.device != nullptr), "peak_flops",
        "dtype must be F32 or BF16, on a GPU also F8_E4M3");
  if (e4m3) check_e4m3("peak_flops", ctx);
  check(a.rounds >= 1, "peak_flops", "rounds must be 1 or more, not %lld", static_cast<long long>(a.rounds));
  return ctx.backend.peak_flops(ctx, a);
}

}  // namespace iconface::op
