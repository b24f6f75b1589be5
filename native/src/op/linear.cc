#include "op/linear.h"

#include "op/backend.h"
#include "op/check.h"
#include "runtime/meter.h"

namespace iconface::op {

namespace {

void check_gate(const LinearArgs& a) {
  check(a.gate.count <= Segmented::kMax, "linear", "expected at most %d gate segments but received %d", Segmented::kMax,
        a.gate.count);
  check(a.out.rank == 3, "linear", "a gated residual needs x and out of rank 3 [batch, tokens, channels], not %s",
        a.out.describe().c_str());
  int64_t rows = 0;
  for (int i = 0; i < a.gate.count; i++) {
    const std::string name = "gate" + std::to_string(i);
    check_tensor("linear", name.c_str(), a.gate.vector[i], kF32, {a.out.last()});
    check(a.gate.rows[i] >= 0, "linear", "expected rows[%d] >= 0 but received %lld", i,
          static_cast<long long>(a.gate.rows[i]));
    rows += a.gate.rows[i];
  }
  check(rows == a.out.shape[1], "linear", "the gate's segments hold %lld rows, but out has %lld tokens",
        static_cast<long long>(rows), static_cast<long long>(a.out.shape[1]));
}

/// Both operands have scales, or neither has one.
void check_scales(const Context& ctx, const LinearArgs& a) {
  if (a.x.dtype == DType::F8E4M3) {
    check_rows("linear", "xScale", a.x_scale, DType::F32, a.x, 1);
    check_tensor("linear", "weightScale", a.weight_scale, kF32, {a.weight.shape[0], 1});
    check(a.weight_scale.contiguous(), "linear", "weightScale must be contiguous");
    check_e4m3("linear", ctx);
    return;
  }
  check(!a.x_scale.defined() && !a.weight_scale.defined(), "linear",
        "xScale and weightScale are for F8_E4M3 operands, x is %s", a.x.describe().c_str());
}

void check_heads(const LinearArgs& a) {
  const LinearHeads& h = a.heads;
  check(a.activation == Activation::None && !a.gate.defined() && !a.accumulate, "linear",
        "heads are normalised without an activation, gate or accumulate");
  check(a.out.rank == 2 || a.out.rank == 3, "linear", "heads need out of rank 2 or 3 [.., tokens, channels], not %s",
        a.out.describe().c_str());
  check(h.q >= 0 && h.k >= 0, "linear", "expected no negative number of heads but received %lld and %lld",
        static_cast<long long>(h.q), static_cast<long long>(h.k));
  const int64_t tokens = a.out.shape[a.out.rank - 2];
  check_tensor("linear", "cos", h.cos, kF32, {tokens, -1});
  check_tensor("linear", "sin", h.sin, kF32, {tokens, h.cos.last()});
  check(h.cos.last() > 0 && (h.q + h.k) <= a.out.last() / h.d(), "linear",
        "%lld heads of %lld channels do not fit into out %s", static_cast<long long>(h.q + h.k),
        static_cast<long long>(h.d()), a.out.describe().c_str());
  if (h.q > 0) check_tensor("linear", "qScale", h.q_scale, kF32, {h.d()});
  if (h.k > 0) check_tensor("linear", "kScale", h.k_scale, kF32, {h.d()});
}

void check_linear(Context& ctx, const LinearArgs& a) {
  const bool e4m3 = a.x.defined() && a.x.dtype == DType::F8E4M3;
  check_tensor("linear", "weight", a.weight, e4m3 ? kE4m3 : kWeight, {-1, -1});
  check(a.x.defined() && a.x.rank >= 1 && (e4m3 || a.x.dtype == DType::F32 || a.x.dtype == DType::BF16), "linear",
        "x must be F32, BF16 or F8_E4M3 [..., %lld], not %s", static_cast<long long>(a.weight.last()),
        a.x.defined() ? a.x.describe().c_str() : "absent");
  check(a.x.last() == a.weight.last() && a.x.elements() > 0, "linear",
        "x %s and weight %s must agree in their last axis", a.x.describe().c_str(), a.weight.describe().c_str());

  check_scales(ctx, a);
  const bool swiglu = a.activation == Activation::Swiglu;
  check(!swiglu || a.weight.shape[0] % 2 == 0, "linear", "SwiGLU needs an even number of weight rows, not %s",
        a.weight.describe().c_str());
  const int64_t n = a.weight.shape[0] / (swiglu ? 2 : 1);
  bool fits = a.out.defined() && a.out.rank == a.x.rank && (a.out.dtype == DType::F32 || a.out.dtype == DType::BF16);
  for (int i = 0; fits && i < a.x.rank; i++) fits = a.out.shape[i] == (i + 1 < a.x.rank ? a.x.shape[i] : n);
  check(fits && n > 0, "linear", "out must be F32 or BF16 [(as x), %lld] for x %s and weight %s, not %s",
        static_cast<long long>(n), a.x.describe().c_str(), a.weight.describe().c_str(),
        a.out.defined() ? a.out.describe().c_str() : "absent");
  if (a.bias.defined()) check_tensor("linear", "bias", a.bias, kF32, {a.weight.shape[0]});
  if (a.gate.defined()) check_gate(a);
  const bool reads_out = a.gate.defined() || a.accumulate;
  check(!reads_out || a.out.dtype == DType::F32, "linear", "a residual out must be F32, not %s",
        a.out.describe().c_str());
  if (a.heads.defined()) check_heads(a);
}

double operations_of(const LinearArgs& a) {
  return 2.0 * static_cast<double>(a.x.elements()) * static_cast<double>(a.weight.shape[0]);
}

}  // namespace

void linear(Context& ctx, const LinearArgs& a) {
  check_linear(ctx, a);
  const Work work(ctx, operations_of(a));
  ctx.backend.linear(ctx, {1, {a}});
}

void grouped_linear(Context& ctx, const LinearGroup& g) {
  check(g.count >= 1 && g.count <= LinearGroup::kMax, "grouped_linear", "expected 1 to %d products but received %d",
        LinearGroup::kMax, g.count);
  for (int i = 0; i < g.count; i++) {
    const LinearArgs& a = g.product[i];
    check_linear(ctx, a);
    check(a.x.dtype == g.product[0].x.dtype, "grouped_linear", "x of all products must have one type, not %s and %s",
          g.product[0].x.describe().c_str(), a.x.describe().c_str());
  }
  double operations = 0;
  for (int i = 0; i < g.count; i++) operations += operations_of(g.product[i]);
  const Work work(ctx, operations);
  ctx.backend.linear(ctx, g);
}

QkNormRopeArgs qk_norm_rope_of(const LinearArgs& a) {
  const LinearHeads& h = a.heads;
  const int64_t last = a.out.rank - 1, d = h.d(), tokens = a.out.shape[last - 1];
  const auto heads = [&](int64_t first, int64_t count) {
    const Tensor columns = a.out.slice(static_cast<int>(last), first * d, (first + count) * d);
    return count == 0 ? Tensor{} : columns.reshape({last == 2 ? a.out.shape[0] : 1, tokens, count, d});
  };
  return {
      .q = heads(0, h.q), .k = heads(h.q, h.k), .q_scale = h.q_scale, .k_scale = h.k_scale, .cos = h.cos, .sin = h.sin};
}

}  // namespace iconface::op
