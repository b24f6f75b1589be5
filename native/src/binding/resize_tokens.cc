#include "op/resize_tokens.h"

#include "binding/call.h"

namespace iconface::binding {

void resize_tokens(Context& ctx, Call& call) {
  op::ResizeTokensArgs a;
  a.x = call.input("x");
  a.rows_x = call.size("rowsX");
  a.columns_x = call.size("columnsX");
  a.rows_out = call.size("rowsOut");
  a.columns_out = call.size("columnsOut");
  a.out = call.output("out", DType::F32, {a.rows_out * a.columns_out, a.x.rank > 0 ? a.x.last() : 0});
  op::resize_tokens(ctx, a);
}

}  // namespace iconface::binding
