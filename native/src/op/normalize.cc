#include "op/normalize.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

namespace {

void check_segments(const char* op, const char* name, const Segmented& s, int64_t tokens, int64_t width) {
  int64_t rows = 0;
  for (int i = 0; i < s.count; i++) {
    check(s.rows[i] >= 0, op, "segment %d of %s must have 0 rows or more, not %lld", i, name,
          static_cast<long long>(s.rows[i]));
    rows += s.rows[i];
    check_tensor(op, (std::string(name) + std::to_string(i)).c_str(), s.vector[i], kF32, {width});
  }
  check(rows == tokens, op, "segments of %s must add up to %lld tokens, not %lld", name, static_cast<long long>(tokens),
        static_cast<long long>(rows));
}

void check_same(const char* op, const char* name, const Tensor& t, const char* like, const Tensor& x) {
  bool same = t.defined() && t.rank == x.rank;
  for (int i = 0; same && i < x.rank; i++) same = t.shape[i] == x.shape[i];
  check(same, op, "%s must have the shape of %s %s, not %s", name, like, x.describe().c_str(),
        t.defined() ? t.describe().c_str() : "absent");
}

void check_flat_f32(const char* op, const char* name, const Tensor& t) {
  check(t.defined() && t.dtype == DType::F32 && t.contiguous(), op, "%s must be contiguous F32, not %s", name,
        t.defined() ? t.describe().c_str() : "absent");
}

}  // namespace

void layer_norm_modulate(Context& ctx, const LayerNormModulateArgs& a) {
  const char* op = "layer_norm_modulate";
  check_tensor(op, "x", a.x, kFloat, {-1, -1, -1});
  check_tensor(op, "out", a.out, {DType::F32, DType::BF16, DType::F8E4M3}, {a.x.shape[0], a.x.shape[1], a.x.shape[2]});
  check(a.x.last() > 0, op, "x must have channels, not %s", a.x.describe().c_str());
  if (a.out.dtype == DType::F8E4M3) {
    check_tensor(op, "outScale", a.out_scale, kF32, {a.x.shape[0], a.x.shape[1], 1});
    check_e4m3(op, ctx);
  } else {
    check(!a.out_scale.defined(), op, "outScale is for an out in F8_E4M3, not %s", a.out.describe().c_str());
  }
  check(a.x.data != a.out.data || a.x.dtype == a.out.dtype, op, "out may be x only if it has x's type");
  check(a.shift.count == a.scale.count, op, "shift and scale must come together: %d and %d segments", a.shift.count,
        a.scale.count);
  if (a.scale.defined()) {
    check_segments(op, "shift", a.shift, a.x.shape[1], a.x.last());
    check_segments(op, "scale", a.scale, a.x.shape[1], a.x.last());
  }
  ctx.backend.layer_norm_modulate(ctx, a);
}

void rms_norm(Context& ctx, const RmsNormArgs& a) {
  const char* op = "rms_norm";
  check(a.x.defined() && a.x.rank >= 1 && (a.x.dtype == DType::F32 || a.x.dtype == DType::BF16) && a.x.last() > 0, op,
        "x must be F32 or BF16 [..., D], not %s", a.x.defined() ? a.x.describe().c_str() : "absent");
  check_same(op, "out", a.out, "x", a.x);
  check(a.out.dtype == DType::F32 || a.out.dtype == DType::BF16, op, "out must be F32 or BF16, not %s",
        a.out.describe().c_str());
  check(a.x.data != a.out.data || a.x.dtype == a.out.dtype, op, "out may be x only if it has x's type");
  check_tensor(op, "weight", a.weight, kWeight, {a.x.last()});
  ctx.backend.rms_norm(ctx, a);
}

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

void rope_table(Context& ctx, const RopeTableArgs& a) {
  const char* op = "rope_table";
  check(a.axes >= 1 && a.axes <= 8, op, "1 to 8 axes, not %d", a.axes);
  int64_t half = 0;
  for (int i = 0; i < a.axes; i++) {
    check(a.axes_dim[i] >= 2 && a.axes_dim[i] % 2 == 0, op, "axis %d must have an even size of 2 or more, not %d", i,
          a.axes_dim[i]);
    half += a.axes_dim[i] / 2;
  }
  check(a.theta > 0, op, "theta must be positive, not %g", a.theta);
  check_tensor(op, "ids", a.ids, {DType::F32, DType::I32}, {-1, a.axes});
  check_tensor(op, "cos", a.cos, kF32, {a.ids.shape[0], half});
  check_tensor(op, "sin", a.sin, kF32, {a.ids.shape[0], half});
  ctx.backend.rope_table(ctx, a);
}

void timestep_embedding(Context& ctx, const TimestepEmbeddingArgs& a) {
  const char* op = "timestep_embedding";
  check_tensor(op, "out", a.out, kF32, {-1});
  check(a.out.last() >= 2 && a.out.last() % 2 == 0, op, "the width must be even, not %lld",
        static_cast<long long>(a.out.last()));
  check(__builtin_isfinite(a.timestep), op, "the timestep must be finite, not %g", a.timestep);
  ctx.backend.timestep_embedding(ctx, a);
}

void silu(Context& ctx, const SiluArgs& a) {
  check_flat_f32("silu", "x", a.x);
  check_flat_f32("silu", "out", a.out);
  check_same("silu", "out", a.out, "x", a.x);
  ctx.backend.silu(ctx, a);
}

void add(Context& ctx, const AddArgs& args) {
  check_flat_f32("add", "a", args.a);
  check_flat_f32("add", "b", args.b);
  check_flat_f32("add", "out", args.out);
  check_same("add", "b", args.b, "a", args.a);
  check_same("add", "out", args.out, "a", args.a);
  ctx.backend.add(ctx, args);
}

}  // namespace iconface::op
