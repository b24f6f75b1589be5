#include "op/image_to_tensor.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void image_to_tensor(Context& ctx, const ImageToTensorArgs& a) {
  constexpr const char* kOp = "image_to_tensor";
  check_tensor(kOp, "pixels", a.pixels, kU8, {-1, -1, -1});
  check(a.pixels.last() == 3 || a.pixels.last() == 4, kOp, "pixels must be RGB or RGBA, not %s",
        a.pixels.describe().c_str());
  check_picture(kOp, a.pixels);
  check_tensor(kOp, "out", a.out, {DType::F32, DType::U8}, {-1, -1, 3});
  const int64_t size = a.out.shape[0];
  check(size == a.out.shape[1] && size >= 1 && size <= kMaxSide, kOp,
        "out must be square with a side of 1 to %lld, not %s", static_cast<long long>(kMaxSide),
        a.out.describe().c_str());
  check_contiguous(kOp, "out", a.out);
  ctx.backend.image_to_tensor(ctx, a);
}

}  // namespace iconface::op
