// resize_tokens: bilinear resize of a token grid, half-pixel centres, edges clamped
// model-specification.md 5, paper Eq. 6
// [rows_x * columns_x, D] -> [rows_out * columns_out, D] f32. Equal grids give exactly the same values: the source
// coordinate of cell i is then i itself. One item is one token of the result. Runs once per restore.
#include <algorithm>

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

/// Cell `i` of `out` cells lies between cells `low` and `high` of `in`, `weight` of the way to `high`.
struct Between {
  int64_t low, high;
  float weight;
};
Between between(int64_t i, int64_t in, int64_t out) {
  const double at = (static_cast<double>(i) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5;
  const double inside = at < 0 ? 0 : at;
  const int64_t low = std::min(static_cast<int64_t>(inside), in - 1);
  return {low, std::min(low + 1, in - 1), static_cast<float>(inside - static_cast<double>(low))};
}

}  // namespace

void resize_tokens(Context& ctx, const op::ResizeTokensArgs& a) {
  if (ctx.planning()) return;
  const int64_t n = a.x.last();
  parallel_for(ctx.pool, a.rows_out * a.columns_out, [&](int64_t token, int) {
    const Between y = between(token / a.columns_out, a.rows_x, a.rows_out);
    const Between x = between(token % a.columns_out, a.columns_x, a.columns_out);
    const auto corner = [&](int64_t row, int64_t column) { return a.x.row<const float>(row * a.columns_x + column); };
    const float *a00 = corner(y.low, x.low), *a01 = corner(y.low, x.high);
    const float *a10 = corner(y.high, x.low), *a11 = corner(y.high, x.high);
    float* out = a.out.row<float>(token);
    for (int64_t i = 0; i < n; i += kLanes) {
      const F top = load_some(a00 + i, n - i) * (1 - x.weight) + load_some(a01 + i, n - i) * x.weight;
      const F bottom = load_some(a10 + i, n - i) * (1 - x.weight) + load_some(a11 + i, n - i) * x.weight;
      store_some(out + i, top * (1 - y.weight) + bottom * y.weight, n - i);
    }
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
