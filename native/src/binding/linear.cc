#include "op/linear.h"

#include "binding/call.h"
#include "op/quantise_rows.h"

namespace iconface::binding {

/// x, weight, bias?, xScale and weightScale for f8_e4m3; activation 'none' | 'silu' | 'swiglu', outDtype. With an `out` input the result is added to it:
/// plainly (`accumulate`), or times gate0 .. gate3 with the list `rows` of their tokens.
void linear(Context& ctx, Call& call) {
  op::LinearArgs a;
  a.x = call.input("x");
  a.weight = call.input("weight");
  a.bias = call.optional("bias");
  a.x_scale = call.optional("xScale");
  a.weight_scale = call.optional("weightScale");
  const std::string activation = call.text("activation", "none");
  if (activation == "silu")
    a.activation = op::Activation::Silu;
  else if (activation == "swiglu")
    a.activation = op::Activation::Swiglu;
  else if (activation != "none")
    fail(Code::InvalidArgument, "expected 'none', 'silu' or 'swiglu' for activation but received '%s'",
         activation.c_str());

  const std::vector<double> rows = call.numbers("rows");
  if (rows.size() > op::Segmented::kMax)
    fail(Code::InvalidArgument, "expected at most %d rows but received %zu", op::Segmented::kMax, rows.size());
  for (double count : rows) {
    if (!(count >= 0 && count <= INT32_MAX))
      fail(Code::InvalidArgument, "expected a number of tokens in rows but received %g", count);
    const int i = a.gate.count++;
    a.gate.rows[i] = static_cast<int64_t>(count);
    a.gate.vector[i] = call.input(("gate" + std::to_string(i)).c_str());
  }
  a.accumulate = call.flag("accumulate");
  if (a.accumulate || a.gate.defined()) {
    a.out = call.inout(ctx, "out");
  } else {
    Tensor shape = a.x;
    if (shape.rank > 0 && a.weight.rank == 2)
      shape.shape[shape.rank - 1] = a.weight.shape[0] / (a.activation == op::Activation::Swiglu ? 2 : 1);
    a.out =
        call.output_like("out", call.dtype("outDtype", a.x.dtype == DType::F8E4M3 ? DType::BF16 : a.x.dtype), shape);
  }
  op::linear(ctx, a);
}

/// x -> out f8_e4m3, scale [..., 1].
void quantise_rows(Context& ctx, Call& call) {
  const Tensor x = call.input("x");
  Tensor one = x;
  one.shape[one.rank - 1] = 1;
  op::quantise_rows(
      ctx,
      {.x = x, .out = call.output_like("out", DType::F8E4M3, x), .scale = call.output_like("scale", DType::F32, one)});
}

}  // namespace iconface::binding
