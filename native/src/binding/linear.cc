#include "op/linear.h"

#include "binding/call.h"

namespace iconface::binding {

namespace {

/// The operands of one product: those of `linear`, with `suffix` behind every name.
op::LinearArgs product(Context& ctx, Call& call, const std::string& suffix) {
  const auto name = [&](const char* operand) { return std::string(operand) + suffix; };
  const auto optional = [&](const char* operand) { return call.optional(name(operand).c_str()); };
  op::LinearArgs a;
  a.x = call.input(name("x").c_str());
  a.weight = call.input(name("weight").c_str());
  a.bias = optional("bias");
  a.x_scale = optional("xScale");
  a.weight_scale = optional("weightScale");
  const std::string activation = call.text(name("activation").c_str(), "none");
  if (activation == "silu")
    a.activation = op::Activation::Silu;
  else if (activation == "swiglu")
    a.activation = op::Activation::Swiglu;
  else if (activation != "none")
    fail(Code::InvalidArgument, "expected 'none', 'silu' or 'swiglu' for %s but received '%s'",
         name("activation").c_str(), activation.c_str());

  const std::vector<double> rows = call.numbers(name("rows").c_str());
  if (rows.size() > op::Segmented::kMax)
    fail(Code::InvalidArgument, "expected at most %d rows but received %zu", op::Segmented::kMax, rows.size());
  for (double count : rows) {
    if (!(count >= 0 && count <= INT32_MAX))
      fail(Code::InvalidArgument, "expected a number of tokens in rows but received %g", count);
    const int i = a.gate.count++;
    a.gate.rows[i] = static_cast<int64_t>(count);
    a.gate.vector[i] = call.input(name(("gate" + std::to_string(i)).c_str()).c_str());
  }
  a.heads.q = call.whole(name("qHeads").c_str(), 0);
  a.heads.k = call.whole(name("kHeads").c_str(), 0);
  if (a.heads.defined())
    a.heads = {a.heads.q, a.heads.k, optional("qScale"), optional("kScale"), optional("cos"), optional("sin")};
  a.accumulate = call.flag(name("accumulate").c_str());
  if (a.accumulate || a.gate.defined()) {
    a.out = call.inout(ctx, name("out").c_str());
  } else {
    Tensor shape = a.x;
    if (shape.rank > 0 && a.weight.rank == 2)
      shape.shape[shape.rank - 1] = a.weight.shape[0] / (a.activation == op::Activation::Swiglu ? 2 : 1);
    const DType otherwise = a.x.dtype == DType::F8E4M3 ? DType::BF16 : a.x.dtype;
    a.out = call.output_like(name("out").c_str(), call.dtype(name("outDtype").c_str(), otherwise), shape);
  }
  return a;
}

}  // namespace

/// x, weight, bias?, xScale and weightScale for f8_e4m3; activation 'none' | 'silu' | 'swiglu', outDtype. With an `out`
/// input the result is added to it: plainly (`accumulate`), or times gate0 .. gate3 with the list `rows` of their
/// tokens. `qHeads` and `kHeads` columns are heads, normalised and rotated with qScale, kScale, cos and sin.
void linear(Context& ctx, Call& call) { op::linear(ctx, product(ctx, call, "")); }

/// The operands and results of up to four products, as those of `linear` with _0 .. _3 behind their names.
void grouped_linear(Context& ctx, Call& call) {
  op::LinearGroup group;
  for (int i = 0; i < op::LinearGroup::kMax; i++) {
    const std::string suffix = {'_', static_cast<char>('0' + i)};
    if (i == 0 || call.optional(("x" + suffix).c_str()).defined())
      group.product[static_cast<size_t>(group.count++)] = product(ctx, call, suffix);
  }
  op::grouped_linear(ctx, group);
}

}  // namespace iconface::binding
