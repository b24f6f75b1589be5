#include "op/stream_copy.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void stream_copy(Context& ctx, const StreamCopyArgs& a) {
  check_tensor("stream_copy", "x", a.x, kF32, {-1});
  check_tensor("stream_copy", "out", a.out, kF32, {a.x.shape[0]});
  ctx.backend.stream_copy(ctx, a);
}

}  // namespace iconface::op
