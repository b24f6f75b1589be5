#include "op/timestep_embedding.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void timestep_embedding(Context& ctx, const TimestepEmbeddingArgs& a) {
  const char* op = "timestep_embedding";
  check_tensor(op, "out", a.out, kF32, {-1});
  check(a.out.last() >= 2 && a.out.last() % 2 == 0, op, "the width must be even, not %lld",
        static_cast<long long>(a.out.last()));
  check(__builtin_isfinite(a.timestep), op, "the timestep must be finite, not %g", a.timestep);
  ctx.backend.timestep_embedding(ctx, a);
}

}  // namespace iconface::op
