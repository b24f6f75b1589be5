#include "op/image_to_tensor.h"

#include "binding/call.h"

namespace iconface::binding {

/// pixels [height, width, 3 or 4]; size, outDtype ("f32", or "u8": before the normalisation) -> out [size, size, 3]
void image_to_tensor(Context& ctx, Call& call) {
  op::ImageToTensorArgs a;
  a.pixels = call.input("pixels");
  const int64_t size = picture_side("image_to_tensor", call.number("size"));
  a.out = call.output("out", call.picture_dtype(), {size, size, 3});
  op::image_to_tensor(ctx, a);
}

}  // namespace iconface::binding
