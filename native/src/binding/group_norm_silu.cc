#include "op/group_norm_silu.h"

#include "binding/call.h"

namespace iconface::binding {

/// x [B, H, W, C], weight, bias [C]; groups (32), eps (1e-6), silu (1), outDtype ("f32") -> out
void group_norm_silu(Context& ctx, Call& call) {
  op::GroupNormSiluArgs a;
  a.x = call.input("x");
  a.weight = call.input("weight");
  a.bias = call.input("bias");
  a.groups = call.whole("groups", 32);
  a.eps = static_cast<float>(call.number("eps", 1e-6));
  a.silu = call.number("silu", 1) != 0;
  a.out = call.output_like("out", call.dtype("outDtype", DType::F32), a.x);
  op::group_norm_silu(ctx, a);
}

}  // namespace iconface::binding
