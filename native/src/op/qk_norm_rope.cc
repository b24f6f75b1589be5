#include "op/qk_norm_rope.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void qk_norm_rope(Context& ctx, const QkNormRopeArgs& a) {
  const char* op = "qk_norm_rope";
  check(a.q.defined() || a.k.defined(), op, "q or k must be given");
  const Tensor& any = a.q.defined() ? a.q : a.k;
  check_tensor(op, a.q.defined() ? "q" : "k", any, kFloat, {-1, -1, -1, -1});
  const int64_t tokens = any.shape[1], d = any.shape[3];
  check(d >= 2 && d % 2 == 0, op, "the head size must be even, not %lld", static_cast<long long>(d));
  const auto check_one = [&](const char* name, const Tensor& t, const char* scale_name, const Tensor& scale) {
    if (!t.defined()) return;
    check_tensor(op, name, t, kFloat, {-1, tokens, -1, d});
    check_tensor(op, scale_name, scale, kWeight, {d});
  };
  check_one("q", a.q, "qScale", a.q_scale);
  check_one("k", a.k, "kScale", a.k_scale);
  check_tensor(op, "cos", a.cos, kF32, {tokens, d / 2});
  check_tensor(op, "sin", a.sin, kF32, {tokens, d / 2});
  ctx.backend.qk_norm_rope(ctx, a);
}

}  // namespace iconface::op
