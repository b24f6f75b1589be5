// Rotary angles and the time embedding, in double: at position 511 and timestep 1000 a float32 angle is
// wrong by 3e-5, which would be the largest error of a whole float32 transformer.
#include "cpu/host_tables.h"

#include <cmath>

namespace iconface::cpu {

namespace {
double id_at(const Tensor& ids, int64_t token, int axis) {
  const int64_t at = token * ids.stride[0] + axis;
  return ids.dtype == DType::I32 ? ids.as<int32_t>()[at] : static_cast<double>(ids.as<float>()[at]);
}
}  // namespace

/// Angle m of axis a is id_a * theta^(-2m / d_a); the axes' slices follow one another.         model-specification.md 2
void rope_table(Context& ctx, const op::RopeTableArgs& a) {
  if (ctx.planning()) return;
  parallel_for(ctx.pool, a.ids.shape[0], [&](int64_t token, int) {
    float* cos = a.cos.row<float>(token);
    float* sin = a.sin.row<float>(token);
    for (int axis = 0; axis < a.axes; axis++) {
      const double id = id_at(a.ids, token, axis);
      for (int m = 0; m < a.axes_dim[axis] / 2; m++) {
        const double angle = id * std::pow(a.theta, -2.0 * m / a.axes_dim[axis]);
        *cos++ = static_cast<float>(std::cos(angle));
        *sin++ = static_cast<float>(std::sin(angle));
      }
    }
  });
}

/// out[i] = cos(w), out[dim/2 + i] = sin(w), w = 1000 t * 10000^(-i / (dim/2)).                model-specification.md 3
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
