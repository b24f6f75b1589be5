#include "op/face_crop.h"

#include <cmath>

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void face_crop(Context& ctx, const FaceCropArgs& a) {
  constexpr const char* kOp = "face_crop";
  check_tensor(kOp, "pixels", a.pixels, kU8, {-1, -1, 3});
  check_picture(kOp, a.pixels);
  check_tensor(kOp, "out", a.out, kF32, {-1, -1, 3});
  check_contiguous(kOp, "out", a.out);
  for (double v : a.matrix)
    check(std::isfinite(v) && std::fabs(v) <= 1e9, kOp, "matrix must be finite and within 1e9, but holds %g", v);
  const double* m = a.matrix;
  const double scale = std::sqrt(std::fabs(m[0] * m[4] - m[1] * m[3]));
  check(scale >= 1e-6 && scale <= 1e6, kOp, "matrix must scale by 1e-6 to 1e6, but scales by %g", scale);
  ctx.backend.face_crop(ctx, a);
}

}  // namespace iconface::op
