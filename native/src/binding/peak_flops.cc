#include "op/peak_flops.h"

#include "binding/call.h"

namespace iconface::binding {

/// dtype 'f32' | 'bf16' | 'f8_e4m3', rounds (1000: some 10^9 operations) -> flops F64 [1], the operations that were
/// done
void peak_flops(Context& ctx, Call& call) {
  const Tensor out = call.host_output("flops", DType::F64, {1});
  const bool e4m3 = call.text("dtype", "f32") == "f8_e4m3";
  const DType dtype = e4m3 ? DType::F8E4M3 : call.dtype("dtype", DType::F32);
  const int64_t done = op::peak_flops(ctx, {.dtype = dtype, .rounds = call.size("rounds")});
  if (!ctx.planning()) *out.as<double>() = static_cast<double>(done);
}

}  // namespace iconface::binding
