// subsample: out[b, i, j, :] = x[b, s i, s j, :], a 1x1 max-pool with stride s                 model-specification.md 7
// An item of work is one row of the result. Copies a pixel's channels at a time.
#include <cstring>

#include "cpu/kernels.h"

namespace iconface::cpu::ICONFACE_ISA {

void subsample(Context& ctx, const op::SubsampleArgs& a) {
  if (ctx.planning()) return;
  const int64_t height = a.out.shape[1], width = a.out.shape[2];
  const int64_t pixel = a.x.last() * dtype_bytes(a.x.dtype);
  parallel_for(ctx.pool, a.out.shape[0] * height, [&](int64_t row, int) {
    const int64_t from_row = row / height * a.x.shape[1] + row % height * a.stride;
    const char* from = a.x.as<char>() + from_row * a.x.shape[2] * pixel;
    char* to = a.out.as<char>() + row * width * pixel;
    for (int64_t j = 0; j < width; j++) memcpy(to + j * pixel, from + j * a.stride * pixel, pixel);
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
