#include "op/layer_norm_modulate.h"

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

}  // namespace iconface::op
