// transpose: [C, tokens] -> [tokens, C] in square tiles, so that both sides use whole cache lines.
#include <algorithm>

#include "cpu/kernels.h"

namespace iconface::cpu::ICONFACE_ISA {

void transpose(Context& ctx, const op::TransposeArgs& a) {
  if (ctx.planning()) return;
  constexpr int64_t kTile = 16;
  const int64_t channels = a.x.shape[0], tokens = a.x.shape[1];
  const float* x = a.x.as<const float>();
  float* out = a.out.as<float>();
  parallel_for(ctx.pool, (tokens + kTile - 1) / kTile, [&](int64_t item, int) {
    const int64_t begin = item * kTile, end = std::min(tokens, begin + kTile);
    for (int64_t c0 = 0; c0 < channels; c0 += kTile)
      for (int64_t t = begin; t < end; t++)
        for (int64_t c = c0; c < std::min(channels, c0 + kTile); c++) out[t * channels + c] = x[c * tokens + t];
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
