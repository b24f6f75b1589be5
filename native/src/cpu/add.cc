// add: out = a + b.
#include "cpu/elementwise.h"
#include "cpu/kernels.h"

namespace iconface::cpu::ICONFACE_ISA {

void add(Context& ctx, const op::AddArgs& args) {
  if (ctx.planning()) return;
  const float *a = args.a.as<const float>(), *b = args.b.as<const float>();
  map_elements(ctx, args.out.as<float>(), args.a.elements(),
               [=](int64_t i, int64_t lanes) { return load_some(a + i, lanes) + load_some(b + i, lanes); });
}

}  // namespace iconface::cpu::ICONFACE_ISA
