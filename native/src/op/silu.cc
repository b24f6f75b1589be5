#include "op/silu.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void silu(Context& ctx, const SiluArgs& a) {
  check_flat_f32("silu", "x", a.x);
  check_flat_f32("silu", "out", a.out);
  check_same("silu", "out", a.out, "x", a.x);
  ctx.backend.silu(ctx, a);
}

}  // namespace iconface::op
