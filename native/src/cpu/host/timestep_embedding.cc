// timestep_embedding: out[i] = cos(w), out[dim/2 + i] = sin(w), w = 1000 t * 10000^(-i / (dim/2)).
// In double: at position 511 and timestep 1000 a float32 angle is wrong by 3e-5, which would be the largest error of a
// whole float32 transformer.
// model-specification.md 3
#include <cmath>

#include "cpu/kernels.h"

namespace iconface::cpu {

void timestep_embedding(Context& ctx, const op::TimestepEmbeddingArgs& a) {
  if (ctx.planning()) return;
  const int64_t half = a.out.last() / 2;
  float* out = a.out.as<float>();
  for (int64_t i = 0; i < half; i++) {
    const double angle = 1000.0 * a.timestep * std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
    out[i] = static_cast<float>(std::cos(angle));
    out[half + i] = static_cast<float>(std::sin(angle));
  }
}

}  // namespace iconface::cpu
