#include "op/add.h"

#include "binding/call.h"

namespace iconface::binding {

void add(Context& ctx, Call& call) {
  const Tensor a = call.input("a");
  op::add(ctx, {a, call.input("b"), call.output_like("out", DType::F32, a)});
}

}  // namespace iconface::binding
