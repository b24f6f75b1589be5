#include "op/attention.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

namespace {

/// q and out, or k and v: both or neither, and of one shape.
void check_pair(const char* first_name, const Tensor& first, const char* second_name, const Tensor& second, int segment,
                bool same_dtype) {
  const char* op = "attention";
  check(first.defined() == second.defined(), op, "segment %d must have both %s and %s, or neither", segment, first_name,
        second_name);
  if (!first.defined()) return;
  check(first.shape[0] >= 1, op, "%s%d must have 1 token or more, not %s", first_name, segment,
        first.describe().c_str());
  const std::string name = second_name + std::to_string(segment);
  const std::initializer_list<int64_t> shape = {first.shape[0], first.shape[1], first.shape[2]};
  if (same_dtype) {
    check_tensor(op, name.c_str(), second, {first.dtype}, shape);
  } else {
    check_tensor(op, name.c_str(), second, kFloat, shape);
  }
}

}  // namespace

void attention(Context& ctx, const AttentionArgs& a) {
  const char* op = "attention";
  check(a.segments >= 1 && a.segments <= AttentionArgs::kMaxSegments, op, "1 to %d segments, not %d",
        AttentionArgs::kMaxSegments, a.segments);
  check(a.scale >= 0 && __builtin_isfinite(a.scale), op, "scale must be 0 (1/sqrt(d)) or a positive number, not %g",
        static_cast<double>(a.scale));
  check(!a.causal || a.segments == 1, op, "causal attention takes 1 segment, not %d", a.segments);
  const Tensor *first = nullptr, *first_q = nullptr, *first_k = nullptr;
  int64_t queries = 0, keys = 0;
  for (int i = 0; i < a.segments; i++) {
    const AttentionSegment& s = a.segment[i];
    // One type and head size for all, one number of heads for all of q and one for all of k.
    const auto check_one = [&](const char* name, const Tensor& t, const Tensor*& like) {
      if (!t.defined()) return;
      const std::string full = name + std::to_string(i);
      if (first == nullptr) {
        check_tensor(op, full.c_str(), t, kFloat, {-1, -1, -1});
        check(t.shape[1] >= 1 && t.shape[2] >= 1, op, "%s must have heads and channels, not %s", full.c_str(),
              t.describe().c_str());
        first = &t;
      } else {
        check_tensor(op, full.c_str(), t, {first->dtype}, {-1, like ? like->shape[1] : -1, first->shape[2]});
        check(t.shape[1] >= 1, op, "%s must have heads, not %s", full.c_str(), t.describe().c_str());
      }
      if (like == nullptr) like = &t;
    };
    check_one("q", s.q, first_q);
    check_one("k", s.k, first_k);
    check_pair("q", s.q, "out", s.out, i, false);
    check_pair("k", s.k, "v", s.v, i, true);
    if (s.q.defined()) queries += s.q.shape[0];
    if (s.k.defined()) keys += s.k.shape[0];
  }
  check(queries > 0 && keys > 0, op, "queries and keys are needed: %lld and %lld tokens are given",
        static_cast<long long>(queries), static_cast<long long>(keys));
  const int64_t heads = first_q->shape[1], shared = first_k->shape[1];
  check(heads % shared == 0, op, "the %lld heads of q must be a multiple of the %lld of k and v",
        static_cast<long long>(heads), static_cast<long long>(shared));
  ctx.backend.attention(ctx, a);
}

}  // namespace iconface::op
