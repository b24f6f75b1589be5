#include "op/normalize.h"

#include <string>

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

/// x [..., D], weight [D]; outDtype (x's type unless given) -> out
void rms_norm(Context& ctx, Call& call) {
  const Tensor x = call.input("x");
  op::rms_norm(
      ctx,
      {.x = x, .out = call.output_like("out", call.dtype("outDtype", x.dtype), x), .weight = call.input("weight")});
}

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

void rope_table(Context& ctx, Call& call) {
  op::RopeTableArgs a;
  a.ids = call.input("ids");
  const std::vector<double> axes = call.numbers("axesDim");
  if (axes.empty() || axes.size() > 8)
    fail(Code::InvalidArgument, "expected 1 to 8 numbers in axesDim but received %zu", axes.size());
  int64_t half = 0;
  for (const double size : axes) {
    if (!(size >= 2 && size < 1e6)) fail(Code::InvalidArgument, "expected even sizes in axesDim but received %g", size);
    a.axes_dim[a.axes++] = static_cast<int>(size);
    half += static_cast<int64_t>(size) / 2;
  }
  if (a.ids.rank != 2) fail(Code::InvalidArgument, "ids must be [tokens, axes], not %s", a.ids.describe().c_str());
  a.theta = call.number("theta", a.theta);
  a.cos = call.output("cos", DType::F32, {a.ids.shape[0], half});
  a.sin = call.output("sin", DType::F32, {a.ids.shape[0], half});
  op::rope_table(ctx, a);
}

void timestep_embedding(Context& ctx, Call& call) {
  const int64_t width = call.numbers("dim").empty() ? 256 : call.size("dim");
  op::timestep_embedding(ctx, {call.number("timestep"), call.output("out", DType::F32, {width})});
}

void silu(Context& ctx, Call& call) {
  const Tensor x = call.input("x");
  op::silu(ctx, {x, call.output_like("out", DType::F32, x)});
}

void add(Context& ctx, Call& call) {
  const Tensor a = call.input("a");
  op::add(ctx, {a, call.input("b"), call.output_like("out", DType::F32, a)});
}

}  // namespace iconface::binding
