#include "op/token_detail.h"

#include "binding/call.h"

namespace iconface::binding {

void token_detail(Context& ctx, Call& call) {
  op::TokenDetailArgs a;
  a.x = call.input("x");
  a.out = call.output_like("out", DType::F32, a.x);
  a.rows = call.size("rows");
  a.columns = call.size("columns");
  op::token_detail(ctx, a);
}

}  // namespace iconface::binding
