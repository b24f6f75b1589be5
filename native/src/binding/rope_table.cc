#include "op/rope_table.h"

#include "binding/call.h"

namespace iconface::binding {

void rope_table(Context& ctx, Call& call) {
  op::RopeTableArgs a;
  a.ids = call.input("ids");
  const std::vector<double> axes = call.numbers("axesDim");
  if (axes.empty() || axes.size() > op::RopeTableArgs::kMaxAxes)
    fail(Code::InvalidArgument, "expected 1 to %d numbers in axesDim but received %zu", op::RopeTableArgs::kMaxAxes,
         axes.size());
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

}  // namespace iconface::binding
