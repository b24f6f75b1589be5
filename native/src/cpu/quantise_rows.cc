// quantise_rows: rows of numbers as e4m3 and a scale each. Reads x twice, the second time from the caches. No network
// of the CPU needs it: it is here so that the operation means the same everywhere, and is not tuned.
#include "op/quantise_rows.h"

#include "cpu/kernels.h"
#include "cpu/quantise_row.h"
#include "cpu/tile.h"

namespace iconface::cpu::ICONFACE_ISA {

void quantise_rows(Context& ctx, const op::QuantiseRowsArgs& a) {
  if (ctx.planning()) return;
  parallel_for(ctx.pool, a.x.rows(), [&](int64_t row, int) {
    with_type(
        a.x.dtype, [&](auto* typed) __attribute__((always_inline)) {
          using T = std::remove_pointer_t<decltype(typed)>;
          quantise_row(a.x.row<T>(row), a.out.row<e4m3>(row), a.scale.row<float>(row), a.x.last());
        });
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
