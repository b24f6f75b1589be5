#include "op/attention.h"

#include <algorithm>

#include "op/backend.h"
#include "op/check.h"
#include "runtime/meter.h"

namespace iconface::op {

namespace {

/// What all segments agree on, as the first tensor has it; -1: not known yet.
struct Common {
  const Tensor* first = nullptr;
  int64_t heads = -1, shared = -1;  // of q; of k and v
  int64_t batch = 1;                // the largest

  int64_t d() const { return first->last(); }
  /// `t` is [(batch,) tokens, heads, d] with the first one's d; the batch may be 1 of what is read.
  void check_shape(const std::string& name, const Tensor& t, std::initializer_list<DType> dtypes, int64_t tokens,
                   int64_t heads, bool read) const {
    if (first->rank == 4)
      check_tensor("attention", name.c_str(), t, dtypes,
                   {read && t.defined() && t.rank == 4 && t.shape[0] == 1 ? 1 : batch, tokens, heads, d()});
    else
      check_tensor("attention", name.c_str(), t, dtypes, {tokens, heads, d()});
  }
  /// q or k, and how many heads all of its kind have.
  void check_operand(const std::string& name, const Tensor& t, int64_t* heads_of_kind) {
    if (first == nullptr) {
      if (t.rank == 4)
        check_tensor("attention", name.c_str(), t, kFloat, {-1, -1, -1, -1});
      else
        check_tensor("attention", name.c_str(), t, kFloat, {-1, -1, -1});
      first = &t;
      check(d() >= 1 && t.elements() > 0, "attention", "%s must have tokens, heads and channels, not %s", name.c_str(),
            t.describe().c_str());
    }
    check_shape(name, t, {first->dtype}, -1, *heads_of_kind, true);
    *heads_of_kind = t.shape[t.rank - 2];
    check(t.elements() > 0, "attention", "%s must have 1 token and head or more, not %s", name.c_str(),
          t.describe().c_str());
  }
};

/// With a batch axis of `batch` items.
Tensor batched(const Tensor& t, int64_t batch) {
  if (!t.defined()) return t;
  const Tensor all = t.rank == 4 ? t : t.reshape({1, t.shape[0], t.shape[1], t.shape[2]});
  return all.shape[0] < batch ? all.expand(0, batch) : all;
}

}  // namespace

int64_t batch_of(const AttentionArgs& a) {
  int64_t batch = 1;
  for (int i = 0; i < a.segments; i++)
    for (const Tensor* t : {&a.segment[i].q, &a.segment[i].k, &a.segment[i].v})
      if (t->defined() && t->rank == 4) batch = std::max(batch, t->shape[0]);
  return batch;
}

void attention(Context& ctx, const AttentionArgs& a) {
  const char* op = "attention";
  check(a.segments >= 1 && a.segments <= AttentionArgs::kMaxSegments, op, "1 to %d segments, not %d",
        AttentionArgs::kMaxSegments, a.segments);
  check(a.scale >= 0 && __builtin_isfinite(a.scale), op, "scale must be 0 (1/sqrt(d)) or a positive number, not %g",
        static_cast<double>(a.scale));
  check(!a.causal || a.segments == 1, op, "causal attention takes 1 segment, not %d", a.segments);
  Common common;
  int64_t queries = 0, keys = 0;
  common.batch = batch_of(a);
  for (int i = 0; i < a.segments; i++) {
    const AttentionSegment& s = a.segment[i];
    const auto name = [i](const char* tensor) { return tensor + std::to_string(i); };
    if (s.q.defined()) common.check_operand(name("q"), s.q, &common.heads);
    if (s.k.defined()) common.check_operand(name("k"), s.k, &common.shared);
    check(s.q.defined() == s.out.defined(), op, "segment %d must have both q and out, or neither", i);
    check(s.k.defined() == s.v.defined(), op, "segment %d must have both k and v, or neither", i);
    const auto tokens = [](const Tensor& t) { return t.defined() ? t.shape[t.rank - 3] : 0; };
    if (s.q.defined()) common.check_shape(name("out"), s.out, kFloat, tokens(s.q), common.heads, false);
    if (s.k.defined()) common.check_shape(name("v"), s.v, {s.k.dtype}, tokens(s.k), common.shared, true);
    queries += tokens(s.q);
    keys += tokens(s.k);
  }
  check(queries > 0 && keys > 0, op, "queries and keys are needed: %lld and %lld tokens are given",
        static_cast<long long>(queries), static_cast<long long>(keys));
  check(common.heads % common.shared == 0, op, "the %lld heads of q must be a multiple of the %lld of k and v",
        static_cast<long long>(common.heads), static_cast<long long>(common.shared));
  AttentionArgs all = a;
  for (AttentionSegment& s : all.segment) {
    const auto all_items = [&](const Tensor& t) { return batched(t, common.batch); };
    s = {all_items(s.q), all_items(s.out), all_items(s.k), all_items(s.v)};
  }
  const double pairs = static_cast<double>(queries) * static_cast<double>(keys) * (a.causal ? 0.5 : 1);
  const Work work(ctx,
                  4.0 * static_cast<double>(common.batch * common.heads) * pairs * static_cast<double>(common.d()));
  ctx.backend.attention(ctx, all);
}

}  // namespace iconface::op
