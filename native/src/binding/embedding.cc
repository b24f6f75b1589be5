#include "op/embedding.h"

#include "binding/call.h"

namespace iconface::binding {

/// ids [tokens] I32, table [V, D]; outDtype ('f32' unless given) -> out [tokens, D]
void embedding(Context& ctx, Call& call) {
  const Tensor ids = call.input("ids"), table = call.input("table");
  const bool fits = ids.rank == 1 && table.rank == 2;
  op::embedding(ctx, {.ids = ids,
                      .table = table,
                      .out = call.output("out", call.dtype("outDtype", DType::F32),
                                         {fits ? ids.shape[0] : 0, fits ? table.shape[1] : 0})});
}

}  // namespace iconface::binding
