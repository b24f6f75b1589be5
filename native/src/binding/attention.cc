#include "op/attention.h"

#include <string>

#include "binding/call.h"

namespace iconface::binding {

/// Segments q<i>, k<i>, v<i> for i = 0..3, counted up to the last one named; out<i> for every q<i>, with the largest
/// batch.
/// scale, causal.
void attention(Context& ctx, Call& call) {
  op::AttentionArgs a;
  a.scale = static_cast<float>(call.number("scale", 0));
  a.causal = call.flag("causal");
  for (int i = 0; i < op::AttentionArgs::kMaxSegments; i++) {
    const auto operand = [&](const char* name) { return call.optional((name + std::to_string(i)).c_str()); };
    op::AttentionSegment& s = a.segment[i];
    s = {operand("q"), {}, operand("k"), operand("v")};
    if (s.q.defined() || s.k.defined() || s.v.defined()) a.segments = i + 1;
  }
  for (int i = 0; i < a.segments; i++) {
    op::AttentionSegment& s = a.segment[i];
    if (!s.q.defined()) continue;
    Tensor shape = s.q;
    if (shape.rank == 4) shape.shape[0] = op::batch_of(a);
    s.out = call.output_like(("out" + std::to_string(i)).c_str(), call.dtype("outDtype", s.q.dtype), shape);
  }
  op::attention(ctx, a);
}

}  // namespace iconface::binding
