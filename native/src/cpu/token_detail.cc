// token_detail: out = x - mean of x over the valid cells of the 3 x 3 window on the token grid
// model-specification.md 5
// x, out [rows * columns, D] f32. One item is one token: up to nine rows are added in reading order, so the sum does
// not depend on the threads. Runs once per restore.
#include <algorithm>

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

void token_detail(Context& ctx, const op::TokenDetailArgs& a) {
  if (ctx.planning()) return;
  const int64_t n = a.x.last();
  parallel_for(ctx.pool, a.rows * a.columns, [&](int64_t token, int) {
    const int64_t row = token / a.columns, column = token % a.columns;
    const int64_t top = std::max<int64_t>(row - 1, 0), bottom = std::min(row + 1, a.rows - 1);
    const int64_t left = std::max<int64_t>(column - 1, 0), right = std::min(column + 1, a.columns - 1);
    const float share = 1.0f / static_cast<float>((bottom - top + 1) * (right - left + 1));
    const float* x = a.x.row<const float>(token);
    float* out = a.out.row<float>(token);
    for (int64_t i = 0; i < n; i += kLanes) {
      F total{};
      for (int64_t r = top; r <= bottom; r++)
        for (int64_t c = left; c <= right; c++) total += load_some(a.x.row<const float>(r * a.columns + c) + i, n - i);
      store_some(out + i, load_some(x + i, n - i) - total * share, n - i);
    }
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
