#include "op/tensor_to_image.h"

#include "binding/call.h"

namespace iconface::binding {

/// x [height, width, 3] -> pixels, the same shape
void tensor_to_image(Context& ctx, Call& call) {
  op::TensorToImageArgs a;
  a.x = call.input("x");
  a.pixels = call.output_like("pixels", DType::U8, a.x);
  op::tensor_to_image(ctx, a);
}

}  // namespace iconface::binding
