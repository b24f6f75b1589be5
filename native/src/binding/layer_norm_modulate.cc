#include "op/layer_norm_modulate.h"

#include "binding/call.h"

namespace iconface::binding {

namespace {

/// <name>0, <name>1, ... with the row counts of `rows`; without `rows` one vector serves all tokens.
op::Segmented segments(const Call& call, const std::string& name, int64_t tokens) {
  op::Segmented s;
  const std::vector<double> rows = call.numbers("rows");
  if (rows.size() > op::Segmented::kMax)
    fail(Code::InvalidArgument, "expected at most %d numbers in rows but received %zu", op::Segmented::kMax,
         rows.size());
  for (const double n : rows)
    if (!(n >= 0 && n <= static_cast<double>(tokens)))
      fail(Code::InvalidArgument, "expected numbers of 0 to %lld tokens in rows but received %g",
           static_cast<long long>(tokens), n);
  for (int i = 0; i < op::Segmented::kMax; i++) {
    const Tensor vector = call.optional((name + std::to_string(i)).c_str());
    if (!vector.defined()) break;
    s.vector[i] = vector;
    s.rows[i] = rows.empty() ? tokens : i < static_cast<int>(rows.size()) ? static_cast<int64_t>(rows[i]) : 0;
    s.count++;
  }
  return s;
}

}  // namespace

void layer_norm_modulate(Context& ctx, Call& call) {
  op::LayerNormModulateArgs a;
  a.x = call.input("x");
  if (a.x.rank != 3) fail(Code::InvalidArgument, "x must be [batch, tokens, D], not %s", a.x.describe().c_str());
  if (call.text("outDtype", "") == "f8_e4m3") {
    Tensor one = a.x;
    one.shape[2] = 1;
    a.out = call.output_like("out", DType::F8E4M3, a.x);
    a.out_scale = call.output_like("outScale", DType::F32, one);
  } else {
    a.out = call.output_like("out", call.dtype("outDtype", a.x.dtype), a.x);
  }
  a.shift = segments(call, "shift", a.x.shape[1]);
  a.scale = segments(call, "scale", a.x.shape[1]);
  op::layer_norm_modulate(ctx, a);
}

}  // namespace iconface::binding
