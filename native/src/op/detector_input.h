// detector_input: what the face detector reads.                                                model-specification.md 7
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// What RetinaFace reads: channels B, G, R less their means 104, 117, 123. A picture of another size than `out` is
/// resized first, to 8 bits, bilinear with half-pixel centres and OpenCV's fixed-point weights (in 1/2048), bit-exact
/// with it.
struct DetectorInputArgs {
  Tensor pixels;  // [H, W, 3] U8 RGB
  Tensor out;     // [h, w, 3] F32, or U8: before the means are subtracted
};
void detector_input(Context&, const DetectorInputArgs&);

}  // namespace iconface::op
