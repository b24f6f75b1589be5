#include "op/identity_anchor.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void identity_anchor(Context& ctx, const IdentityAnchorArgs& a) {
  check_tensor("identity_anchor", "embeddings", a.embeddings, kF32, {-1, -1});
  const int64_t count = a.embeddings.shape[0];
  check(count >= 1, "identity_anchor", "at least one embedding is needed, received %s",
        a.embeddings.describe().c_str());
  check_tensor("identity_anchor", "anchor", a.anchor, kF32, {a.embeddings.shape[1]});
  check_tensor("identity_anchor", "norms", a.norms, kF32, {count});
  check_tensor("identity_anchor", "weights", a.weights, kF32, {count});
  check(a.temperature > 0, "identity_anchor", "temperature must be positive, not %g", a.temperature);
  ctx.backend.identity_anchor(ctx, a);
}

}  // namespace iconface::op
