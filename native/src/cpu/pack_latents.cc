// pack_latents: tokens[i W/2 + j, k] = (map[2i + r, 2j + s, c] - mean[k]) / sqrt(var[k] + eps), k = 4c + 2r + s
// model-specification.md 2
// and its inverse, map = token * sqrt(var + eps) + mean.
// An item of work is one row of tokens. A 512 px picture: 1,024 tokens of 128, half a megabyte; nothing to gain.
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

void pack_latents(Context& ctx, const op::PackLatentsArgs& a) {
  const int64_t packed = a.tokens.last(), channels = packed / 4, columns = a.map.shape[1] / 2;
  Workspace::Frame frame(ctx.workspace);
  auto* deviation = static_cast<float*>(ctx.workspace.bytes(packed * sizeof(float)));
  if (ctx.planning()) return;
  const float *mean = a.mean.as<float>(), *var = a.var.as<float>();
  for (int64_t k = 0; k < packed; k++)
    deviation[k] = static_cast<float>(__builtin_sqrt(static_cast<double>(var[k]) + a.eps));
  parallel_for(ctx.pool, a.map.shape[0] / 2, [&](int64_t i, int) {
    for (int64_t j = 0; j < columns; j++) {
      float* token = a.tokens.row<float>(i * columns + j);
      for (int64_t corner = 0; corner < 4; corner++) {
        float* cell = a.map.row<float>((2 * i + corner / 2) * a.map.shape[1] + 2 * j + corner % 2);
        for (int64_t c = 0, k = corner; c < channels; c++, k += 4) {
          if (a.inverse)
            cell[c] = token[k] * deviation[k] + mean[k];
          else
            token[k] = (cell[c] - mean[k]) / deviation[k];
        }
      }
    }
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
