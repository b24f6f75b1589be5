#include "op/detector_input.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void detector_input(Context& ctx, const DetectorInputArgs& a) {
  constexpr const char* kOp = "detector_input";
  check_tensor(kOp, "pixels", a.pixels, kU8, {-1, -1, 3});
  check_picture(kOp, a.pixels);
  check_tensor(kOp, "out", a.out, {DType::F32, DType::U8}, {-1, -1, 3});
  check_picture(kOp, a.out, "out");
  ctx.backend.detector_input(ctx, a);
}

}  // namespace iconface::op
