#include "op/qk_norm_rope.h"

#include "binding/call.h"

namespace iconface::binding {

/// q?, k?, qScale, kScale, cos, sin; pairs 'adjacent' | 'halves'
void qk_norm_rope(Context& ctx, Call& call) {
  op::QkNormRopeArgs a;
  const std::string pairs = call.text("pairs", "adjacent");
  if (pairs != "adjacent" && pairs != "halves")
    fail(Code::InvalidArgument, "expected 'adjacent' or 'halves' for pairs but received '%s'", pairs.c_str());
  a.pairs = pairs == "halves" ? op::RopePairs::Halves : op::RopePairs::Adjacent;
  if (call.optional("q").defined()) a.q = call.inout(ctx, "q");
  if (call.optional("k").defined()) a.k = call.inout(ctx, "k");
  a.q_scale = call.optional("qScale");
  a.k_scale = call.optional("kScale");
  a.cos = call.input("cos");
  a.sin = call.input("sin");
  op::qk_norm_rope(ctx, a);
}

}  // namespace iconface::binding
