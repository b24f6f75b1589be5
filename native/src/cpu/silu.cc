// silu: out = x sigmoid(x).
#include "cpu/elementwise.h"
#include "cpu/kernels.h"

namespace iconface::cpu::ICONFACE_ISA {

void silu(Context& ctx, const op::SiluArgs& a) {
  if (ctx.planning()) return;
  const float* x = a.x.as<const float>();
  map_elements(ctx, a.out.as<float>(), a.x.elements(),
               [=](int64_t i, int64_t lanes) { return silu(load_some(x + i, lanes)); });
}

}  // namespace iconface::cpu::ICONFACE_ISA
