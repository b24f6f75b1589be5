#include "op/detector_input.h"

#include "binding/call.h"

namespace iconface::binding {

/// pixels [height, width, 3]; height, width (the picture's own), outDtype ("f32", or "u8": before the means are
/// subtracted) -> out [height, width, 3]
void detector_input(Context& ctx, Call& call) {
  op::DetectorInputArgs a;
  a.pixels = call.input("pixels");
  if (a.pixels.rank != 3)
    fail(Code::InvalidArgument, "detector_input: pixels must be [height, width, 3], not %s",
         a.pixels.describe().c_str());
  const int64_t height = picture_side("detector_input", call.number("height", static_cast<double>(a.pixels.shape[0])));
  const int64_t width = picture_side("detector_input", call.number("width", static_cast<double>(a.pixels.shape[1])));
  a.out = call.output("out", call.picture_dtype(), {height, width, 3});
  op::detector_input(ctx, a);
}

}  // namespace iconface::binding
