#include "op/transpose.h"

#include "binding/call.h"

namespace iconface::binding {

void transpose(Context& ctx, Call& call) {
  op::TransposeArgs a;
  a.x = call.input("x");
  if (a.x.rank != 2) fail(Code::InvalidArgument, "x must be [C, tokens], not %s", a.x.describe().c_str());
  a.out = call.output("out", DType::F32, {a.x.shape[1], a.x.shape[0]});
  op::transpose(ctx, a);
}

}  // namespace iconface::binding
