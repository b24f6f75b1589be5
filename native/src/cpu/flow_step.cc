// flow_step: latents += step * (u_empty + guidance * (u_prompt - u_empty)), an item is a block of rows.
// model-specification.md 6
#include <algorithm>

#include "cpu/elementwise.h"
#include "cpu/kernels.h"

namespace iconface::cpu::ICONFACE_ISA {

void flow_step(Context& ctx, const op::FlowStepArgs& a) {
  if (ctx.planning()) return;
  const int64_t rows = a.latents.rows(), n = a.latents.last(), block = std::max<int64_t>(1, kElementsPerItem / n);
  const float step = a.step_at.defined() ? *a.step_at.as<const float>() : a.step;
  parallel_for(ctx.pool, (rows + block - 1) / block, [&](int64_t item, int) {
    for (int64_t row = item * block; row < std::min(rows, (item + 1) * block); row++) {
      float* z = a.latents.row<float>(row);
      const float* prompt = a.u_prompt.row<const float>(row);
      const float* empty = a.u_empty.defined() ? a.u_empty.row<const float>(row) : nullptr;
      for (int64_t i = 0; i < n; i += kLanes) {
        F u = load_some(prompt + i, n - i);
        if (empty != nullptr) {
          const F e = load_some(empty + i, n - i);
          u = e + a.guidance * (u - e);
        }
        store_some(z + i, load_some(z + i, n - i) + step * u, n - i);
      }
    }
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
