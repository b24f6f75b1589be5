// rope_table: the angle m of axis a is id_a * theta^(-2m / d_a); the slices of the axes follow one another.
// In double: at position 511 and timestep 1000 a float32 angle is wrong by 3e-5, which would be the largest error of a
// whole float32 transformer.
// model-specification.md 2
#include <cmath>

#include "cpu/kernels.h"

namespace iconface::cpu {

namespace {
double id_at(const Tensor& ids, int64_t token, int axis) {
  const int64_t at = token * ids.stride[0] + axis;
  return ids.dtype == DType::I32 ? ids.as<int32_t>()[at] : static_cast<double>(ids.as<float>()[at]);
}
}  // namespace

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

}  // namespace iconface::cpu
