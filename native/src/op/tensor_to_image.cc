#include "op/tensor_to_image.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void tensor_to_image(Context& ctx, const TensorToImageArgs& a) {
  constexpr const char* kOp = "tensor_to_image";
  check_tensor(kOp, "x", a.x, kF32, {-1, -1, 3});
  check_tensor(kOp, "pixels", a.pixels, kU8, {a.x.shape[0], a.x.shape[1], 3});
  check_contiguous(kOp, "x", a.x);
  check_contiguous(kOp, "pixels", a.pixels);
  ctx.backend.tensor_to_image(ctx, a);
}

}  // namespace iconface::op
